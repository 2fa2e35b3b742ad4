"""A gate of rollouts: Pacemaker is healthy, so that what the next wave interrupts has somewhere to go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Gate, ManagerStatus, Outcome, Section, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmdecl.api import GateRequest, ResourceState

_NAME = "pacemaker"
_GONE = {"offline", "unclean", "pending"}
_AT_REST = {"running", "stopped"}
_MOST_TOLD = 3
_LEFT = {"maintenance": "in maintenance", "orphaned": "orphaned"}


class Nothing(Section):
    """A gate that is told nothing."""


def healthy(asked: GateRequest) -> Verdict:
    """Quorum, all hosts, nothing that failed, and each resource where it is wanted, once.

    A host in standby is there. What somebody has taken out of Pacemaker's hands is nobody's failure, and is not known.
    """
    status = asked.managers.get(_NAME, "the plan knows of no cluster manager of that name that it could ask")
    if not isinstance(status, ManagerStatus):
        return Verdict(Outcome.INCONCLUSIVE, status)
    for outcome, told in ((Outcome.FAILED, _wrong(status)), (Outcome.INCONCLUSIVE, _unknown(status))):
        if found := list(told):
            return Verdict(outcome, _listed(found))
    return Verdict(Outcome.PASSED)


def _wrong(status: ManagerStatus) -> Iterator[str]:
    if not status.quorum:
        yield f"{status.seen_from} has no quorum"
    for host in status.hosts:
        if host.state in _GONE:
            yield f"{host.host} is {host.state}"
    for failure in status.failures:
        where = f" on {failure.host}" if failure.host else ""
        yield f"{failure.resource}{where}: {failure.what}"
    for resource in status.resources:
        yield from _misplaced(resource)


def _misplaced(resource: ResourceState) -> Iterator[str]:
    if {"failed", "blocked"} & set(resource.remarks):
        yield f"{resource.name} has failed"
    elif resource.state == "down":
        yield f"{resource.name} does not run"
    elif resource.state not in _AT_REST:
        yield f"{resource.name} is {resource.state}"
    elif resource.kind == "vm" and len(resource.hosts) > 1:
        yield f"{resource.name} runs on {' and '.join(resource.hosts)}"


def _unknown(status: ManagerStatus) -> Iterator[str]:
    for host in status.hosts:
        if host.state == "maintenance":
            yield f"{host.host} is in maintenance, where nothing is looked after"
    for resource in status.resources:
        if word := next((word for word in _LEFT if word in resource.remarks), ""):
            yield f"{resource.name} is {_LEFT[word]}, and nobody looks after it"


def _listed(told: Sequence[str]) -> str:
    more = f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    return "; ".join(told[:_MOST_TOLD]) + more


GATES = {_NAME: Gate(Nothing, healthy, frozenset({"managers"}))}
