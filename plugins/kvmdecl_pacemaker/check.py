"""What a compiler with the whole manifest can tell of a cluster before Pacemaker does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Diagnostic, homes
from kvmdecl_pacemaker.check_cluster import check_cluster
from kvmdecl_pacemaker.check_guests import check_guests
from kvmdecl_pacemaker.configure import SECTION, corosync, nodes, version
from kvmdecl_pacemaker.fencing import fencing
from kvmdecl_pacemaker.model import Ha
from kvmdecl_pacemaker.services import services
from kvmdecl_pacemaker.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.api import HostFacts, PlacedCluster


def check(placed: PlacedCluster, facts: Mapping[str, HostFacts]) -> Iterator[Diagnostic]:
    """Everything that is known; of hosts that did not answer, and vms that may be there, nothing is said."""
    cluster = placed.cluster
    ha = cluster.sections.get(SECTION)
    vms = tuple(
        sorted((vm for vm in placed.vms if vm.spec.is_ha and vm.state != "absent"), key=lambda vm: vm.name)
    )
    if not isinstance(ha, Ha):
        if vms:
            yield Diagnostic(
                "ha.no-section", f"{vms[0].name} says `ha`, and the manifest has no section of that name",
                vms[0].origin.find("ha"), "Without fencing, Pacemaker could start a guest that still runs elsewhere.",
                "add `ha:` with `fencing`", subject=f"vm/{vms[0].name}",
            )  # fmt: skip
        return
    site = Site(ha, cluster, cluster.hosts, vms, homes(placed, facts))
    names = [host.name for host in site.hosts]
    switch = fencing(ha, names, per_host_delays=version(ha) >= (2, 1, 2))
    yield from check_cluster(site, corosync(site), switch.seconds)
    known = all(name in facts for name in names)
    yield from check_guests(site, facts, nodes(site, placed, facts) if known else ())
    taken = [device.id for device in switch.devices]
    taken += [id_ for clone in services(site).clones for id_ in (clone.id, clone.primitive.id)]
    yield from _check_ids(site, {*taken, f"{cluster.name}-vms"})


def _check_ids(site: Site, taken: set[str]) -> Iterator[Diagnostic]:
    for vm in site.vms:
        if vm.name in taken:
            yield Diagnostic(
                "ha.bad-name", f"{vm.name} is also what something else of the cluster is called", vm.origin.at,
                "Devices, daemons, file systems and vms are resources of one Pacemaker, each with a name of its own.",
                "choose another name for the vm", subject=f"vm/{vm.name}",
            )  # fmt: skip
