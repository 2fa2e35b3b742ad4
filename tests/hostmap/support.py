"""A cluster whose vms are where a test puts them, on hosts of two cells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmdecl.cluster import PlacedCluster
from kvmdecl.hostmap import HostMap, host_map
from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.pinning import with_place
from kvmdecl.solver import CellPlace, Place
from kvmdecl.state import HostSnapshot, HostState, ObservedDomain
from tests.placement.numa import ROOM, two_cells
from tests.placement.support import domain
from tests.resolve.support import HEAD, resolved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.cluster import ResolvedVm
    from kvmdecl.state import Observation

TRAIN = "train: {cpus: {count: 4, policy: dedicated, threads: require}, memory: {size: 4GiB, pages: 2MiB}}"
TRAIN_PLACE = Place("kvm-1", (CellPlace(0, ((0, 2048, 4096),), ((0, 1), (1, 9), (2, 2), (3, 10)), ()),))
DB = (
    'db: {memory: 2GiB, iothreads: 1, cpus: {count: 4, policy: mixed, dedicated: "2-3", emulator: isolate,'
    " threads: isolate, iothreads_dedicated: true}}"
)
DB_PLACE = Place("kvm-1", (CellPlace(1, ((1, 4, 2048),), ((2, 5), (3, 6)), ((1, 2),)),), (7,), (15,))


def mapped(
    *vms: str,
    where: Mapping[str, str] | None = None,
    places: Mapping[str, Place] | None = None,
    hosts: int = 1,
    undecided: tuple[str, ...] = (),
    **seen: Observation,
) -> HostMap:
    """The map of `kvm-1` and so on with these vms, on `where` or else on the host of their place.

    Cores 0 and 4 of each host are shared, one CPU and 2 GiB are the host's. Hosts are empty but for those that are
    given, as `kvm_1=host(...)`.
    """
    entry = '{uri: "qemu+tls://{name}.example/system", dedicated: "1-3,9-11,5-7,13-15",'
    head = f"{HEAD}hosts:\n  kvm-{{1..{hosts}}}: {entry} reserve: {{cpus: 1, memory: 2GiB}}}}\n"
    cluster = resolved(
        "".join(f"vms:\n  {vm}\n" if n == 0 else f"  {vm}\n" for n, vm in enumerate(vms)), head=head
    )
    at = {name: place.host for name, place in (places or {}).items()} | dict(where or {})
    placed = tuple(vm.on(at[vm.name]) for vm in cluster.vms if vm.name in at)
    there: dict[str, Observation] = {f"kvm-{n}": host(f"kvm-{n}") for n in range(1, hosts + 1)}
    there |= {name.replace("_", "-"): one for name, one in seen.items()}
    return host_map(PlacedCluster(cluster, placed, undecided, places=places or {}), there)


def host(name: str, *domains: ObservedDomain) -> HostSnapshot:
    return HostSnapshot(name, two_cells(), HostState(domains=domains))


def defined(vm: ResolvedVm, place: Place) -> ObservedDomain:
    """The domain of a vm that is where it was placed."""
    return replace(domain(vm.uuid), name=vm.name, xml=domain_xml(with_place(vm, place, ROOM), {}))


def stranger(name: str, pins: str = "", cpus: int = 2) -> ObservedDomain:
    """A running guest of 2 GiB that is in no manifest."""
    uuid, cpuset = "00000000-0000-0000-0000-000000000001", f" cpuset='{pins}'" if pins else ""
    xml = (
        f"<domain type='kvm'><name>old</name><uuid>{uuid}</uuid><memory unit='KiB'>2097152</memory>"
        f"<vcpu{cpuset}>{cpus}</vcpu></domain>"
    )
    return replace(domain(uuid), name=name, xml=xml, live_xml=xml)
