"""Where the agent finds the definition of each vm: on which hosts, and in which pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Definition, homes
from kvmdecl_pacemaker.configure import SECTION
from kvmdecl_pacemaker.model import Ha
from kvmdecl_pacemaker.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.api import HostFacts, PlacedCluster

PACEMAKER = "Pacemaker"


def definitions(placed: PlacedCluster, facts: Mapping[str, HostFacts]) -> Iterator[Definition]:
    """One for each vm, on each of its homes; of one that shall be absent, wherever its file may be."""
    cluster = placed.cluster
    ha = cluster.sections.get(SECTION)
    if not isinstance(ha, Ha):
        return
    site = Site(ha, cluster, cluster.hosts, (), homes(placed, facts))
    pool = None if ha.definitions is not None and ha.definitions.path is not None else site.definitions_pool
    name, everywhere = (pool.name, pool.hosts) if pool is not None else ("", ())
    known = {vm.name for vm in placed.vms}
    for vm in cluster.vms:
        if not vm.spec.is_ha or (vm.state != "absent" and vm.name not in known):
            continue
        yield Definition(vm.name, name, site.homes.get(vm.name, tuple(everywhere)), PACEMAKER)
