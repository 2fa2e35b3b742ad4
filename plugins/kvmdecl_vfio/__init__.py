"""Devices that guests are given: whether they can be, whole IOMMU groups at a time, before any host is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.api import Diagnostic, HostFacts, HostState, PlacedCluster


@hookimpl
def kvmdecl_check(
    cluster: PlacedCluster, facts: Mapping[str, HostFacts], existing: Mapping[str, HostState]
) -> Iterable[Diagnostic]:
    """Judge all PCI functions that vms of the cluster are given, by name or by a network."""
    from kvmdecl_vfio.checks import check

    return check(cluster, facts, existing)
