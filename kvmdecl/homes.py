"""Where a cluster manager's vms are, where they may be, and where each goes when its host is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.candidates import Barred

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.cluster import PlacedCluster
    from kvmdecl.facts import HostFacts
    from kvmdecl.takeover import Proof


@dataclass(frozen=True, slots=True)
class Homes:
    """Of one vm.

    Attributes:
        vm: its name.
        start: the host that it runs on before anything is lost.
        after: the host that it goes to if that one is lost; empty if it stays down, or if nobody knows.
        down: whether it stays down then.
        barred: of each host that can not have it, why not.
    """

    vm: str
    start: str
    after: str
    down: bool
    barred: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HomeMap:
    """Of all vms that the manager runs, in order of their names; `hosts` in order of the manifest."""

    manager: str
    hosts: tuple[str, ...]
    vms: tuple[Homes, ...]


def home_map(placed: PlacedCluster, facts: Mapping[str, HostFacts], proof: Proof) -> HomeMap:
    """Put together what the rules of placement allow and what the manager would do.

    Args:
        placed: every vm with its host.
        facts: of the hosts that answered.
        proof: of the loss of any single host.
    """
    hosts = tuple(host.name for host in placed.cluster.hosts)
    barred = Barred(placed, facts)
    losses = {takeover.lost: takeover for takeover in proof.takeovers}
    vms = {vm.name: vm for vm in placed.vms}
    found = []
    for name, start in sorted(proof.start.items()):
        loss = losses.get((start,))
        why = {host: barred.why(vms[name], host) for host in hosts} if name in vms else {}
        found.append(
            Homes(
                name, start,
                loss.homes.get(name, "") if loss else "",
                loss is not None and name in loss.down,
                {host: reason for host, reason in why.items() if reason},
            )
        )  # fmt: skip
    return HomeMap(proof.manager, hosts, tuple(found))
