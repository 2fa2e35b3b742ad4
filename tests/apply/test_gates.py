"""A gate is looked at after each wave; a wave begins only where those before it are known to be well."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
from kvmdecl_gates.checks import GATES

from kvmdecl.apply import apply
from kvmdecl.diagnostics import Diagnostic, Rejected, TaskFailed
from kvmdecl.events import ApplyFinished, Event, GateEnded, Outcome, StepDone, StepSkipped, WaveStarted
from kvmdecl.gatekeeper import Gatekeeper, gates_of
from kvmdecl.gates import Agent, Gate, GateRequest, Guest, Verdict, Watch, decide
from kvmdecl.hosts import guests as on_a_host
from kvmdecl.hosts.protocol import GuestsSeen, LookAtGuests
from kvmdecl.plan import Plan, PlannedGate
from kvmdecl.pluginhost import load_plugins
from kvmdecl.state import Address, Kind
from kvmdecl.views.board import gate_line
from tests.apply.test_apply import NEVER, PromptWriter, address, failure, on, rolled

PASSED, FAILED, UNKNOWN = Outcome.PASSED, Outcome.FAILED, Outcome.INCONCLUSIVE
WEB = Address("kvm-1", Kind.DOMAIN, "web-1")


def gate(
    check: str = "running", hold: int = 0, timeout: int = 1, **options: str | tuple[str, ...]
) -> PlannedGate:
    return PlannedGate(check, options, (), hold, timeout, 1)


def gated(plan: Plan, *gates: PlannedGate) -> Plan:
    assert plan.rollout
    waves = tuple(
        replace(wave, guests=tuple(Address(host, Kind.DOMAIN, f"v-{host}") for host in wave.hosts))
        for wave in plan.rollout.waves
    )
    return replace(plan, rollout=replace(plan.rollout, gates=gates, waves=waves))


@dataclass
class Says:
    """Gates that say the same at each look, by wave; every look is noted."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def look(self, planned: PlannedGate, wave: str, guests: list[Address]) -> Future[Verdict]:
        self.asked.append((wave, planned.check, " ".join(guest.name for guest in guests)))
        outcome = self.outcomes.get(wave, PASSED)
        future: Future[Verdict] = Future()
        future.set_result(Verdict(outcome, "" if outcome is PASSED else "not well"))
        return future


def carried_out(plan: Plan, gates: Says, writer: PromptWriter | None = None) -> list[Event]:
    return list(apply(plan, writer or PromptWriter(), cancelled=NEVER, gates=gates))


def names(events: list[Event], kind: type) -> list[str]:
    return [event.address.name for event in events if isinstance(event, kind)]


def test_each_gate_is_looked_at_after_each_wave_before_the_next_begins():
    says = Says()
    events = carried_out(gated(rolled(*on(1, 2, 3)), gate("running"), gate("settle")), says)

    told = [
        e.name if isinstance(e, WaveStarted) else e.gate
        for e in events
        if isinstance(e, WaveStarted | GateEnded)
    ]
    assert told == ["w0", "running", "settle", "w1", "running", "settle"]
    assert says.asked[0] == ("w0", "running", "v-kvm-1")
    assert says.asked[2] == ("w1", "running", "v-kvm-2 v-kvm-3")


@pytest.mark.parametrize("outcome", [FAILED, UNKNOWN])
def test_after_a_gate_that_does_not_pass_no_later_wave_is_touched(outcome: Outcome):
    writer = PromptWriter()
    events = carried_out(gated(rolled(*on(1, 2, 3)), gate("a"), gate("b")), Says({"w0": outcome}), writer)

    (ended,) = [event for event in events if isinstance(event, GateEnded)]
    assert (ended.wave, ended.gate, ended.outcome, ended.why) == ("w0", "a", outcome, "not well")
    assert {request.address.host for request in writer.requests} == {"kvm-1"}
    assert [e.gate for e in events if isinstance(e, StepSkipped)] == ["a", "a"]
    assert events[-1] == ApplyFinished(1, 0, 0, 2, events[-1].seconds)


def test_a_second_run_does_not_pass_by_a_gate_though_the_first_has_done_its_wave():
    says = Says({"w0": FAILED})
    events = carried_out(gated(rolled(*on(2, 3)), gate(hold=9)), says)

    assert names(events, StepDone) == []
    assert says.asked[0] == ("w0", "running", "v-kvm-1")


def test_the_gates_of_waves_after_the_last_step_are_not_looked_at():
    says = Says()
    carried_out(gated(rolled(*on(1)), gate()), says)
    assert {wave for wave, *_ in says.asked} == {"w0"}


def test_guests_of_hosts_that_failed_already_are_not_asked():
    fails = {address("s1", "kvm-2"): failure(TaskFailed)}
    says = Says()
    carried_out(gated(rolled(*on(1, 2, 3), failed=1), gate()), says, PromptWriter(fails))
    assert says.asked[-1] == ("w1", "running", "v-kvm-3")


def test_after_too_many_failures_no_gate_is_looked_at():
    says = Says()
    carried_out(gated(rolled(*on(1)), gate()), says, PromptWriter({address("s0"): failure(TaskFailed)}))
    assert says.asked == []


def test_a_gate_is_asked_only_about_the_vms_that_it_names():
    says = Says()
    carried_out(gated(rolled(*on(2, 3)), replace(gate(), vms=("v-kvm-3",))), says)
    assert says.asked[-1] == ("w1", "running", "v-kvm-3")


@pytest.mark.parametrize(
    ("looks", "ended"),
    [
        ([(0, PASSED)], (0, PASSED)),
        ([(0, FAILED), (2, PASSED)], (2, PASSED)),
        ([(0, FAILED), (9, FAILED), (10, FAILED)], (10, FAILED)),
        ([(0, FAILED), (10, UNKNOWN)], (10, UNKNOWN)),
        ([(0, UNKNOWN), (10, FAILED)], (10, FAILED)),
    ],
)
def test_a_gate_has_until_its_timeout(looks: list[tuple[int, Outcome]], ended: tuple[int, Outcome]):
    assert decided(looks, hold=0) == ended


@pytest.mark.parametrize(
    ("looks", "ended"),
    [
        ([(0, PASSED), (4, PASSED), (5, PASSED)], (5, PASSED)),
        ([(0, PASSED), (4, FAILED), (5, PASSED), (9, PASSED), (10, PASSED)], (10, PASSED)),
        ([(9, PASSED), (14, PASSED)], (14, PASSED)),  # what began in time may prove itself
        ([(9, PASSED), (12, FAILED)], (12, FAILED)),
    ],
)
def test_a_gate_that_has_to_hold_must_not_fail_meanwhile(
    looks: list[tuple[int, Outcome]], ended: tuple[int, Outcome]
):
    assert decided(looks, hold=5) == ended


def decided(looks: list[tuple[int, Outcome]], hold: int) -> tuple[int, Outcome] | None:
    watch = Watch(gate(timeout=10), 0.0, hold)
    for now, outcome in looks:
        if (verdict := watch.judge(Verdict(outcome), now)) is not None:
            return now, verdict.outcome
    return None


def test_a_look_that_does_not_come_back_is_inconclusive(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kvmdecl.gates.LONGEST_LOOK", 0.05)
    found = decide(gate(), 0, Future, lambda: False)
    assert found == Verdict(UNKNOWN, "no answer within 0 s")


def test_a_run_that_is_interrupted_asks_no_further():
    stopped = threading.Event()

    def look() -> Future[Verdict]:
        stopped.set()
        return Future()

    assert decide(gate(timeout=60), 0, look, stopped.is_set) is None


# -- what comes with kvmdecl --------------------------------------------------------------------------------------


def guest(running: bool | None = True, agent: Agent | None = None, *leased: str) -> Guest:
    return Guest(WEB, running, agent, leased)


def verdict(check: str, *guests: Guest, **options: object) -> tuple[Outcome, str]:
    offered: Gate = GATES[check]
    found = offered.look(GateRequest(offered.options.model_validate(options), "canary", guests, 5))
    return found.outcome, found.why


@pytest.mark.parametrize(
    ("check", "seen", "outcome", "why"),
    [
        ("running", guest(), PASSED, ""),
        ("running", guest(running=False), FAILED, "web-1 on kvm-1: it does not run"),
        ("agent", guest(True, Agent.ANSWERS), PASSED, ""),
        ("agent", guest(True, Agent.SILENT), FAILED, "web-1 on kvm-1: its agent does not answer"),
        ("agent", guest(True, Agent.ABSENT), UNKNOWN, "web-1 on kvm-1: no agent has started in it"),
        ("agent", guest(True, Agent.NO_CHANNEL), UNKNOWN, "web-1 on kvm-1: it has no channel for an agent"),
        ("agent", guest(False, None), FAILED, "web-1 on kvm-1: it does not run"),
        ("lease", guest(True, None, "10.0.0.5"), PASSED, ""),
        ("lease", guest(), FAILED, "web-1 on kvm-1: it has no leased address"),
        ("settle", guest(None), PASSED, ""),
    ],
)  # fmt: skip
def test_what_is_said_of_a_guest(check: str, seen: Guest, outcome: Outcome, why: str):
    assert verdict(check, seen) == (outcome, why)


def test_of_many_guests_some_are_named():
    seen = [Guest(Address("kvm-1", Kind.DOMAIN, f"v{n}"), running=False) for n in range(5)]
    assert verdict("running", *seen)[1].endswith("; v2 on kvm-1: it does not run; and 2 more")


def test_a_port_is_open_closed_or_somewhere_that_nobody_knows():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert verdict("tcp", guest(True, None, "127.0.0.1"), port=port) == (PASSED, "")
        assert verdict("tcp", guest(), port=port, address="127.0.0.1") == (PASSED, "")
    closed, why = verdict("tcp", guest(True, None, "127.0.0.1"), port=port)
    assert (closed, why.partition(": ")[2]) == (FAILED, f"port {port} of 127.0.0.1: Connection refused")
    assert verdict("tcp", guest(), port=port)[0] is UNKNOWN
    assert verdict("tcp", guest(), port=port, address="{name}.nowhere.invalid")[0] is UNKNOWN


@pytest.mark.parametrize(
    ("argv", "outcome", "why"),
    [
        (("true",), PASSED, ""),
        (
            ("sh", "-c", "echo; echo 'no \x1b[1mhealth' >&2; exit 3"),
            FAILED,
            r"it ended with 3: no \x1b[1mhealth",
        ),
        (("sh", "-c", "exit 75"), UNKNOWN, "it ended with 75"),
        (("/no/such/program",), UNKNOWN, "it cannot be started: [Errno 2] No such file or directory"),
        (("sleep", "9"), UNKNOWN, "it did not end within 0 s"),
        (("sh", "-c", 'test "$KVMDECL_WAVE $KVMDECL_GUESTS" = "canary kvm-1/web-1"'), PASSED, ""),
        (("test", "$HOME", "=", "$HOME"), PASSED, ""),  # no shell
    ],
)
def test_a_command_answers_with_its_end(argv: tuple[str, ...], outcome: Outcome, why: str):
    offered = GATES["command"]
    seconds = 0.1 if argv[0] == "sleep" else 5
    found = offered.look(
        GateRequest(offered.options.model_validate({"argv": argv}), "canary", (guest(),), seconds)
    )
    assert found.outcome is outcome
    assert found.why.startswith(why)


def domain(xml: str, *, answers: bool) -> SimpleNamespace:
    def get_time() -> None:
        if not answers:
            raise on_a_host.libvirt.libvirtError("agent is not responding")

    return SimpleNamespace(
        XMLDesc=lambda _flags: f"<domain><devices>{xml}</devices></domain>", getTime=get_time
    )


CHANNEL = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='{}'/></channel>"


@pytest.mark.parametrize(
    ("xml", "answers", "agent"),
    [
        ("", True, Agent.NO_CHANNEL),
        (CHANNEL.format("disconnected"), False, Agent.ABSENT),
        (CHANNEL.format("connected"), False, Agent.SILENT),
        (CHANNEL.format("connected"), True, Agent.ANSWERS),
    ],
)
def test_the_live_definition_tells_whether_an_agent_was_ever_there(xml: str, answers: bool, agent: Agent):
    assert on_a_host._agent(domain(xml, answers=answers)) is agent


# -- between the two ----------------------------------------------------------------------------------------------


class Watcher:
    """Answers for kvm-1 that its guests run; kvm-2 does not answer."""

    def look_at(self, asked: LookAtGuests) -> Future[GuestsSeen]:
        future: Future[GuestsSeen] = Future()
        if asked.host == "kvm-2":
            future.set_exception(TaskFailed(Diagnostic("host.timeout", "kvm-2 did not answer")))
        else:
            seen = (Guest(Address(asked.host, Kind.DOMAIN, name), running=True) for name in asked.guests)
            future.set_result(GuestsSeen(tuple(seen)))
        return future


def looked(gates: dict[str, Gate], *hosts: str) -> Verdict:
    guests = [Address(host, Kind.DOMAIN, "web") for host in hosts]
    (name,) = gates
    return Gatekeeper(gates, Watcher()).look(gate(name), "canary", guests).result(5)


def test_what_a_silent_host_has_is_not_known():
    running = {"running": GATES["running"]}
    assert looked(running, "kvm-1").outcome is PASSED
    assert looked(running, "kvm-1", "kvm-2") == Verdict(UNKNOWN, "kvm-2 did not answer")


def test_a_gate_that_breaks_is_inconclusive():
    def breaks(_asked: GateRequest) -> Verdict:
        raise RuntimeError("oh \x1b[1m")

    found = looked({"odd": replace(GATES["settle"], look=breaks)}, "kvm-1")
    assert found == Verdict(UNKNOWN, r"the gate itself failed: RuntimeError: oh \x1b[1m")


def test_a_saved_plan_cannot_tell_a_gate_what_no_manifest_could():
    plugins = load_plugins()
    plan = gated(rolled(*on(1)), gate("tcp", port="22"))
    assert list(gates_of(plan, plugins)) == ["tcp"]
    with pytest.raises(Rejected, match=r"plan\.inconsistent"):
        gates_of(gated(plan, gate("tcp", port="99999")), plugins)


def test_a_line_tells_what_a_gate_came_to():
    ended = GateEnded("canary", "tcp", FAILED, "port 22 of web: refused", 4.0)
    assert gate_line(ended) == (
        "gate tcp after canary: failed after 4.0 s: port 22 of web: refused; nothing more is begun"
    )
