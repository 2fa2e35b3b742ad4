"""Hosts that are not in the manifest any more: what may be on them is not made again, until they are let go.

Nor is what may be on those that do not answer. Of a vm only the user can say that it never was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kvmdecl.cluster import ResolvedCluster
from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.membership import Membership
from kvmdecl.plan import Action, Step
from kvmdecl.state import HostSnapshot, Kind, Member, Observation


def departed_hosts(
    cluster: ResolvedCluster, roll: Membership, unplaced: Iterable[str]
) -> tuple[list[Diagnostic], list[Diagnostic]]:
    """What hosts that left hold back, and the hosts that left and hold nothing back."""
    wanted = {vm.name for vm in cluster.vms if vm.state != "absent"}
    held = [name for name in unplaced if name in wanted]
    found = [_left(cluster, member, held) for member in roll.departed]
    return (found, []) if held else ([], found)


def _left(cluster: ResolvedCluster, member: Member, held: list[str]) -> Diagnostic:
    if any(host.name == member.name for host in cluster.hosts):
        what = f"{member.name} is another machine than before, and the one with UUID {member.machine} is in no plan"
        hint = f"if that machine is gone for good, add `--forget-host {member.name}`"
    else:
        what = f"{member.name} was a host of {cluster.name} and left the manifest"
        entry = f"`{member.name}: {{state: absent}}`"
        hint = f"put it back; or, if it is gone for good, say {entry} in `hosts:` for one apply"
    return Diagnostic(
        code="plan.host-left",
        summary=f"{what}; {_waiting(held)}" if held else what,
        cause="What it has is seen by nobody. A guest that was made again would be a second one, without its data."
        if held
        else "Guests that are on it are seen by nobody.",
        hint=hint,
        severity=Severity.ERROR if held else Severity.WARNING,
        subject=f"host/{member.name}",
    )


_MOST_SHOWN = 10


def _waiting(held: list[str]) -> str:
    return f"not made, for it may be there: {_listed(held)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more


def gone_hosts(cluster: ResolvedCluster, roll: Membership, steps: Iterable[Step]) -> Iterator[Diagnostic]:
    """Hosts that are let go, with the guests that are made for want of finding them."""
    made = _made(steps)
    places = {host.name: host.origin.find("state") for host in cluster.retired}
    for member in roll.let_go:
        lost = f"; made anew, without what it may have of them: {_listed(made)}" if made else ""
        yield Diagnostic(
            code="plan.host-gone",
            summary=f"{member.name} is let go, and the other hosts forget it{lost}",
            at=places.get(member.name),
            cause="Nothing on it is changed or deleted. If a guest runs there, it will run twice."
            if made
            else "",
            severity=Severity.WARNING,
            subject=f"host/{member.name}",
        )


def said_to_be_new(
    cluster: ResolvedCluster, observations: Mapping[str, Observation], roll: Membership, steps: Iterable[Step]
) -> Iterator[Diagnostic]:
    """The guests that are made because the user says that they exist on none of the hosts that nobody can ask."""
    silent = [
        host.name for host in cluster.hosts if not isinstance(observations.get(host.name), HostSnapshot)
    ]
    unseen = sorted({*silent, *(member.name for member in roll.departed)})
    made = [name for name in _made(steps) if name in cluster.newcomers]
    if unseen and made:
        yield Diagnostic(
            code="plan.said-to-be-new",
            summary=f"made though {_listed(unseen)} cannot be asked: {_listed(made)}",
            cause="`--new` says that they exist nowhere. One that is there all the same would run twice.",
            severity=Severity.WARNING,
        )


def _made(steps: Iterable[Step]) -> list[str]:
    return sorted(
        s.address.name for s in steps if s.action is Action.CREATE and s.address.kind is Kind.DOMAIN
    )
