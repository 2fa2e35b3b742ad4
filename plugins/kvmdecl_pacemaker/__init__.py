"""High availability with Pacemaker: `ha:` -> CIB, corosync.conf, commands, and the definitions of the guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import hookimpl

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from kvmdecl.api import (
        Answer,
        Artifact,
        Definition,
        Diagnostic,
        Gate,
        HostFacts,
        Manager,
        PlacedCluster,
        Reach,
        ResolvedCluster,
        Section,
        Takeovers,
    )


@hookimpl
def kvmdecl_sections() -> Mapping[str, type[Section]]:
    """Add `ha:` to the manifest."""
    from kvmdecl_pacemaker.model import Ha

    return {"ha": Ha}


@hookimpl
def kvmdecl_validate(cluster: ResolvedCluster) -> Iterable[Diagnostic]:
    """Find what of that no host need be asked for."""
    from kvmdecl.api import PlacedCluster

    return kvmdecl_check(PlacedCluster(cluster, cluster.vms), {})


@hookimpl
def kvmdecl_check(cluster: PlacedCluster, facts: Mapping[str, HostFacts]) -> Iterable[Diagnostic]:
    """Find what keeps the cluster from surviving what it shall survive."""
    if "ha" not in cluster.cluster.sections and not any(vm.spec.is_ha for vm in cluster.vms):
        return ()
    from kvmdecl_pacemaker.check import check

    return check(cluster, facts)


@hookimpl
def kvmdecl_emit(cluster: PlacedCluster, facts: Mapping[str, HostFacts]) -> Iterable[Artifact]:
    """Write out the files of a cluster that has the section."""
    from kvmdecl_pacemaker.artifacts import artifacts

    return artifacts(cluster, facts) if "ha" in cluster.cluster.sections else ()


@hookimpl
def kvmdecl_definitions(cluster: PlacedCluster, facts: Mapping[str, HostFacts]) -> Iterable[Definition]:
    """Say where the agent of each vm looks."""
    from kvmdecl_pacemaker.definitions import definitions

    return definitions(cluster, facts) if "ha" in cluster.cluster.sections else ()


@hookimpl
def kvmdecl_takeover(
    cluster: PlacedCluster,
    facts: Mapping[str, HostFacts],
    running: Mapping[str, str],
    losses: Sequence[tuple[str, ...]],
) -> Iterable[Takeovers]:
    """Ask this machine's Pacemaker what it would do."""
    from kvmdecl_pacemaker.proof import takeovers

    return [takeovers(cluster, facts, running, losses)] if "ha" in cluster.cluster.sections else ()


@hookimpl
def kvmdecl_gates() -> Mapping[str, Gate]:
    """Offer `pacemaker`, which holds while it is healthy."""
    from kvmdecl_pacemaker.gate import GATES

    return GATES


@hookimpl
def kvmdecl_managers() -> Mapping[str, Manager]:
    """Plan Pacemaker's configuration like libvirt's objects."""
    from kvmdecl_pacemaker.manager import NAME, Pacemaker

    return {NAME: Pacemaker()}


@hookimpl
def kvmdecl_doctor(cluster: ResolvedCluster, reach: Reach, up: Collection[str]) -> Iterable[Answer]:
    """Try fencing, as far as nobody is switched off by it."""
    from kvmdecl_pacemaker.examine import examine

    return examine(cluster, reach, up)
