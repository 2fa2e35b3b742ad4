"""Plan -> events: every step in its order, many at once, over all hosts. A HostWriter alone touches them.

First every host that answered is taken for this run, and given back at its end; nothing is begun where another run
holds one of them.
"""

from __future__ import annotations

import heapq
import queue
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from kvmdecl.diagnostics import Diagnostic, Locked, Moved, Rejected, TaskFailed
from kvmdecl.events import (
    ApplyFinished,
    ApplyStarted,
    Event,
    GateEnded,
    GateStarted,
    Outcome,
    RolloutStopped,
    StepDone,
    StepFailed,
    StepProgress,
    StepRefused,
    StepSkipped,
    StepStarted,
    WaveStarted,
)
from kvmdecl.gates import Verdict, decide
from kvmdecl.hosts.protocol import (
    CheckIn,
    DropLock,
    HostWriter,
    Progress,
    TakeLock,
    TaskRequest,
    TaskResult,
)
from kvmdecl.plan import Action, HostStatus
from kvmdecl.state import Address, Kind
from kvmdecl.tasks import DefineDomain, MoveDomain
from kvmdecl.waves import spent, waves_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import networkx as nx

    from kvmdecl.plan import Plan, PlannedGate, Step
    from kvmdecl.runs import Holder

_NOTICE_A_CANCEL = 0.2  # seconds
_LONGEST_FAREWELL = 10.0  # seconds for giving hosts back

_Turn = tuple[int, int, int]
"""Of a host: how many of its steps run, how many were begun, and where in the plan its next one is."""


class Busy(Rejected):
    """Another run holds hosts of the plan. Nothing was changed."""


class Gates(Protocol):
    """What looks through the gates of a rollout."""

    def look(self, planned: PlannedGate, wave: str, guests: Sequence[Address]) -> Future[Verdict]:
        """Look once at the guests of a wave. The future does not raise."""
        ...


class Flag(Protocol):
    """What apply asks of `threading.Event`."""

    def is_set(self) -> bool:
        """Whether no further step shall start."""
        ...


def apply(
    plan: Plan,
    writer: HostWriter,
    *,
    parallel: int = 8,
    cancelled: Flag,
    holder: Holder | None = None,
    intend: Callable[[Address], None] = lambda _address: None,
    gates: Gates | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Event]:
    """Carry out the steps of a plan; a step begins when all that it stands on are done.

    Before the first of them, every host that answered is taken for the run of `holder`; a guest that turns out to be on
    another host by then is not made. Then every host that has steps, or does not know all hosts of the cluster, checks
    in: nothing is made before the hosts that answer remember where it will be.

    A step that fails or is refused takes the steps that stand on it along (`StepSkipped`), and no others.
    Where the plan has waves, those of one end before the next begins, no more hosts than it says are worked on at
    once, and after too many failures, or a gate that does not pass, no step begins any more.
    Once `cancelled` is set, or after Ctrl-C, no step begins any more; running ones are awaited and reported.
    A second Ctrl-C is not caught.

    Args:
        plan: what to do; nothing else is done.
        writer: where tasks are carried out.
        parallel: how many steps may run at once, over all hosts.
        cancelled: may be set by another thread or a signal handler.
        holder: the run; None takes no locks.
        intend: called right before a host is asked to carry out a step. If it raises TaskFailed, it is not asked, and
            no further step begins.
        gates: what looks through the gates of the plan's rollout. Without, none passes.
        clock: seconds, for the times that events carry.

    Raises:
        Busy: `run.locked` for each host that another run holds; nothing was begun then.
        Rejected: `apply.bad-plan` if the plan's order cannot be followed, `rollout.budget-spent` if too many hosts did
            not answer; nothing was begun then.
    """
    if (found := spent(plan)) is not None:
        raise Rejected([found])
    return _Run(plan, writer, parallel, cancelled, clock, _order(plan.steps), holder, intend, gates).events()


def _order(steps: Sequence[Step]) -> nx.DiGraph[Address]:
    """The graph of steps; an edge leads from a step to one that waits for it."""
    import networkx as nx

    graph: nx.DiGraph[Address] = nx.DiGraph()
    for number, step in enumerate(steps):
        if step.address in graph:
            raise Rejected([_bad_plan(f"{step.address} has two steps")])
        graph.add_node(step.address, step=step, number=number)
    for step in steps:
        for other in step.after:
            if other not in graph:
                raise Rejected([_bad_plan(f"{step.address} waits for {other}, which is no step of it")])
            graph.add_edge(other, step.address)
    if not nx.is_directed_acyclic_graph(graph):
        ring = [edge[0] for edge in nx.find_cycle(graph)]
        raise Rejected([_bad_plan(f"these steps wait for each other: {', '.join(map(str, ring))}")])
    return graph


def check_ins(plan: Plan, lock: str = "") -> tuple[CheckIn, ...]:
    """What hosts are asked before the first step: those that have steps, and those that do not know all others."""
    busy = {host for step in plan.steps for host in step.hosts}
    return tuple(
        CheckIn(host.name, plan.cluster, host.machine, plan.members, plan.let_go, lock)
        for host in plan.hosts
        if host.status is HostStatus.OK and (host.name in busy or not host.noted)
    )


def _bad_plan(what: str) -> Diagnostic:
    return Diagnostic(
        code="apply.bad-plan",
        summary=f"the plan cannot be carried out: {what}",
        cause="A plan's steps form an order without rings. This one was edited, or kvmdecl made a mistake.",
        hint="make a new plan; if it says the same, please report it together with the plan file.",
    )


@dataclass(frozen=True, slots=True)
class _Advanced:
    address: Address
    progress: Progress


@dataclass(frozen=True, slots=True)
class _Ended:
    address: Address
    future: Future[TaskResult]


@dataclass(slots=True)
class _Run:
    """One application of a plan. Only `_inbox` is touched by other threads.

    Attributes:
        _ready: steps that may begin, for each host a heap in the order of the plan.
        _turns: hosts that have such steps, a heap; a turn that is no longer the host's own is passed over.
        _waits_for: steps that were not begun, and how many others each waits for.
        _running: steps that were begun, and when.
        _busy: how many steps run on each host.
        _begun: how many steps were begun on each host.
        _moving: how many guests are being moved from or to each host.
        _unfit: hosts that could not be taken or did not check in, and why.
        _held: hosts that this run holds.
        _guests: which of them had a guest when they were taken, by UUID.
        _twins: guests that are not made, or do not go on, by name, and why.
        _wave: the wave that is being worked on, from 0; `_waves` has that of each step if the plan has any.
        _left: how many steps of each wave have not ended.
        _worked: waves that had steps.
        _closed: the gate that did not pass, empty for none.
        _later: steps of later waves that wait for nothing else.
        _at_work: hosts that are worked on.
        _troubled: hosts that did not answer, or on which something failed.
    """

    plan: Plan
    writer: HostWriter
    parallel: int
    cancelled: Flag
    clock: Callable[[], float]
    graph: nx.DiGraph[Address]
    holder: Holder | None = None
    intend: Callable[[Address], None] = lambda _address: None
    gates: Gates | None = None
    _inbox: queue.SimpleQueue[_Advanced | _Ended] = field(default_factory=queue.SimpleQueue)
    _ready: dict[str, list[tuple[int, Address]]] = field(default_factory=dict)
    _turns: list[tuple[_Turn, str]] = field(default_factory=list)
    _waits_for: dict[Address, int] = field(default_factory=dict)
    _running: dict[Address, float] = field(default_factory=dict)
    _busy: Counter[str] = field(default_factory=Counter)
    _begun: Counter[str] = field(default_factory=Counter)
    _moving: Counter[str] = field(default_factory=Counter)
    _unfit: dict[str, BaseException] = field(default_factory=dict)
    _held: list[str] = field(default_factory=list)
    _guests: dict[str, list[str]] = field(default_factory=dict)
    _twins: dict[str, Moved] = field(default_factory=dict)
    _wave: int = -1
    _waves: Mapping[Address, int] = field(default_factory=dict)
    _left: Counter[int] = field(default_factory=Counter)
    _worked: set[int] = field(default_factory=set)
    _closed: str = ""
    _later: dict[int, list[Address]] = field(default_factory=dict)
    _at_work: set[str] = field(default_factory=set)
    _troubled: set[str] = field(default_factory=set)
    _ends: Counter[type[Event]] = field(default_factory=Counter)
    _interrupted: bool = False

    def events(self) -> Iterator[Event]:
        began = self.clock()
        self._take_locks()
        run = self.holder.run if self.holder else ""
        yield ApplyStarted(self.plan.cluster, tuple(self.graph), run)
        self._check_in()
        self._waits_for = dict(self.graph.in_degree)
        self._waves = waves_of(self.plan)
        self._left = Counter(self._waves.values())
        self._worked = set(self._left)
        self._troubled = set(self.plan.silent)
        for address, count in self._waits_for.items():
            if not count:
                self._make_ready(address)
        while self._waits_for or self._running:
            if self._stopping():
                yield from self._skip(self._waits_for, None)
            yield from self._next_wave()
            yield from self._start_ready()
            if message := self._next_message():
                yield from self._handle(message)
        yield from self._pass_gates()
        done, failed, refused, skipped = (
            self._ends[end] for end in (StepDone, StepFailed, StepRefused, StepSkipped)
        )
        self._drop_locks()  # where this is not reached, a call may still be under way: then the hosts stay locked
        yield ApplyFinished(done, failed, refused, skipped, self.clock() - began)

    def _take_locks(self) -> None:
        """The first host by name decides between runs that begin at once; then the others are taken all together."""
        if self.holder is None:
            return
        makes_guests = any(_may_double(step) for step in self.plan.steps)
        asked = [
            TakeLock(host.name, self.holder, makes_guests)
            for host in sorted(self.plan.hosts, key=lambda host: host.name)
            if host.status is HostStatus.OK
        ]
        others = self._take(asked[:1]) or self._take(asked[1:])
        if others:
            self._drop_locks()
            raise Busy(other.diagnostic for other in others)
        self._twins = self._find_twins()

    def _take(self, asked: Sequence[TakeLock]) -> list[Locked]:
        """Take some hosts. One that does not answer gets no task; returns why others are not to be had."""
        found: list[Locked] = []
        for host, future in self._answers({each.host: self.writer.take_lock(each) for each in asked}):
            error = future.exception()
            if isinstance(error, Locked):
                found.append(error)
            elif error is not None:
                self._unfit[host] = error
            else:
                self._held.append(host)
                for guest in future.result().present:
                    self._guests.setdefault(guest, []).append(host)
        return found

    def _find_twins(self) -> dict[str, Moved]:
        """Guests that the plan has begin or go on, and that another host has by now, without being taken away there."""
        gone = {step.address for step in self.plan.steps if step.action is Action.DELETE}
        return {
            step.guest: Moved(_second_copy(step, there))
            for step in self.plan.steps
            if isinstance(step.task, DefineDomain) and _may_double(step)
            for there in self._guests.get(step.task.uuid, ())
            if there != step.address.host and Address(there, Kind.DOMAIN, step.guest) not in gone
        }

    def _drop_locks(self) -> None:
        if self.holder is None:
            return
        cluster, run = self.plan.cluster, self.holder.run
        asked = {host: self.writer.drop_lock(DropLock(host, cluster, run)) for host in self._held}
        wait(asked.values(), _LONGEST_FAREWELL)
        self._held.clear()

    def _answers(self, asked: Mapping[str, Future[TaskResult]]) -> Iterator[tuple[str, Future[TaskResult]]]:
        """What hosts answer, as it comes."""
        waiting = {future: host for host, future in asked.items()}
        while waiting:
            for future in wait(waiting, _NOTICE_A_CANCEL, FIRST_COMPLETED).done:
                yield waiting.pop(future), future

    def _check_in(self) -> None:
        """A host that fails this gets no task; each of its steps ends with the reason."""
        asked = (each for each in check_ins(self.plan, self._lock) if each.host not in self._unfit)
        waiting = {self.writer.check_in(each): each.host for each in asked}
        while waiting and not self._stopping():
            for future in wait(waiting, _NOTICE_A_CANCEL, FIRST_COMPLETED).done:
                host = waiting.pop(future)
                if (error := future.exception()) is not None:
                    self._unfit[host] = error

    @property
    def _lock(self) -> str:
        return self.holder.token if self.holder else ""

    def _next_wave(self) -> Iterator[Event]:
        """Begin the next wave that has steps, if those of this one have ended and its gates hold.

        Also those of waves that had nothing to do: else a second run would pass by a gate that did not let the first.
        """
        waves = self.plan.rollout.waves if self.plan.rollout else ()
        while self._waits_for and self._wave + 1 < len(waves) and not self._left[self._wave]:
            yield from self._pass_gates()
            if self._closed or self._stopping():
                return
            self._wave += 1
            if self._left[self._wave]:
                wave = waves[self._wave]
                yield WaveStarted(self._wave + 1, len(waves), wave.name, wave.hosts)
            for address in self._later.pop(self._wave, ()):
                self._make_ready(address)

    def _pass_gates(self) -> Iterator[Event]:
        """Look through the gates of the wave that has ended, one after the other, until one does not pass."""
        rollout = self.plan.rollout
        if rollout is None or self._wave < 0 or len(self._troubled) > rollout.max_failed:
            return
        wave = rollout.waves[self._wave]
        for gate in rollout.gates:
            if self._closed or self._stopping():
                return
            guests = [
                guest
                for guest in wave.guests
                if guest.host not in self._troubled and (not gate.vms or guest.name in gate.vms)
            ]
            yield GateStarted(wave.name, gate.check, len(guests))
            began = self.clock()
            if (verdict := self._decided(gate, wave.name, guests)) is None:
                return
            yield GateEnded(wave.name, gate.check, verdict.outcome, verdict.why, self.clock() - began)
            if verdict.outcome is not Outcome.PASSED:
                self._closed = gate.check
                yield from self._skip(self._waits_for, None)

    def _decided(self, gate: PlannedGate, wave: str, guests: Sequence[Address]) -> Verdict | None:
        """What a gate comes to; None if the run was interrupted. Nothing else is under way meanwhile."""
        if (gates := self.gates) is None:
            return Verdict(Outcome.INCONCLUSIVE, "there is nobody to look")
        # What had nothing to do need not prove itself for long.
        hold = gate.hold if self._wave in self._worked else 0
        try:
            return decide(gate, hold, lambda: gates.look(gate, wave, guests), self._stopping)
        except KeyboardInterrupt:
            self._interrupted = True
            return None

    def _make_ready(self, address: Address) -> None:
        if (wave := self._waves.get(address, self._wave)) > self._wave:
            self._later.setdefault(wave, []).append(address)
            return
        entry = (self.graph.nodes[address]["number"], address)
        heapq.heappush(self._ready.setdefault(address.host, []), entry)
        self._queue_up(address.host)

    def _queue_up(self, host: str) -> None:
        if self._ready.get(host):
            heapq.heappush(self._turns, (self._turn(host), host))

    def _turn(self, host: str) -> _Turn:
        """The least busy host comes first, so that one with many or slow steps holds up no other."""
        return self._busy[host], self._begun[host], self._ready[host][0][0]

    def _start_ready(self) -> Iterator[Event]:
        postponed: list[tuple[_Turn, str]] = []
        while self._turns and len(self._running) < self.parallel and not self._stopping():
            turn, host = heapq.heappop(self._turns)
            if not self._ready[host] or turn != self._turn(host):
                continue
            if not self._may_work_on(host) or not self._may_move(self._ready[host][0][1]):
                postponed.append((turn, host))
                continue
            _, address = heapq.heappop(self._ready[host])
            yield StepStarted(address)
            self._start(address)
            self._queue_up(host)
        for entry in postponed:
            heapq.heappush(self._turns, entry)

    def _may_move(self, address: Address) -> bool:
        """Whether a guest that is next may move: two hosts have room for no more than a few moves at once."""
        step: Step = self.graph.nodes[address]["step"]
        most = self.plan.rollout.max_migrations if self.plan.rollout else 1
        return not _is_move(step) or all(self._moving[host] < most for host in step.hosts)

    def _may_work_on(self, host: str) -> bool:
        """Whether there is room for a host among those that are worked on; it keeps it while it has something to do."""
        most = self.plan.rollout.max_parallel if self.plan.rollout else None
        if most is not None and host not in self._at_work and len(self._at_work) >= most:
            return False
        self._at_work.add(host)
        return True

    def _start(self, address: Address) -> None:
        step: Step = self.graph.nodes[address]["step"]
        del self._waits_for[address]
        self._running[address] = self.clock()
        self._busy[address.host] += 1
        self._begun[address.host] += 1
        if _is_move(step):
            self._moving.update(step.hosts)
        unfit = next((self._unfit[host] for host in step.hosts if host in self._unfit), None)
        reason = unfit or self._twins.get(step.guest) or self._noted(address)
        if reason is not None:
            self._inbox.put(_Ended(address, _failed(reason)))
            return
        plan = self.plan
        request = TaskRequest(address, step.task, step.precondition, plan.cluster, plan.revision, self._lock)
        future = self.writer.submit(request, lambda progress: self._inbox.put(_Advanced(address, progress)))
        future.add_done_callback(lambda ended: self._inbox.put(_Ended(address, ended)))

    def _noted(self, address: Address) -> TaskFailed | None:
        """Have it noted that a step begins; why that cannot be."""
        try:
            self.intend(address)
        except TaskFailed as failed:
            self._interrupted = True
            return failed
        return None

    def _stopping(self) -> bool:
        return self._interrupted or self.cancelled.is_set()

    def _next_message(self) -> _Advanced | _Ended | None:
        """Wait for a running step; None now and then, so that a cancel is noticed."""
        if not self._running:
            return None
        try:
            return self._inbox.get(timeout=_NOTICE_A_CANCEL)
        except queue.Empty:
            return None
        except KeyboardInterrupt:
            if self._stopping():
                raise
            self._interrupted = True
            return None

    def _handle(self, message: _Advanced | _Ended) -> Iterator[Event]:
        address = message.address
        if isinstance(message, _Advanced):
            if address in self._running:
                progress = message.progress
                yield StepProgress(address, progress.done, progress.total, progress.unit)
            return
        seconds = self.clock() - self._running.pop(address)
        self._busy[address.host] -= 1
        step: Step = self.graph.nodes[address]["step"]
        if _is_move(step):
            self._moving.subtract(step.hosts)
        self._queue_up(address.host)
        end = _end(address, message.future, seconds)
        self._ends[type(end)] += 1
        yield end
        self._ended(address)
        if isinstance(end, StepDone):
            self._release(address)
        else:
            yield from self._skip(self._dependents(address), address)
            yield from self._count_failure(address)
        if not self._busy[address.host] and not self._ready.get(address.host):
            self._at_work.discard(address.host)

    def _count_failure(self, address: Address) -> Iterator[Event]:
        """Begin nothing any more if this is one host too many."""
        self._troubled.add(address.host)
        rollout = self.plan.rollout
        if rollout is None or len(self._troubled) <= rollout.max_failed or not self._waits_for:
            return
        yield RolloutStopped(tuple(sorted(self._troubled)), rollout.max_failed)
        yield from self._skip(self._waits_for, address)
        for waiting in (self._ready, self._turns, self._later):
            waiting.clear()

    def _ended(self, address: Address) -> None:
        if address in self._waves:
            self._left[self._waves[address]] -= 1

    def _release(self, address: Address) -> None:
        for waiting in self.graph.successors(address):
            if waiting in self._waits_for:
                self._waits_for[waiting] -= 1
                if not self._waits_for[waiting]:
                    self._make_ready(waiting)

    def _dependents(self, address: Address) -> set[Address]:
        import networkx as nx

        return {waiting for waiting in nx.descendants(self.graph, address) if waiting in self._waits_for}

    def _skip(self, addresses: Iterable[Address], because: Address | None) -> Iterator[Event]:
        for address in sorted(addresses, key=lambda skipped: self.graph.nodes[skipped]["number"]):
            del self._waits_for[address]
            self._ended(address)
            self._ends[StepSkipped] += 1
            yield StepSkipped(address, because, self._closed)


def _may_double(step: Step) -> bool:
    """Whether a guest begins or goes on by it that must be on no other host."""
    makes = isinstance(step.task, DefineDomain) and step.action is Action.CREATE
    return makes or (isinstance(step.task, DefineDomain) and step.task.power == "resume")


def _is_move(step: Step) -> bool:
    return isinstance(step.task, MoveDomain)


def _second_copy(step: Step, there: str) -> Diagnostic:
    return Diagnostic(
        code="step.second-copy",
        summary=f"nothing was done to {step.address}: since the plan was made, {there} has it",
        cause="A guest that runs twice destroys its data or fights its twin for its address.",
        hint="plan again.",
        subject=str(step.address),
    )


def _failed(reason: BaseException) -> Future[TaskResult]:
    future: Future[TaskResult] = Future()
    future.set_exception(reason)
    return future


def _end(address: Address, future: Future[TaskResult], seconds: float) -> StepDone | StepFailed | StepRefused:
    error = None if future.cancelled() else future.exception()
    if future.cancelled():
        return StepFailed(address, _unexpected(address, "the task was given up before it began"))
    if error is None:
        return StepDone(address, seconds, future.result().remarks)
    if isinstance(error, Moved):
        return StepRefused(address, error.diagnostic)
    if isinstance(error, TaskFailed):
        return StepFailed(address, error.diagnostic)
    return StepFailed(address, _unexpected(address, f"{type(error).__name__}: {error}"))


def _unexpected(address: Address, what: str) -> Diagnostic:
    return Diagnostic(
        code="apply.unexpected",
        summary=f"{address}: {what}",
        cause="kvmdecl did not expect this, so the step may be done, half done, or not begun.",
        hint="`kvmdecl plan` shows what is left to do; please report this together with the text above.",
        subject=str(address),
    )
