"""How much room hosts have for guests: what they are, less the reserves, less what stays or runs there."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvmdecl.groups import group_of
from kvmdecl.libvirt_xml.safe import BadXml, parse_xml
from kvmdecl.manifest.cpus import numbers_of
from kvmdecl.names import KIB, MIB
from kvmdecl.numa_rooms import ORDINARY, Taken, cell_rooms, distances
from kvmdecl.offered import HostDevices, asked_for
from kvmdecl.pages import needs_of, nodes_of, ordinary_memory, pages_there, set_aside
from kvmdecl.solver import HostRoom

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from kvmdecl.cluster import ResolvedCluster, ResolvedHost, ResolvedVm
    from kvmdecl.facts import HostFacts
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.state import HostSnapshot, ObservedDomain

_PART = re.compile(r"(\^?)([0-9]{1,6})(?:-([0-9]{1,6}))?", re.ASCII)
_DEFAULT_HUGE = 2 * MIB  # of most hosts; libvirt takes the kernel's default size where a definition says none


def rooms(
    cluster: ResolvedCluster,
    snapshots: Mapping[str, HostSnapshot],
    settled: Iterable[ResolvedVm],
    where: Mapping[str, str] = MappingProxyType({}),
) -> tuple[HostRoom, ...]:
    """The hosts that answered, sorted by name. Memory is what is no huge page: of these `placement` takes care.

    `settled` are the vms whose host is known and that are bound to none of its cells. A stopped one keeps its room,
    since it may be started any time. `where` are the hosts of all vms that have one and that a request is about:
    of such as want devices the memory counts there.
    """
    ours = {vm.uuid for vm in cluster.vms}
    asked = asked_for(cluster.vms)
    by_host: dict[str, list[ResolvedVm]] = {name: [] for name in snapshots}
    for vm in settled:
        if vm.host in by_host and vm.state != "absent":
            by_host[vm.host].append(vm)
    return tuple(
        replace(
            _room(host, snapshots[host.name], by_host[host.name], ours, where),
            devices=HostDevices(host.name, snapshots[host.name], cluster, asked, where).offered()
            if asked
            else (),
        )
        for host in sorted(cluster.hosts, key=lambda host: host.name)
        if host.name in snapshots
    )


def _room(
    host: ResolvedHost,
    snapshot: HostSnapshot,
    vms: list[ResolvedVm],
    ours: set[str],
    where: Collection[str],
) -> HostRoom:
    foreign = [domain for domain in snapshot.state.domains if domain.active and domain.uuid not in ours]
    loads, facts = [load_of(domain) for domain in foreign], snapshot.facts
    return HostRoom(
        name=host.name,
        cpus=max(0, len(facts.cpus) - host.reserved_cpus),
        memory=max(0, facts.memory - host.reserved_memory - set_aside(host, facts)),
        used_cpus=sum(vm.cpus for vm in vms) + sum(cpus for cpus, _ in loads),
        used_memory=sum(ordinary_memory(vm) for vm in vms if not (vm.name in where and vm.spec.is_placed))
        + sum(memory for _, memory in loads),
        groups=Counter(group_of(vm) for vm in vms),
        cells=cell_rooms(
            facts,
            dedicated=host.dedicated,
            reserved_cpus=host.reserved_cpus,
            reserved_memory=host.reserved_memory,
            pages=pages_there(host, facts),
            taken=[taken_by(domain, facts) for domain in foreign] + [taken_of(vm) for vm in vms],
        ),
        distances=distances(facts),
        overcommit=host.overcommit,
        labels=host.labels,
    )


def taken_of(vm: ResolvedVm) -> Taken:
    """What a vm has of its host's cells that says itself where it is, or does not care."""
    cpus = vm.spec.cpus
    pins = (*cpus.pinned.values(), *cpus.iothread_pins.values(), cpus.emulator_pin)
    huge = [(need.nodes, need.size // KIB, need.size * need.count // MIB) for need in needs_of(vm)]
    ordinary = -(-ordinary_memory(vm) // MIB)
    return Taken(
        frozenset().union(*(numbers_of(pin) for pin in pins if pin)),
        (*huge, (nodes_of(vm.spec), ORDINARY, ordinary)) if ordinary else tuple(huge),
    )


def load_of(domain: ObservedDomain) -> tuple[int, int]:
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


def taken_by(domain: ObservedDomain, facts: HostFacts) -> Taken:
    """What a running guest has of its host's cells, as far as its definition says.

    A pin on every CPU is none. Memory that is bound to no cell, or that only prefers one, may be in any.
    """
    try:
        root = parse_xml(domain.live_xml or domain.xml)
    except BadXml:
        return Taken()
    return Taken(_pinned(root, facts), tuple(_memory(root, facts)))


def _pinned(root: Element, facts: HostFacts) -> frozenset[int]:
    online = frozenset(cpu.id for cpu in facts.cpus)
    pins = [root.find("vcpu"), *root.iterfind("cputune/vcpupin")]
    pins += [*root.iterfind("cputune/emulatorpin"), *root.iterfind("cputune/iothreadpin")]
    sets = (_within(pin.get("cpuset"), online) for pin in pins if pin is not None)
    return frozenset[int]().union(*(cpus for cpus in sets if cpus != online))


def _memory(root: Element, facts: HostFacts) -> Iterator[tuple[frozenset[int] | None, int, int]]:
    """Cells (None for any), size of pages in KiB, MiB; first of its own cells, then what it has beside them."""
    cells = {cell.get("id", ""): _size(cell.get("memory")) for cell in root.iterfind("cpu/numa/cell")}
    everywhere = _nodes(root.find("numatune/memory"), facts)
    bound = {node.get("cellid"): _nodes(node, facts) for node in root.iterfind("numatune/memnode")}
    sizes = _page_sizes(root, cells, facts)
    whole = _size(root.findtext("memory"))
    if not cells and not sizes:
        whole = _size(root.findtext("currentMemory")) or whole  # huge pages do not come back from a balloon
    for id_, amount in (*cells.items(), ("", max(0, whole - sum(cells.values())))):
        if amount:
            size = sizes.get(id_, sizes.get("", ORDINARY))
            yield bound.get(id_, everywhere), size, -(-amount * KIB // MIB)


def _page_sizes(root: Element, cells: Iterable[str], facts: HostFacts) -> dict[str, int]:
    """KiB of its huge pages by its own cells, and under "" for those that no page is about."""
    huge = root.find("memoryBacking/hugepages")
    if huge is None:
        return {}
    there = sorted({pool.size for cell in facts.cells for pool in cell.pages})
    default = _DEFAULT_HUGE if _DEFAULT_HUGE in there else next(iter(there[1:]), _DEFAULT_HUGE)
    found: dict[str, int] = {}
    for page in huge.iterfind("page"):
        nodes = page.get("nodeset")
        size = _size(page.get("size"))
        of = [id_ for id_ in cells if id_.isdecimal() and _within(nodes, {int(id_)})] if nodes else [""]
        found |= dict.fromkeys(of, size)
    return found or {"": default // KIB}


def _nodes(element: Element | None, facts: HostFacts) -> frozenset[int] | None:
    if element is None or element.get("mode") == "preferred":
        return None
    return _within(element.get("nodeset"), frozenset(cell.id for cell in facts.cells)) or None


def _size(text: str | None) -> int:
    return next(_numbers([text]), 0)


def _within(text: str | None, known: Iterable[int]) -> frozenset[int]:
    """Those of known numbers that are in one of libvirt's sets, such as `0-3,^2`; what makes no sense is left out."""
    found: set[int] = set()
    for part in (text or "").split(","):
        if match := _PART.fullmatch(part.strip()):
            low, high = int(match[2]), int(match[3] or match[2])
            members = {number for number in known if low <= number <= high}
            found = found - members if match[1] else found | members
    return frozenset(found)
