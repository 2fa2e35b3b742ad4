"""The two ends at which kvmdecl touches hosts: reading for a plan, and carrying out a plan's tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, Protocol

from kvmdecl.gates import Guest, Reading
from kvmdecl.runs import Holder
from kvmdecl.state import Address, Member, Observation
from kvmdecl.tasks import DefineDomain, Task, WriteDefinition


@dataclass(frozen=True, slots=True)
class Scope:
    """How much of a host to read. Volumes are read in the pools named here only; the rest where it is asked for.

    `devices` are its node devices, and its network interfaces with what they are made of. `filters` are its network
    filters: every host has two dozen, and most clusters speak of none. `settings` are numbers that its kernel goes by;
    they are also read of a host that was once given some. `guests` are those that domain capabilities are asked for, by
    architecture, libvirt's type and machine; all that the host has if empty.
    """

    pools: frozenset[str] = frozenset()
    devices: bool = False
    interfaces: bool = False
    pool_types: bool = False
    secrets: bool = False
    domain_support: bool = False
    guests: frozenset[tuple[str, str, str]] = frozenset()
    filters: bool = False
    snapshots: bool = False
    settings: bool = False
    loads: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long task is."""

    done: int
    total: int
    unit: Literal["bytes", "seconds"]


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A task with the fingerprint that its object must still have when the host begins.

    `cluster` and `revision` are those of the plan: what a host notes down about an object says whose it is. `lock` is
    the token of the run that must hold the host, empty for none.
    """

    address: Address
    task: Task
    precondition: str
    cluster: str
    revision: str
    lock: str = ""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A task that was carried out and read back. `remarks` are things the user should know.

    `present` are the UUIDs of the host's guests, where they were asked for.
    """

    remarks: tuple[str, ...] = ()
    present: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TakeLock:
    """Take a host for a run; also say which guests it has if `guests`."""

    host: str
    holder: Holder
    guests: bool = False


@dataclass(frozen=True, slots=True)
class DropLock:
    """Give a host back that a run holds; `by_force` is what others than that run say."""

    host: str
    cluster: str
    run: str
    by_force: bool = False


@dataclass(frozen=True, slots=True)
class CheckIn:
    """What comes before a host's tasks: is it the `machine` that was planned (empty if it told none)?

    If so, it notes which hosts the cluster has, and forgets those let go. Without members nothing is noted. `lock` is
    as in a TaskRequest.
    """

    host: str
    cluster: str
    machine: str
    members: tuple[Member, ...] = ()
    let_go: tuple[Member, ...] = ()
    lock: str = ""


@dataclass(frozen=True, slots=True)
class ConversionRequest:
    """A domain whose definition a host shall turn into QEMU's command line, as its start would, and not define.

    `address` is of the host that is asked; a `WriteDefinition` is about what is in its file then.
    """

    address: Address
    task: DefineDomain | WriteDefinition


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a host's libvirt said to a definition: nothing if it takes it, else its words and its virErrorNumber."""

    refusal: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class LookAtGuests:
    """How it stands with guests of a host, by name; as much of that as `reads` names."""

    host: str
    guests: tuple[str, ...]
    reads: frozenset[Reading]


@dataclass(frozen=True, slots=True)
class GuestsSeen:
    """The guests that were asked for, in that order."""

    guests: tuple[Guest, ...]


Work = Scope | ConversionRequest | TakeLock | DropLock | CheckIn | LookAtGuests | TaskRequest
"""What a worker can be asked."""


class HostReader(Protocol):
    """Reads hosts; has no way to change one."""

    def observe(self, scope: Scope) -> Mapping[str, Observation]:
        """Read every host at once. One that does not answer in time is Unreachable and delays no other."""
        ...


class HostConverter(Protocol):
    """Tries definitions; has no way to change a host."""

    def submit(self, request: ConversionRequest) -> Future[Conversion]:
        """Ask the request's host whether its libvirt takes a definition.

        The future raises `TaskFailed` with a diagnostic if the host did not answer.
        """
        ...


class GuestWatcher(Protocol):
    """Looks at guests; has no way to change one."""

    def look_at(self, asked: LookAtGuests) -> Future[GuestsSeen]:
        """Ask a host about its guests. The future raises `TaskFailed` if it did not answer."""
        ...


class HostWriter(Protocol):
    """Carries out tasks."""

    def take_lock(self, asked: TakeLock) -> Future[TaskResult]:
        """Take a host. The future raises `Locked` if another run holds it, else as `submit`."""
        ...

    def drop_lock(self, asked: DropLock) -> Future[TaskResult]:
        """Give a host back. The future raises as `submit`."""
        ...

    def check_in(self, asked: CheckIn) -> Future[TaskResult]:
        """Check in at a host. The future raises `Moved` if it is another machine, else as `submit`."""
        ...

    def submit(self, request: TaskRequest, progress: Callable[[Progress], None]) -> Future[TaskResult]:
        """Ask the request's host to carry out a task.

        The future raises `Moved` if the object's fingerprint is another one (nothing was done), `TaskFailed` with a
        diagnostic if the host refused or did not answer.
        """
        ...
