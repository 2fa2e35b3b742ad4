"""How much room hosts have for guests: what they are, less the reserves, less what stays or runs there."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.safe import BadXml, parse_xml
from kvmdecl.names import KIB
from kvmdecl.pages import ordinary_memory, set_aside
from kvmdecl.solver import HostRoom

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.cluster import ResolvedCluster, ResolvedHost, ResolvedVm
    from kvmdecl.state import HostSnapshot, ObservedDomain


def rooms(
    cluster: ResolvedCluster, snapshots: Mapping[str, HostSnapshot], settled: Iterable[ResolvedVm]
) -> tuple[HostRoom, ...]:
    """The hosts that answered, sorted by name. Memory is what is no huge page: of these `placement` takes care.

    `settled` are the vms whose host is known; a stopped one keeps its room, since it may be started any time.
    """
    ours = {vm.uuid for vm in cluster.vms}
    by_host: dict[str, list[ResolvedVm]] = {name: [] for name in snapshots}
    for vm in settled:
        if vm.host in by_host and vm.state != "absent":
            by_host[vm.host].append(vm)
    return tuple(
        _room(host, snapshots[host.name], by_host[host.name], ours)
        for host in sorted(cluster.hosts, key=lambda host: host.name)
        if host.name in snapshots
    )


def group_of(vm: ResolvedVm) -> str:
    """The same for all vms that were expanded from one entry: they were written at one place."""
    return str(vm.origin.at) if vm.origin.at else vm.name


def _room(host: ResolvedHost, snapshot: HostSnapshot, vms: list[ResolvedVm], ours: set[str]) -> HostRoom:
    foreign = [
        _load(domain) for domain in snapshot.state.domains if domain.active and domain.uuid not in ours
    ]
    return HostRoom(
        name=host.name,
        cpus=max(0, len(snapshot.facts.cpus) - host.reserved_cpus),
        memory=max(0, snapshot.facts.memory - host.reserved_memory - set_aside(host, snapshot.facts)),
        used_cpus=sum(vm.cpus for vm in vms) + sum(cpus for cpus, _ in foreign),
        used_memory=sum(ordinary_memory(vm) for vm in vms) + sum(memory for _, memory in foreign),
        groups=Counter(group_of(vm) for vm in vms),
    )


def _load(domain: ObservedDomain) -> tuple[int, int]:
    """CPUs, and bytes of memory, of a running guest that is not in the manifest."""
    try:
        root = parse_xml(domain.live_xml or domain.xml)
    except BadXml:
        return 0, 0
    cpus = root.find("vcpu")
    current = None if cpus is None else cpus.get("current")
    numbers = _numbers([current, None if cpus is None else cpus.text])
    memory = _numbers([root.findtext("currentMemory"), root.findtext("memory")])
    return next(numbers, 1), next(memory, 0) * KIB  # libvirt writes memory in KiB whatever it was given


def _numbers(texts: list[str | None]) -> Iterator[int]:
    return (int(text) for text in texts if text and text.strip().isascii() and text.strip().isdigit())
