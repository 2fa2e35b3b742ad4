"""Which hosts a cluster has, had, and lets go: what the manifest says against what the hosts remember. Pure.

Guests on a host whose line left the manifest are seen by nobody. So every host notes which hosts there are, and what
may be on one that left is not made again until the user lets that host go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.libvirt_xml.marker import belongs
from kvmdecl.state import HostSnapshot, Member, remembered
from kvmdecl.text import did_you_mean, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.state import Observation


@dataclass(frozen=True, slots=True)
class Membership:
    """The hosts of a cluster.

    Attributes:
        now: hosts of the manifest.
        departed: machines that were among them, and that nobody let go.
        let_go: machines that were among them, and that the manifest or the user lets go.
    """

    now: tuple[Member, ...]
    departed: tuple[Member, ...]
    let_go: tuple[Member, ...]

    @property
    def members(self) -> tuple[Member, ...]:
        """What every host shall remember."""
        return tuple(sorted((*self.now, *self.departed)))


def membership(cluster: ResolvedCluster, observations: Mapping[str, Observation]) -> Membership:
    """Hold the hosts of the manifest against those that any of them, or a retired one, remembers."""
    noted = {
        member
        for seen in observations.values()
        if isinstance(seen, HostSnapshot)
        for member in seen.state.ledger(cluster.name).hosts
    }
    now = tuple(sorted(_now(host.name, observations.get(host.name), noted) for host in cluster.hosts))
    gone = [member for member in remembered(noted, now) if member not in now]
    released = {host.name for host in cluster.retired} | cluster.forgotten
    return Membership(
        now,
        departed=tuple(member for member in gone if member.name not in released),
        let_go=tuple(member for member in gone if member.name in released),
    )


def _now(name: str, seen: Observation | None, noted: set[Member]) -> Member:
    """A host of today. One that does not answer is taken for the machine that it was, if it was only one."""
    if isinstance(seen, HostSnapshot):
        return Member(name, seen.facts.uuid)
    known = {member.machine for member in noted if member.name == name and member.machine}
    return Member(name, known.pop() if len(known) == 1 else "")


def membership_faults(
    cluster: ResolvedCluster, observations: Mapping[str, Observation]
) -> Iterator[Diagnostic]:
    """What forbids to let a host go: guests on it, or that the name is none of a host that left."""
    for host in cluster.retired:
        seen = observations.get(host.name)
        domains = seen.state.domains if isinstance(seen, HostSnapshot) else ()
        if ours := sorted(d.name for d in domains if belongs(d.xml, cluster.name, d.uuid)):
            yield Diagnostic(
                "host.not-empty",
                f"{host.name} shall be absent and still has {safe_text(', '.join(ours))}",
                host.origin.find("state"),
                "What is on an absent host is taken for gone, and would be made again elsewhere: it would run twice.",
                "take the host back, give these vms `state: absent` for one apply, then let the host go",
                subject=f"host/{host.name}",
            )
    roll = membership(cluster, observations)
    for name in sorted(cluster.forgotten - {member.name for member in roll.let_go}):
        departed = sorted({member.name for member in roll.departed})
        listed = f"hosts that left are {', '.join(departed)}" if departed else "no host left it"
        yield Diagnostic(
            "host.not-departed",
            f"{safe_text(name)} is no host that left cluster {cluster.name}",
            cause="Only a host that the others remember, and that is not in use, can be forgotten.",
            hint=did_you_mean(name, departed) or listed,
        )
