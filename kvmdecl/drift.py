"""A plan, read for what changed on the hosts and not in the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.libvirt_xml.fingerprint import ABSENT
from kvmdecl.plan import Action, ChangeOrigin, HostStatus, Plan, Step
from kvmdecl.tasks import CreateVolume, DefineDomain, WriteDefinition


class DriftClass(StrEnum):
    """What became of an object.

    CHANGED: a declared field is not what was last applied. MISSING: it was made, and is gone. OUTSIDE: fields that
    nobody declares were changed. UNAPPLIED: it is not as declared, and that may be because the manifest changed; this
    alone is no drift.
    """

    CHANGED = "changed"
    MISSING = "missing"
    OUTSIDE = "outside"
    UNAPPLIED = "unapplied"


@dataclass(frozen=True, slots=True)
class DriftFinding:
    """One difference. `subject` is the object's address; `field` is empty where the object as a whole is meant."""

    host: str
    drift: DriftClass
    subject: str
    field: str = ""
    before: str | None = None
    after: str | None = None
    summary: str = ""


@dataclass(frozen=True, slots=True)
class DriftHost:
    """A host of the manifest, or a cluster manager, and why it was not read if it was not."""

    name: str
    status: HostStatus
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Drift:
    """What `kvmdecl drift` answers."""

    cluster: str
    revision: str
    hosts: tuple[DriftHost, ...]
    findings: tuple[DriftFinding, ...]

    @property
    def complete(self) -> bool:
        """Whether every host answered."""
        return all(host.status is HostStatus.OK for host in self.hosts)

    @property
    def found(self) -> bool:
        """Whether anything changed on a host that the manifest is no reason for."""
        return any(finding.drift is not DriftClass.UNAPPLIED for finding in self.findings)

    def objects(self, host: str, drift: DriftClass) -> int:
        """How many objects of a host are in a class."""
        return len({f.subject for f in self.findings if (f.host, f.drift) == (host, drift)})

    @property
    def silent(self) -> int:
        """How many hosts did not answer."""
        return sum(host.status is not HostStatus.OK for host in self.hosts)

    def total(self, drift: DriftClass) -> int:
        """How many objects of all hosts are in a class."""
        return sum(self.objects(host.name, drift) for host in self.hosts)


def find_drift(plan: Plan) -> Drift:
    """Sort what a plan shows by who caused it. Where that cannot be known, it is `unapplied`."""
    found = [
        *(finding for step in plan.steps for finding in _of_step(step, plan)),
        *(_of_diagnostic(blocked, _BLOCKED) for blocked in plan.blocked),
        *(_of_diagnostic(note, _NOTES) for note in plan.notes if note.code in _NOTES),
    ]
    hosts = (
        *(DriftHost(host.name, host.status, host.reason) for host in plan.hosts),
        *(DriftHost(manager.name, manager.status, manager.reason) for manager in plan.managers),
    )
    ordered = tuple(sorted(found, key=lambda f: (f.host, f.drift, f.subject, f.field, f.summary)))
    return Drift(plan.cluster, plan.revision, hosts, ordered)


_BLOCKED = {"plan.renamed": DriftClass.CHANGED, "plan.transient": DriftClass.CHANGED}
_NOTES = {"plan.changed-outside": DriftClass.OUTSIDE}


def _of_diagnostic(found: Diagnostic, classes: dict[str, DriftClass]) -> DriftFinding:
    drift = classes.get(found.code, DriftClass.UNAPPLIED)
    return DriftFinding(found.subject.partition("/")[0], drift, found.subject, summary=found.summary)


def _of_step(step: Step, plan: Plan) -> Iterator[DriftFinding]:
    host, subject = step.address.host, str(step.address)
    if step.action is not Action.UPDATE:
        gone = step.action is Action.CREATE and _was_made(step, plan)
        drift = DriftClass.MISSING if gone else DriftClass.UNAPPLIED
        yield DriftFinding(
            host, drift, subject, summary=f"{subject} is gone" if gone else f"to {step.action}"
        )
        return
    for change in step.changes:
        drift = DriftClass.CHANGED if change.origin is ChangeOrigin.DRIFT else DriftClass.UNAPPLIED
        yield DriftFinding(host, drift, subject, change.key, change.before, change.after)


def _was_made(step: Step, plan: Plan) -> bool:
    """Whether an object that is to be made was there before.

    A guest was if it has disks and all of them are there, a volume if nothing that is about to change needs it, a
    guest's file if that was noted.
    """
    if isinstance(step.task, DefineDomain):
        made_now = (other.task for other in plan.steps if other.address.host == step.address.host)
        return "<disk " in step.task.xml and not any(
            isinstance(task, CreateVolume) and task.owner == step.task.name for task in made_now
        )
    if isinstance(step.task, WriteDefinition):
        return step.task.lost
    if isinstance(step.task, CreateVolume):
        return step.precondition == ABSENT and not any(step.address in other.after for other in plan.steps)
    return False
