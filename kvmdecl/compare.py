"""Two revisions of a manifest compared without any host: the plan that one is on hosts that hold the other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmdecl.as_applied import as_applied, roomy_host
from kvmdecl.baseline import with_baselines
from kvmdecl.emit import emit
from kvmdecl.placement import place
from kvmdecl.planner import make_plan
from kvmdecl.seating import with_guests
from kvmdecl.state import HostSnapshot, HostState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedCluster
    from kvmdecl.plan import Plan
    from kvmdecl.pluginhost import Plugins
    from kvmdecl.state import Observation


def compare(
    old: ResolvedCluster | None, new: ResolvedCluster, facts: Mapping[str, HostSnapshot], plugins: Plugins
) -> Plan:
    """What would change on hosts that hold `old`, if `new` were applied to them.

    Args:
        old: the cluster as it was; None if there was none.
        new: as it shall be.
        facts: what hosts are, as recorded; one that is not among them is a stand-in with room for everything.
        plugins: with the solvers of both.

    Raises:
        Rejected: a vm fits nowhere.
    """
    if not facts:
        old, new = old and _by_host(old), _by_host(new)
    held = _held(old, {host.name: _bare(host.name, facts) for host in old.hosts}, plugins) if old else {}
    seen = {host.name: held.get(host.name) or _bare(host.name, facts) for host in new.hosts}
    seen |= {host.name: held[host.name] for host in new.retired if host.name in held}
    placed = _placed(new, seen, plugins)
    known = {name: host for name, host in seen.items() if name in facts}
    return with_guests(make_plan(new, emit(placed, seen), seen), placed, known)


def _by_host(cluster: ResolvedCluster) -> ResolvedCluster:
    """The cluster with its vms on the hosts that the lock file names. Their cells mean nothing on other machines."""
    locked = cluster.lock or {}
    vms = (
        vm.on(locked[vm.name].place.host) if vm.host is None and vm.name in locked else vm
        for vm in cluster.vms
    )
    return replace(cluster, vms=tuple(vms), lock=None)


def _bare(host: str, facts: Mapping[str, HostSnapshot]) -> HostSnapshot:
    """What the host is, and nothing that exists on it."""
    known = facts.get(host)
    if known is None:
        return roomy_host(host)
    return replace(known, state=HostState(settings=known.state.settings))


def _held(
    cluster: ResolvedCluster, bare: Mapping[str, HostSnapshot], plugins: Plugins
) -> Mapping[str, HostSnapshot]:
    return as_applied(emit(_placed(cluster, bare, plugins), bare), bare)


def _placed(cluster: ResolvedCluster, seen: Mapping[str, Observation], plugins: Plugins) -> PlacedCluster:
    placed, _ = with_baselines(place(cluster, seen, plugins.solver(cluster.solver)), seen)
    return placed
