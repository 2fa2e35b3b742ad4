"""Apply runs steps in the plan's order, many at once, and tells of every one how it ended."""

from __future__ import annotations

import itertools
import queue
import random
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvmdecl.apply import Busy, apply
from kvmdecl.diagnostics import Diagnostic, Locked, Moved, Rejected, TaskFailed
from kvmdecl.events import (
    ApplyFinished,
    ApplyStarted,
    Event,
    RolloutStopped,
    StepDone,
    StepFailed,
    StepProgress,
    StepRefused,
    StepSkipped,
    StepStarted,
    WaveStarted,
)
from kvmdecl.hosts.protocol import CheckIn, DropLock, HostWriter, Progress, TakeLock, TaskRequest, TaskResult
from kvmdecl.plan import Action, HostStatus, Impact, Plan, PlannedHost, Rollout, Step, Wave
from kvmdecl.runs import Holder
from kvmdecl.state import Address, Kind, Member
from kvmdecl.tasks import CreateVolume, DefineDomain, DeleteDomain, DeleteVolume
from kvmdecl.waves import waves_of

if TYPE_CHECKING:
    from collections.abc import Callable

ENDS = (StepDone, StepFailed, StepRefused, StepSkipped)
NEVER = threading.Event()


def address(name: str, host: str = "kvm-1") -> Address:
    return Address(host, Kind.DOMAIN, name)


def make_step(name: str, *after: str, host: str = "kvm-1") -> Step:
    waits = tuple(address(other, host) for other in after)
    task = DeleteVolume("vms", name)
    return Step(address(name, host), Action.CREATE, Impact.NONE, (), "", "absent", task, after=waits)


def make_plan(*steps: Step) -> Plan:
    return Plan("edge", "r1", (), steps, 0)


def failure(kind: type[Exception]) -> Exception:
    return kind(Diagnostic("step.test", "the host said no"))


@dataclass
class PromptWriter:
    """Carries out every task before `submit` returns; `fails` says which do not succeed, and how."""

    fails: dict[Address, Exception] = field(default_factory=dict)
    requests: list[TaskRequest] = field(default_factory=list)
    others: dict[str, Exception] = field(default_factory=dict)
    asked: list[CheckIn] = field(default_factory=list)
    locks: dict[str, Future[TaskResult]] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)

    def take_lock(self, asked: TakeLock) -> Future[TaskResult]:
        assert not self.asked, "hosts are taken before anything is asked of them"
        self.taken.append(asked.host)
        return self.locks.get(asked.host, answered(None))

    def drop_lock(self, asked: DropLock) -> Future[TaskResult]:
        self.taken.remove(asked.host)
        return answered(None)

    def check_in(self, asked: CheckIn) -> Future[TaskResult]:
        assert not self.requests, "hosts check in before anything is done"
        self.asked.append(asked)
        return answered(self.others.get(asked.host))

    def submit(self, request: TaskRequest, progress: Callable[[Progress], None]) -> Future[TaskResult]:
        self.requests.append(request)
        progress(Progress(1, 2, "bytes"))
        return answered(self.fails.get(request.address), "a remark")


def answered(error: Exception | None, *remarks: str) -> Future[TaskResult]:
    future: Future[TaskResult] = Future()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(TaskResult(remarks))
    return future


class ManualWriter(PromptWriter):
    """Carries out a task when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: dict[Address, Future[TaskResult]] = {}

    def submit(self, request: TaskRequest, progress: Callable[[Progress], None]) -> Future[TaskResult]:
        self.pending[request.address] = Future()
        return self.pending[request.address]

    def finish(self, name: str, host: str = "kvm-1") -> None:
        self.pending.pop(address(name, host)).set_result(TaskResult())


def run(plan: Plan, writer: HostWriter, holder: Holder | None = None) -> list[Event]:
    clock = itertools.count().__next__
    return list(apply(plan, writer, cancelled=NEVER, holder=holder, clock=clock))


MEMBERS = (Member("kvm-1", "u1"), Member("kvm-2", "u2"))


def hosts(*, noted: bool) -> tuple[PlannedHost, ...]:
    return tuple(
        PlannedHost(m.name, "test:///default", HostStatus.OK, machine=m.machine, noted=noted) for m in MEMBERS
    )


@pytest.mark.parametrize(("noted", "asked"), [(False, ["kvm-1", "kvm-2"]), (True, ["kvm-1"])])
def test_hosts_with_steps_and_hosts_that_do_not_know_all_others_check_in_first(noted: bool, asked: list[str]):
    writer = PromptWriter()

    run(Plan("edge", "r1", hosts(noted=noted), (make_step("a"),), 0, members=MEMBERS), writer)

    assert [each.host for each in writer.asked] == asked
    assert writer.asked[0] == CheckIn("kvm-1", "edge", "u1", MEMBERS)


def test_a_host_that_turns_out_to_be_another_machine_gets_no_task_and_the_others_go_on():
    writer = PromptWriter(others={"kvm-1": failure(Moved)})
    steps = (make_step("a"), make_step("b", "a"), make_step("c", host="kvm-2"))

    events = run(Plan("edge", "r1", hosts(noted=False), steps, 0, members=MEMBERS), writer)

    assert {type(e): e.address.name for e in events if isinstance(e, ENDS)} == {
        StepRefused: "a",
        StepSkipped: "b",
        StepDone: "c",
    }
    assert [request.address.host for request in writer.requests] == ["kvm-2"]


ME = Holder("run-1", "token", "edge")


def lock_of(run: str) -> Future[TaskResult]:
    future: Future[TaskResult] = Future()
    future.set_exception(Locked(Diagnostic("run.locked", f"held by {run}")))
    return future


@pytest.mark.parametrize("held", [["kvm-1"], ["kvm-2"]])
def test_nothing_begins_where_another_run_holds_a_host_and_the_others_are_given_back(held: list[str]):
    writer = PromptWriter(locks={host: lock_of("run-0") for host in held})

    with pytest.raises(Busy, match="held by run-0"):
        run(Plan("edge", "r1", hosts(noted=False), (make_step("a"),), 0, members=MEMBERS), writer, ME)

    assert (writer.taken, writer.asked, writer.requests) == (held, [], [])


def test_hosts_are_held_while_steps_run_and_each_step_names_the_lock():
    writer = ManualWriter()
    plan = Plan("edge", "r1", hosts(noted=True), (make_step("a"),), 0)
    events = apply(plan, writer, cancelled=NEVER, holder=ME)
    next(events), next(events)
    assert (writer.taken, [asked.lock for asked in writer.asked]) == (["kvm-1", "kvm-2"], ["token"])
    threading.Timer(0.05, lambda: writer.finish("a")).start()
    list(events)
    assert writer.taken == []


def test_a_host_that_cannot_be_taken_gets_no_task_and_the_others_go_on():
    writer = PromptWriter(locks={"kvm-1": answered(failure(TaskFailed))})
    events = run(
        Plan("edge", "r1", hosts(noted=True), (make_step("a"), make_step("c", host="kvm-2")), 0), writer, ME
    )
    assert [(type(e), e.address.name) for e in events if isinstance(e, ENDS)] == [
        (StepFailed, "a"),
        (StepDone, "c"),
    ]


def new_guest(host: str) -> tuple[Step, ...]:
    disk, task = Address(host, Kind.VOLUME, "vms/web.root"), make_task("web")
    volume = CreateVolume("vms", "web.root", "disk", "qcow2", 1, "off", None, None, "web")
    return (
        Step(disk, Action.CREATE, Impact.NONE, (), "", "absent", volume),
        Step(address("web", host), Action.CREATE, Impact.NONE, (), "", "absent", task, after=(disk,)),
    )


def make_task(name: str) -> DefineDomain:
    return DefineDomain(name, "uuid", "<domain/>", None, (), "keep", False, "edge", "r1")


def test_a_guest_that_another_host_has_by_now_is_not_made_nor_is_its_disk():
    found: Future[TaskResult] = Future()
    found.set_result(TaskResult(present=frozenset({"uuid"})))
    plan = Plan("edge", "r1", hosts(noted=True), new_guest("kvm-1"), 0)

    events = run(plan, PromptWriter(locks={"kvm-2": found}), ME)

    (refused,) = (event for event in events if isinstance(event, StepRefused))
    assert (refused.address.kind, refused.diagnostic.code) == (Kind.VOLUME, "step.second-copy")
    assert [e.address for e in events if isinstance(e, StepSkipped)] == [address("web")]

    gone = Step(
        address("web", "kvm-2"),
        Action.DELETE,
        Impact.DOWNTIME,
        (),
        "",
        "there",
        DeleteDomain("web", "uuid", True),
    )
    events = run(
        Plan("edge", "r1", hosts(noted=True), (gone, *plan.steps), 0),
        PromptWriter(locks={"kvm-2": found}),
        ME,
    )
    assert not [event for event in events if isinstance(event, StepRefused)]


def test_steps_run_in_the_order_that_they_wait_for_each_other():
    events = run(make_plan(make_step("b", "a"), make_step("a")), PromptWriter())
    assert events == [
        ApplyStarted("edge", (address("b"), address("a"))),
        StepStarted(address("a")),
        StepProgress(address("a"), 1, 2, "bytes"),
        StepDone(address("a"), 1, ("a remark",)),
        StepStarted(address("b")),
        StepProgress(address("b"), 1, 2, "bytes"),
        StepDone(address("b"), 1, ("a remark",)),
        ApplyFinished(2, 0, 0, 0, 5),
    ]


def test_a_task_carries_its_precondition_and_whose_plan_it_is():
    writer = PromptWriter()
    run(make_plan(make_step("a")), writer)
    (request,) = writer.requests
    assert (request.precondition, request.cluster, request.revision) == ("absent", "edge", "r1")


def test_a_failed_step_takes_its_dependents_along_and_nothing_else():
    plan = make_plan(make_step("a"), make_step("b", "a"), make_step("c", "b"), make_step("d"))
    events = run(plan, PromptWriter({address("a"): failure(TaskFailed)}))
    assert [e for e in events if isinstance(e, ENDS)] == [
        StepFailed(address("a"), Diagnostic("step.test", "the host said no")),
        StepSkipped(address("b"), address("a")),
        StepSkipped(address("c"), address("a")),
        StepDone(address("d"), 2, ("a remark",)),
    ]
    assert events[-1] == ApplyFinished(1, 1, 0, 2, 5)


def test_an_object_that_moved_is_refused_and_its_dependents_are_skipped():
    events = run(make_plan(make_step("a"), make_step("b", "a")), PromptWriter({address("a"): failure(Moved)}))
    refused = StepRefused(address("a"), Diagnostic("step.test", "the host said no"))
    assert [e for e in events if isinstance(e, ENDS)] == [refused, StepSkipped(address("b"), address("a"))]


def test_an_error_that_nobody_foresaw_is_a_failed_step_and_no_traceback():
    events = run(make_plan(make_step("a")), PromptWriter({address("a"): ZeroDivisionError("oops")}))
    (failed,) = (event for event in events if isinstance(event, StepFailed))
    assert failed.diagnostic.code == "apply.unexpected"
    assert "ZeroDivisionError: oops" in failed.diagnostic.summary


def test_no_more_steps_run_at_once_than_allowed_and_hosts_take_turns():
    plan = make_plan(*(make_step(name, host=host) for host in ("kvm-1", "kvm-2") for name in "abc"))
    writer = ManualWriter()
    events = apply(plan, writer, parallel=2, cancelled=NEVER)
    assert [next(events) for _ in range(3)][1:] == [
        StepStarted(address("a", "kvm-1")),
        StepStarted(address("a", "kvm-2")),
    ]
    threading.Timer(0.05, lambda: writer.finish("a", "kvm-1")).start()
    assert isinstance(next(events), StepDone)
    assert next(events) == StepStarted(address("b", "kvm-1"))
    assert set(writer.pending) == {address("a", "kvm-2")}


def test_after_a_cancel_running_steps_finish_and_the_rest_is_skipped():
    cancelled, writer = threading.Event(), ManualWriter()
    events = apply(make_plan(make_step("a"), make_step("b", "a")), writer, cancelled=cancelled)
    assert [next(events), next(events)][-1] == StepStarted(address("a"))
    cancelled.set()
    assert next(events) == StepSkipped(address("b"), None)
    writer.finish("a")
    assert isinstance(next(events), StepDone)
    last = next(events)
    assert (last.done, last.skipped) == (1, 1)


def test_ctrl_c_stops_as_a_cancel_does_and_a_second_one_is_not_caught():
    class Interrupting:
        def get(self, timeout: float) -> NoReturn:
            raise KeyboardInterrupt

    events = apply(make_plan(make_step("a"), make_step("b", "a")), ManualWriter(), cancelled=NEVER)
    started = [next(events), next(events)]
    events.gi_frame.f_locals["self"]._inbox = Interrupting()
    assert started[-1] == StepStarted(address("a"))
    assert next(events) == StepSkipped(address("b"), None)
    with pytest.raises(KeyboardInterrupt):
        next(events)


def test_a_ctrl_c_after_a_cancel_is_the_second_one():
    class Interrupting:
        def get(self, timeout: float) -> NoReturn:
            raise KeyboardInterrupt

    cancelled = threading.Event()
    events = apply(make_plan(make_step("a")), ManualWriter(), cancelled=cancelled)
    next(events), next(events)
    events.gi_frame.f_locals["self"]._inbox = Interrupting()
    cancelled.set()
    with pytest.raises(KeyboardInterrupt):
        next(events)


def rolled(*steps: Step, most: int | None = None, failed: int = 0, waves: str = "1 2,3") -> Plan:
    rows = [tuple(f"kvm-{n}" for n in row.split(",")) for row in waves.split()]
    named = tuple(Wave(f"w{number}", row) for number, row in enumerate(rows))
    return Plan("edge", "r1", (), steps, 0, rollout=Rollout(named, most, failed))


def on(*hosts: int) -> tuple[Step, ...]:
    return tuple(make_step(f"s{number}", host=f"kvm-{host}") for number, host in enumerate(hosts))


def test_a_wave_begins_when_the_one_before_has_ended():
    events = run(rolled(*on(3, 1, 2, 1)), PromptWriter())

    told = [
        e if isinstance(e, WaveStarted) else e.address.name
        for e in events
        if isinstance(e, WaveStarted | StepDone)
    ]
    assert told == [
        WaveStarted(1, 2, "w0", ("kvm-1",)), "s1", "s3", WaveStarted(2, 2, "w1", ("kvm-2", "kvm-3")), "s0", "s2",
    ]  # fmt: skip


def test_after_too_many_failures_no_step_begins_and_later_waves_are_not_touched():
    writer = PromptWriter({address("s0", "kvm-1"): failure(TaskFailed)})
    events = run(rolled(*on(1, 1, 2, 3)), writer)

    assert RolloutStopped(("kvm-1",), 0) in events
    assert {request.address.host for request in writer.requests} == {"kvm-1"}
    assert events[-1] == ApplyFinished(1, 1, 0, 2, events[-1].seconds)


def test_failures_are_counted_by_host_and_over_all_waves():
    fails = {address(f"s{n}", f"kvm-{h}"): failure(TaskFailed) for n, h in ((0, 1), (1, 1), (2, 2))}
    events = run(rolled(*on(1, 1, 2, 3), failed=1, waves="1 2 3"), PromptWriter(fails))

    assert RolloutStopped(("kvm-1", "kvm-2"), 1) in events
    assert [e.address.name for e in events if isinstance(e, StepSkipped)] == ["s3"]


@pytest.mark.parametrize("most", [1, 2])
def test_only_so_many_hosts_are_worked_on_at_once_and_each_is_finished_first(most: int):
    events = run(rolled(*on(1, 2, 3, 1, 2, 3), most=most, waves="1,2,3"), PromptWriter())

    hosts = [event.address.host for event in events if isinstance(event, StepDone)]
    if most == 1:
        assert hosts == ["kvm-1", "kvm-1", "kvm-2", "kvm-2", "kvm-3", "kvm-3"]
    assert hosts[-2:] == ["kvm-3", "kvm-3"]


def test_an_empty_plan_starts_and_finishes():
    assert run(make_plan(), PromptWriter()) == [ApplyStarted("edge", ()), ApplyFinished(0, 0, 0, 0, 1)]


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ((make_step("a", "b"), make_step("b", "a")), "these steps wait for each other"),
        ((make_step("a", "gone"),), "kvm-1/domain/gone, which is no step of it"),
        ((make_step("a"), make_step("a")), "kvm-1/domain/a has two steps"),
    ],
)
def test_a_plan_without_an_order_is_refused_before_anything_begins(steps: tuple[Step, ...], what: str):
    writer = PromptWriter()
    with pytest.raises(Rejected) as rejected:
        apply(make_plan(*steps), writer, cancelled=NEVER)
    (diagnostic,) = rejected.value.diagnostics
    assert (diagnostic.code, what in diagnostic.summary) == ("apply.bad-plan", True)
    assert writer.requests == []


class BusyWriter(PromptWriter):
    """Carries out tasks on another thread, in an order that a seed decides."""

    def __init__(self, fails: dict[str, type[Exception]], seed: int) -> None:
        super().__init__()
        self.kinds, self.random = fails, random.Random(seed)
        self.queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def submit(self, request: TaskRequest, progress: Callable[[Progress], None]) -> Future[TaskResult]:
        future: Future[TaskResult] = Future()
        self.queue.put((request, progress, future))
        return future

    def work(self) -> None:
        pending = []
        while (item := self.queue.get()) is not None:
            pending.append(item)
            while pending and (self.queue.empty() or self.random.random() < 0.5):
                request, progress, future = pending.pop(self.random.randrange(len(pending)))
                progress(Progress(1, 1, "seconds"))
                if kind := self.kinds.get(request.address.name):
                    future.set_exception(failure(kind))
                else:
                    future.set_result(TaskResult())

    def close(self) -> None:
        self.queue.put(None)
        self.thread.join()


@st.composite
def dags(draw: st.DrawFn) -> list[Step]:
    """Steps in any order, over a few hosts, each waiting for some that were drawn before it."""
    steps: list[Step] = []
    names: list[Address] = []
    for number in range(draw(st.integers(0, 14))):
        host = draw(st.sampled_from(["kvm-1", "kvm-2", "kvm-3"]))
        others = draw(st.lists(st.sampled_from(names), unique=True, max_size=4)) if names else []
        task = DeleteVolume("vms", f"s{number}")
        mine = address(f"s{number}", host)
        steps.append(Step(mine, Action.CREATE, Impact.NONE, (), "", "absent", task, after=tuple(others)))
        names.append(mine)
    return draw(st.permutations(steps))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=dags(),
    fails=st.sets(st.sampled_from([f"s{n}" for n in range(14)]), max_size=3),
    most=st.integers(1, 3),
    failed=st.integers(0, 3),
    waves=st.sampled_from(["1 2 3", "3 1,2", "1,2,3", "2,3 1"]),
    seed=st.integers(0, 1000),
)
def test_a_rollout_always_ends_and_keeps_to_its_waves_and_bounds(
    steps: list[Step], fails: set[str], most: int, failed: int, waves: str, seed: int
):
    plan = rolled(*steps, most=most, failed=failed, waves=waves)
    writer = BusyWriter(dict.fromkeys(fails, TaskFailed), seed)
    try:
        events = list(apply(plan, writer, parallel=4, cancelled=NEVER))
    finally:
        writer.close()
    wave_of, running, troubled, wave, stopped = waves_of(plan), list[Address](), set[str](), -1, False
    for event in events:
        if isinstance(event, WaveStarted):
            assert not running
            assert event.number - 1 > wave
            wave = event.number - 1
        elif isinstance(event, StepStarted):
            assert not stopped
            assert wave_of[event.address] == wave
            running.append(event.address)
            assert len({address.host for address in running}) <= most
        elif isinstance(event, StepFailed):
            troubled.add(event.address.host)
        stopped |= len(troubled) > failed
        if isinstance(event, StepDone | StepFailed):
            running.remove(event.address)
    ended = [event.address for event in events if isinstance(event, ENDS)]
    assert sorted(map(str, ended)) == sorted(str(step.address) for step in steps)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=dags(),
    fails=st.dictionaries(
        st.sampled_from([f"s{n}" for n in range(14)]), st.sampled_from([Moved, TaskFailed])
    ),
    parallel=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_every_step_ends_once_none_starts_early_and_none_stands_on_a_failure(
    steps: list[Step], fails: dict[str, type[Exception]], parallel: int, seed: int
):
    writer = BusyWriter(fails, seed)
    try:
        events = list(apply(make_plan(*steps), writer, parallel=parallel, cancelled=NEVER))
    finally:
        writer.close()
    after = {step.address: step.after for step in steps}
    done, unsuccessful, running = set(), set(), set()
    for event in events[1:-1]:
        if isinstance(event, StepStarted):
            assert set(after[event.address]) <= done
            running.add(event.address)
            assert len(running) <= parallel
        elif isinstance(event, StepProgress):
            assert event.address in running
        elif isinstance(event, StepSkipped):
            assert event.because in unsuccessful
            assert event.address not in running
        else:
            running.remove(event.address)
            (done if isinstance(event, StepDone) else unsuccessful).add(event.address)
    ends = [event.address for event in events if isinstance(event, ENDS)]
    assert sorted(ends) == sorted(after)
    reachable = doomed(after, unsuccessful)
    assert {event.address for event in events if isinstance(event, StepSkipped)} == reachable
    finished = events[-1]
    assert (finished.done, finished.failed + finished.refused) == (len(done), len(unsuccessful))


def doomed(after: dict[Address, tuple[Address, ...]], unsuccessful: set[Address]) -> set[Address]:
    """All steps that stand on an unsuccessful one, by the plainest means."""
    found: set[Address] = set()
    grown = True
    while grown:
        more = {a for a, others in after.items() if (unsuccessful | found) & set(others)} - found
        found, grown = found | more, bool(more)
    return found
