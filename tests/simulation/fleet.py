"""A fleet of simulated hosts: reads and writes them as the real fleets do, and faults strike at a chosen call.

Tasks are carried out one after the other and each as a whole, in the order in which `apply` begins them, so that a seed
gives the same run every time. What a worker process does is what runs here: `carry_out`, `answer_to`, `read_host`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import libvirt

from kvmdecl.diagnostics import Diagnostic, TaskFailed
from kvmdecl.hosts.ledger import read_ledgers
from kvmdecl.hosts.messages import Call
from kvmdecl.hosts.perform import Patience
from kvmdecl.hosts.protocol import CheckIn, DropLock, Progress, Scope, TakeLock, TaskRequest, TaskResult, Work
from kvmdecl.hosts.read import read_host
from kvmdecl.hosts.runlock import USAGE_PREFIX
from kvmdecl.hosts.worker import answer_to, carry_out
from kvmdecl.runs import Holder
from kvmdecl.state import Address, HostSnapshot, Kind, Observation, Unreachable
from tests.simulation.libvirtd import Connection, SimulatedHost, fail

_PATIENCE = Patience(shutdown=0.0, ask_again=0.0, unplug=0.0, refresh=0.0, poll=0.0)
_READS = {
    "XMLDesc", "autostart", "getCapabilities", "getLibVersion", "getVersion", "hasManagedSaveImage", "info", "isActive",
    "isPersistent", "listAllDomains", "listAllNetworks", "listAllSecrets", "listAllStoragePools", "listAllVolumes",
    "lookupByName", "lookupByUUIDString", "networkLookupByName", "secretLookupByUUIDString", "secretLookupByUsage",
    "state", "storagePoolLookupByName", "storagePoolLookupByVolume", "storageVolLookupByName",
}  # fmt: skip


class Killed(BaseException):
    """The process of a run is no more: whatever it would do next, it does not."""


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


@dataclass
class Fleet:
    """A HostReader and a HostWriter of one run."""

    world: World
    holder: Holder
    faults: Mapping[int, Fault] = field(default_factory=dict)
    calls: int = 0
    struck: list[str] = field(default_factory=list)
    dead: bool = False
    begun: dict[str, int] = field(default_factory=dict)
    address: Address | None = None
    wrote: set[Address] = field(default_factory=set)
    _lines: dict[str, Connection] = field(default_factory=dict)

    def observe(self, scope: Scope) -> Mapping[str, Observation]:
        """Faults strike those who write: a reading is whole or it is none."""
        return {name: self._read(name, scope) for name in self.world.hosts}

    def _read(self, name: str, scope: Scope) -> Observation:
        def read(call: Call) -> HostSnapshot:
            return read_host(self._line(name, reads=True), name, scope)

        try:
            answer = answer_to(Call(0, name, "", scope), read)
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
        self.address = request.address
        try:
            return self._ask(request.address.host, request, progress)
        finally:
            self.address = None

    def _ask(
        self, host: str, work: Work, progress: Callable[[Progress], None] = lambda _: None
    ) -> Future[TaskResult]:
        self.begun[host] = self.world.clock
        future: Future[TaskResult] = Future()
        try:
            answer = answer_to(
                Call(0, host, "", work), lambda _call: carry_out(self._line(host), work, progress, _PATIENCE)
            )
        except Hung:
            answer = TaskFailed(_silent(host))
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future

    def _line(self, name: str, *, reads: bool = False) -> Connection:
        """The connection to a host, a new one where it broke."""
        line = self._lines.get(name)
        if reads or line is None or line.broken:
            line = self.world.hosts[name].connect()
            line.owner = None if reads else self
            if not reads:
                self._lines[name] = line
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
        may_go: guests (by UUID) that may go: the plan says so.
        violations: what must never happen, and did.
    """

    hosts: dict[str, SimulatedHost]
    clock: int = 0
    restarted: dict[str, int] = field(default_factory=dict)
    late: dict[str, list[Callable[[], Any]]] = field(default_factory=dict)
    may_go: set[str] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for host in self.hosts.values():
            host.meddle = self.meddle

    def meddle(self, line: Connection, name: str, effect: Callable[[], Any]) -> Any:
        """Every call of every run comes by here."""
        fleet: Fleet | None = getattr(line, "owner", None)
        host = line.host
        if host.name in self.late:
            raise Hung
        if fleet is None:
            return effect()
        if fleet.dead:
            raise Killed
        self.clock += 1
        fleet.calls += 1
        fault = fleet.faults.get(fleet.calls)
        if fault is None:
            return self._watched(fleet, host, name, effect)
        return self._strike(fault, fleet, line, name, effect)

    def _strike(
        self, fault: Fault, fleet: Fleet, line: Connection, name: str, effect: Callable[[], Any]
    ) -> Any:
        host, when = line.host, "after" if fault.after else "before"
        fleet.struck.append(f"{fault.kind} {when} call {fleet.calls}, {name} on {host.name}")
        if fault.kind == "refuse":
            fail(libvirt.VIR_ERR_OPERATION_FAILED, "operation failed: it just does not work")
        if fault.kind == "hang":
            self.late[host.name] = [lambda: self._watched(fleet, host, name, effect)] if fault.after else []
            raise Hung
        if fault.after:
            self._watched(fleet, host, name, effect)
        if fault.kind == "kill":
            fleet.dead = True
            raise Killed
        if fault.kind == "restart":
            host.restart()
            self.restarted[host.name] = self.clock
        line.broken = True
        fail(libvirt.VIR_ERR_SYSTEM_ERROR, "End of file while reading data: Input/output error")

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

    def _watched(self, fleet: Fleet, host: SimulatedHost, name: str, effect: Callable[[], Any]) -> Any:
        if name in _READS:
            return effect()
        if fleet.address is not None:
            fleet.wrote.add(fleet.address)
            held = {key for key, secret in host.secrets.items() if secret.usage[1].startswith(USAGE_PREFIX)}
            if held != {fleet.holder.token} and self.restarted.get(host.name, -1) < fleet.begun[host.name]:
                self.violations.append(f"{name} on {host.name} by one who does not hold it, as {held} do")
        guests, files = set(host.guests), set(host.files)
        try:
            return effect()
        finally:
            lost = (guests | files) - set(host.guests) - set(host.files) - self.may_go
            if lost and lost - torn(host):
                self.violations.append(f"{name} on {host.name} loses {lost}")
            for key in set(host.guests) - guests:
                twins = [other.name for other in self.hosts.values() if key in other.guests]
                if len(twins) > 1:
                    self.violations.append(f"{host.guests[key].name} is on {twins}")
