"""What all tasks share: the job at hand, how long to wait, and the two ways not to succeed."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from kvmdecl.diagnostics import Diagnostic, Moved, Note, TaskFailed
from kvmdecl.hosts.errors import diagnose
from kvmdecl.hosts.ledger import LedgerWriter
from kvmdecl.hosts.protocol import Progress, TaskRequest
from kvmdecl.hosts.runlock import require_lock
from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.fingerprint import fingerprint
from kvmdecl.state import ObservedDomain
from kvmdecl.text import quoted, safe_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import libvirt

    from kvmdecl.state import Kind, Observed


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for others, in seconds.

    `shutdown`: for a guest asked to power off, as long as the task says if None; `ask_again`: until it is asked
    again. `unplug`: for a guest asked to let a device go. `refresh`: for a pool that is busy. `poll`: between two
    looks.
    """

    shutdown: float | None = None
    ask_again: float = 20.0
    unplug: float = 10.0
    refresh: float = 30.0
    poll: float = 0.25


@dataclass(frozen=True, slots=True)
class Job:
    """One request, the open read-write connection to carry it out on, and where to tell how far it is.

    `peer` is a connection to the other host of a task that is about two; `uri` is where `connection`'s host is.
    """

    connection: libvirt.virConnect
    request: TaskRequest
    progress: Callable[[Progress], None]
    patience: Patience
    peer: libvirt.virConnect | None = None
    uri: str = ""

    @property
    def ledger(self) -> LedgerWriter:
        """The ledger of the plan's cluster on this host."""
        return LedgerWriter(self.connection, self.request.cluster)

    def require_lock(self) -> None:
        """Make sure that the run of this task still holds the host: before it begins, and after each of its waits.

        Raises:
            TaskFailed: `run.lock-lost`.
            libvirt.libvirtError: the host did not answer.
        """
        require_lock(self.connection, self.request.address.host, self.request.lock)

    def require_unmoved(
        self,
        observed: Observed | None,
        declared: Callable[[], tuple[str, ...]] = tuple,
        *,
        ends: bool = False,
    ) -> None:
        """Make sure that the object is still what it was when the plan was made.

        Args:
            observed: the object as it is now, None if there is none.
            declared: gives the fields in which it differs from the manifest now, to help finding what moved.
            ends: the plan ends the guest's run. One that has ended by itself since is no other guest: a run that was
                killed may have asked it to, and it takes its time.

        Raises:
            Moved: `step.moved`.
        """
        if fingerprint(observed) == self.request.precondition:
            return
        if ends and isinstance(observed, ObservedDomain) and not observed.active:
            self.require_unmoved(replace(observed, active=True), declared)
            return
        if observed is None:
            raise self.moved("vanished")
        if self.request.precondition == fingerprint(None):
            raise self.moved("appeared")
        raise self.moved("was changed", declared())

    def require_identity(self, found: str, planned: str) -> None:
        """Make sure that an object of the planned name is the planned object: its UUID says whose it is.

        Raises:
            TaskFailed: `step.not-ours`.
        """
        if found == planned:
            return
        self.fail(
            "step.not-ours",
            f"{self.request.address} has UUID {safe_text(found)} and not {safe_text(planned)}; nothing was done to it",
            "kvmdecl changes only what this cluster made; it never takes over an object because of its name.",
            "plan again.",
        )

    def moved(self, what: str, fields: tuple[str, ...] = ()) -> Moved:
        """The exception for an object that is not what it was when the plan was made."""
        return Moved(
            Diagnostic(
                code="step.moved",
                summary=f"{self.request.address} {what} since the plan was made; nothing was done to it",
                cause="Carrying out the plan would undo or collide with what somebody else did.",
                hint="look at what changed, then plan again.",
                notes=tuple(Note(f"differs from the manifest now: {field}") for field in fields),
                subject=str(self.request.address),
            )
        )

    def require_as_declared(self, kind: Kind, declared: str, base: str | None, observed: str) -> None:
        """Make sure that what the host says now satisfies the declared definition.

        Raises:
            TaskFailed: `step.not-as-declared`.
        """
        found = differences(declared, base, observed, kind)
        if not found:
            return
        first = found[0]
        self.fail(
            "step.not-as-declared",
            f"libvirt accepted {self.request.address}, but its {first.path} is {shown(first.before)}"
            f" and not {shown(first.after)}",
            "What libvirt reports after a change must be what the manifest says.",
            "correct the manifest: this host's libvirt cannot do what it asks for.",
            notes=tuple(f"also: {other.path}" for other in found[1:]),
        )

    def require_value(self, field: str, found: object, declared: object) -> None:
        """Make sure that one field of the object is, after a change, what it shall be.

        Raises:
            TaskFailed: `step.not-as-declared`.
        """
        if found == declared:
            return
        self.fail(
            "step.not-as-declared",
            f"libvirt accepted a change of {self.request.address}, but its {field} is {_shown(found)}"
            f" and not {_shown(declared)}",
            "What libvirt reports after a change must be what the manifest says.",
            "look at the host's libvirt log, then plan again.",
        )

    def fail(
        self, code: str, summary: str, cause: str = "", hint: str = "", notes: tuple[str, ...] = ()
    ) -> NoReturn:
        """Raise TaskFailed."""
        subject = str(self.request.address)
        found = Diagnostic(code, summary, None, cause, hint, tuple(map(Note, notes)), subject=subject)
        raise TaskFailed(found)

    def failed(self, error: libvirt.libvirtError) -> TaskFailed:
        """What libvirt refused, as the exception to raise."""
        address = self.request.address
        verb = _DOING[self.request.task.task.partition("-")[0]]
        doing = f"{verb} {address.kind} {safe_text(address.name)}"
        return TaskFailed(replace(diagnose(error, address.host, doing), subject=str(address)))

    def wait(self, met: Callable[[], bool], seconds: float, *, tell: bool = False) -> bool:
        """Look until `met`, at most `seconds`; return whether it was. `tell` how long it takes."""
        began = time.monotonic()
        told = -1
        while not met():
            waited = time.monotonic() - began
            if waited >= seconds:
                return False
            if tell and int(waited) > told:
                told = int(waited)
                self.progress(Progress(told, round(seconds), "seconds"))
            time.sleep(self.patience.poll)
        if time.monotonic() - began >= self.patience.poll:
            self.require_lock()
        return True


_DOING = {
    "change": "changing the snapshots of",
    "create": "creating",
    "adopt": "taking over",
    "define": "defining",
    "hand": "handing over",
    "write": "writing",
    "leave": "tidying up after",
    "move": "moving",
    "update": "changing",
    "resize": "growing",
    "revert": "going back to a snapshot of",
    "delete": "deleting",
}


def _shown(value: object) -> str:
    return shown(None if value is None else str(value).lower() if isinstance(value, bool) else str(value))


def shown(value: str | None) -> str:
    """A field's value in a sentence."""
    return "absent" if value is None else quoted(value)
