"""A fleet of simulated hosts: reads and writes them as the real fleets do, and faults strike at a chosen call.

At each call another task of the run may have its turn. What a worker process does is what runs here: `carry_out`,
`answer_to`, `read_host`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self
from unittest.mock import patch

import libvirt

from kvmdecl.diagnostics import Diagnostic, TaskFailed
from kvmdecl.hosts import ledger, read
from kvmdecl.hosts.ledger import read_ledgers
from kvmdecl.hosts.messages import Call
from kvmdecl.hosts.perform import Patience, moves
from kvmdecl.hosts.protocol import CheckIn, DropLock, Progress, Scope, TakeLock, TaskRequest, TaskResult
from kvmdecl.hosts.runlock import USAGE_PREFIX
from kvmdecl.hosts.worker import TASKS_AT_ONCE, answer_to, carry_out
from kvmdecl.runs import Holder
from kvmdecl.state import Address, HostSnapshot, Kind, Observation, Unreachable
from kvmdecl.tasks import LeaveDomain, MoveDomain
from tests.simulation.libvirtd import Connection, SimulatedHost, fail
from tests.simulation.turns import Killed, Turns

_WORKERS = 2
_PATIENCE = Patience(shutdown=0.0, ask_again=0.0, unplug=0.0, refresh=0.0, poll=0.0)
_READS = {
    "XMLDesc", "autostart", "getCapabilities", "getLibVersion", "getVersion", "hasManagedSaveImage", "info", "isActive",
    "isPersistent", "listAllDomains", "listAllNetworks", "listAllSecrets", "listAllStoragePools", "listAllVolumes",
    "lookupByName", "lookupByUUIDString", "networkLookupByName", "secretLookupByUUIDString", "secretLookupByUsage",
    "compareHypervisorCPU", "getDomainCapabilities", "jobInfo", "jobStats", "state",
    "storagePoolLookupByName", "storagePoolLookupByVolume", "storageVolLookupByName",
}  # fmt: skip


At = int | tuple[str, int]
"""A call of a run: the so-manyth of all, or of those of a name."""


class Hung(BaseException):
    """A host does not answer; the fleet gives the call up."""


@dataclass(frozen=True)
class Fault:
    """What happens at a call of a run, after it took effect or instead of it.

    `kill` the run; `cut` its connection to the host; `restart` the host's daemon; `hang` the host until the run is over
    (with `after`, the call takes effect only when the host goes on); `refuse` the call.
    """

    kind: str
    after: bool


class _AtOnce:
    """Threads that have ended before anybody can ask how far they are, so that a seed gives the same run every time."""

    def __init__(self, _threads: int, **_named: str) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def shutdown(self, **_how: bool) -> None:
        pass

    def submit(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args))
        except BaseException as error:  # noqa: BLE001 - as a thread does
            future.set_exception(error)
        return future

    def map(self, work: Callable[[Any], Any], things: Iterable[Any]) -> Iterator[Any]:
        return map(work, things)


@dataclass(eq=False)
class Worker:
    """What a worker process has: its connections, and tasks that are not over. One that is `retiring` gets no more."""

    lines: dict[str, Connection] = field(default_factory=dict)
    tasks: int = 0
    retiring: bool = False


@dataclass(frozen=True)
class Task:
    """What is carried out when the turn is its own."""

    work: TaskRequest | TakeLock | DropLock | CheckIn
    worker: Worker
    began: int

    @property
    def address(self) -> Address | None:
        return self.work.address if isinstance(self.work, TaskRequest) else None

    @cached_property
    def words(self) -> str:
        return str(self.address) if self.address else f"{type(self.work).__name__} {self.work.host}"


@dataclass
class Fleet:
    """A HostReader and a HostWriter of one run. `seed` says in which order its tasks have their turns."""

    world: World
    holder: Holder
    faults: Mapping[At, Fault] = field(default_factory=dict)
    seed: str = ""
    calls: int = 0
    called: Counter[str] = field(default_factory=Counter)
    struck: list[str] = field(default_factory=list)
    wrote: set[Address] = field(default_factory=set)
    _homes: dict[int, Worker] = field(default_factory=dict)
    _workers: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turns = Turns(self.seed)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """As long as a run has its turns."""
        with (
            patch.object(moves, "ThreadPoolExecutor", _AtOnce),
            patch.object(ledger, "_turn", self.turns.held),
            self.turns.of_apply(),
        ):
            try:
                yield
            finally:
                self.turns.finish()
                self.close()
                if self.turns.stuck:
                    self.world.violations.append("all tasks wait for each other")

    def close(self) -> None:
        """The run is over: its connections are closed."""
        for worker in self._workers:
            self._end(worker)

    def observe(self, scope: Scope) -> Mapping[str, Observation]:
        """Faults strike those who write: a reading is whole or it is none."""
        return {name: self._read(name, scope) for name in self.world.hosts}

    def _read(self, name: str, scope: Scope) -> Observation:
        def look(_call: Call) -> HostSnapshot:
            with patch.object(read, "ThreadPoolExecutor", _AtOnce):
                connection: Any = self.world.hosts[name].connect()
                return read.read_host(connection, name, scope)

        try:
            answer = answer_to(Call(0, name, "", scope), look)
        except Hung:
            return Unreachable(name, _silent(name))
        return answer if isinstance(answer, HostSnapshot) else Unreachable(name, answer.diagnostic)

    def take_lock(self, asked: TakeLock) -> Future[TaskResult]:
        return self._ask(asked.host, asked)

    def drop_lock(self, asked: DropLock) -> Future[TaskResult]:
        return self._ask(asked.host, asked)

    def check_in(self, asked: CheckIn) -> Future[TaskResult]:
        return self._ask(asked.host, asked)

    def submit(self, request: TaskRequest, progress: Callable[[Progress], None]) -> Future[TaskResult]:
        return self._ask(request.address.host, request, progress)

    def _ask(
        self,
        host: str,
        work: TaskRequest | TakeLock | DropLock | CheckIn,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> Future[TaskResult]:
        task = Task(work, self._worker(host), self.world.clock)
        task.worker.tasks += 1
        future: Future[TaskResult] = Future()
        self.turns.begin(lambda: self._carry_out(host, task, progress, future), task)
        return future

    def _carry_out(
        self, host: str, task: Task, progress: Callable[[Progress], None], future: Future[TaskResult]
    ) -> None:
        work, worker = task.work, task.worker
        of = work.task if isinstance(work, TaskRequest) else None
        other = of.peer if isinstance(of, MoveDomain | LeaveDomain) else ""

        def carry(_call: Call) -> Any:
            lines = {name: self._line(worker, name) for name in (host, other) if name}
            with ExitStack() as rooms:
                for name in sorted(lines):
                    rooms.enter_context(self.turns.held(lines[name], most=TASKS_AT_ONCE))
                return carry_out(lines[host], work, progress, _PATIENCE, peer=lines.get(other))

        try:
            answer = answer_to(Call(0, host, "", work), carry)
        except Hung:
            worker.retiring = True
            answer = TaskFailed(_silent(host))
        worker.tasks -= 1
        if worker.retiring and not worker.tasks:
            self._end(worker)
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def _worker(self, host: str) -> Worker:
        """The one that gets tasks of a host: a new one where a call did not come back."""
        place = int(host.rpartition("-")[2]) % _WORKERS
        home = self._homes.get(place)
        if home is None or home.retiring:
            home = self._homes[place] = Worker()
            self._workers.append(home)
        return home

    def _end(self, worker: Worker) -> None:
        for line in worker.lines.values():
            self.world.hang_up(line)

    def _line(self, worker: Worker, name: str) -> Any:
        """A worker's connection to a host, a new one where it broke."""
        line = worker.lines.get(name)
        if line is None or line.broken:
            line = worker.lines[name] = self.world.hosts[name].connect()
            line.owner = self
        return line


def _silent(host: str) -> Diagnostic:
    return Diagnostic("host.outcome-unknown", f"{host}: silent", subject=f"host/{host}")


def torn(host: SimulatedHost) -> set[str]:
    """Files that the ledger tells to be incomplete: they are made again."""
    with_ledgers: Any = host.connect()
    entries = (entry for ledger in read_ledgers(with_ledgers) for entry in ledger.entries)
    return {f"/srv/{entry.name}" for entry in entries if entry.kind is Kind.VOLUME and not entry.complete}


@dataclass
class World:
    """Hosts, and a watch over every call that a run makes there.

    Attributes:
        clock: counts calls.
        restarted: when a host's daemon was last restarted.
        late: what takes effect when a hung host goes on; a host that is in it is hung.
        may_go: guests (by UUID) that may go from where they are: the plan says so.
        moving: those of them that are to be on another host; for a while two may have them, and one run them.
        violations: what must never happen, and did.
        trace: what each call was for, its name and its host.
    """

    hosts: dict[str, SimulatedHost]
    clock: int = 0
    restarted: dict[str, int] = field(default_factory=dict)
    late: dict[str, list[Callable[[], Any]]] = field(default_factory=dict)
    may_go: set[str] = field(default_factory=set)
    moving: set[str] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)
    trace: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for host in self.hosts.values():
            host.meddle = self.meddle

    def meddle(self, line: Connection, name: str, effect: Callable[[], Any]) -> Any:
        """Every call of every run comes by here."""
        fleet: Fleet | None = getattr(line, "owner", None)
        host = line.host
        if fleet is not None:
            fleet.turns.hand_on()
            line.require_whole()
        if host.name in self.late:
            raise Hung
        if fleet is None:
            return effect()
        task: Task = fleet.turns.now.about
        self.trace.append((task.words, name, host.name))
        self.clock += 1
        fleet.calls += 1
        fleet.called[name] += 1
        fault = fleet.faults.get(fleet.calls) or fleet.faults.get((name, fleet.called[name]))
        if fault is None:
            return self._watched(fleet, task, host, name, effect)
        return self._strike(fault, fleet, line, name, effect)

    def _strike(
        self, fault: Fault, fleet: Fleet, line: Connection, name: str, effect: Callable[[], Any]
    ) -> Any:
        task: Task = fleet.turns.now.about
        host, when = line.host, "after" if fault.after else "before"
        fleet.struck.append(f"{fault.kind} {when} call {fleet.calls}, {name} on {host.name}")
        if fault.kind == "refuse":
            fail(libvirt.VIR_ERR_OPERATION_FAILED, "operation failed: it just does not work")
        if fault.kind == "hang":
            self.late[host.name] = (
                [lambda: self._watched(fleet, task, host, name, effect)] if fault.after else []
            )
            raise Hung
        if fault.after and not (name == "migrateFinish3" and fault.kind in {"cut", "restart"}):
            # When the answer to that is lost, libvirt itself has the guest go on on both hosts, and nobody can help it.
            self._watched(fleet, task, host, name, effect)
        if fault.kind == "kill":
            fleet.turns.over = True
            fleet.close()
            raise Killed
        if fault.kind == "restart":
            host.restart()
            self.restarted[host.name] = self.clock
        self.hang_up(line)
        fail(
            libvirt.VIR_ERR_SYSTEM_ERROR,
            "End of file while reading data: Input/output error",
            libvirt.VIR_FROM_RPC,
        )

    def hang_up(self, line: Connection) -> None:
        """A connection breaks; a host that is hung notices when it goes on."""
        line.broken = True
        notice = lambda: line.host.hang_up(line)  # noqa: E731
        if line.host.name in self.late:
            self.late[line.host.name].append(notice)
        else:
            notice()

    def thaw(self) -> None:
        """Hung hosts go on, and do what they were asked."""
        for name, effects in list(self.late.items()):
            del self.late[name]
            for effect in effects:
                try:
                    effect()
                except libvirt.libvirtError:
                    continue

    # -- what must hold at every call --------------------------------------------------------------------------

    def _watched(
        self, fleet: Fleet, task: Task, host: SimulatedHost, name: str, effect: Callable[[], Any]
    ) -> Any:
        if name in _READS:
            return effect()
        if task.address is not None:
            fleet.wrote.add(task.address)
            held = {key for key, secret in host.secrets.items() if secret.usage[1].startswith(USAGE_PREFIX)}
            if held != {fleet.holder.token} and self.restarted.get(host.name, -1) < task.began:
                self.violations.append(f"{name} on {host.name} by one who does not hold it, as {held} do")
        guests, files = set(host.guests), set(host.files)
        try:
            return effect()
        finally:
            lost = (guests | files) - set(host.guests) - set(host.files) - self.may_go
            if lost and lost - torn(host):
                self.violations.append(f"{name} on {host.name} loses {lost}")
            for key in set(host.guests) - guests - self.moving:
                twins = [other.name for other in self.hosts.values() if key in other.guests]
                if len(twins) > 1:
                    self.violations.append(f"{host.guests[key].name} is on {twins}")
            for key in self.moving:
                running = [h.name for h in self.hosts.values() if key in h.guests and h.guests[key].runs]
                if len(running) > 1:
                    self.violations.append(f"after {name} on {host.name} {key} runs on {running}")
