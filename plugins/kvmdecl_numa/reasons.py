"""Why a guest does not fit on a host, in few words with numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import about_size
from kvmdecl_numa.devices import choose
from kvmdecl_numa.rooms import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.api import Group
    from kvmdecl_numa.packing import Packing
    from kvmdecl_numa.rooms import CellLeft, HostLeft
    from kvmdecl_numa.wants import CellWant, Want


def reasons(packing: Packing, number: int) -> dict[str, str]:
    """For each candidate of a guest that is nowhere, why it is not there."""
    hosts = {host.room.name: host for host in packing.hosts}
    candidates = packing.guests[number].candidates
    return {name: _reason(packing, number, hosts[name]) for name in candidates if name in hosts}


def _reason(packing: Packing, number: int, host: HostLeft) -> str:
    want = packing.wants[number]
    unsuited = _unsuited(host, want)
    if unsuited is not None:
        return unsuited
    group = packing.groups.hindrance(number, host.number)
    if group is not None:
        return _of_group(packing, group, host)
    shortages = {left.cell.id: _shortage(host, left, want) for left in host.cells}
    if want.cells and all(shortages.values()) and not want.shape.spills:
        return _by_cell(shortages)
    return _together(host, want, shortages)


def _unsuited(host: HostLeft, want: Want) -> str | None:
    """What about a host is wrong even when it is empty."""
    shape = want.shape
    for key, value in shape.labels:
        if host.room.labels.get(key) != value:
            there = host.room.labels.get(key)
            return f"no label {key}, {value} wanted" if there is None else f"{key} is {there}, {value} wanted"
    if want.cells and not host.cells:
        return "its NUMA cells are not known"
    if len(want.cells) > len(host.cells):
        return f"{_count(len(host.cells), 'NUMA cell')}, {len(want.cells)} wanted"
    if shape.emulator == "share" and not any(left.cell.shared for left in host.cells):
        return "no shared CPUs"
    return None


def _of_group(packing: Packing, group: Group, host: HostLeft) -> str:
    """Who of its group is where the guest must not be, or where it must be."""
    here = packing.groups.value(group, host.number)
    for number in packing.groups.members_of(group):
        place = packing.host_of(number)
        if place is None or (packing.groups.value(group, place) == here) != group.apart:
            continue
        value = packing.groups.value(group, place)
        where = f"on {value}" if group.scope == "host" else f"in {group.scope} {value}"
        name = packing.guests[number].name
        if not group.apart:
            return f"together with {name}, which is {where}"
        more = "" if group.most == 1 else f", as are others; {group.most} may be"
        return f"apart from {name}, which is {'there' if group.scope == 'host' else where}{more}"
    return "kept out by a group"


def _by_cell(shortages: Mapping[int, str]) -> str:
    if len(shortages) == 1:
        return next(iter(shortages.values()))
    return "; ".join(f"cell {id_}: {text}" for id_, text in shortages.items())


def _shortage(host: HostLeft, left: CellLeft, want: Want) -> str:
    """What a cell of a host lacks for each cell of a guest; nothing if one of them fits."""
    found = [", ".join(_lacks(host, left, want, cell)) for cell in want.bearing]
    return found[0] if found and all(found) else ""


def _lacks(host: HostLeft, left: CellLeft, want: Want, cell: CellWant) -> Iterator[str]:
    if not left.has(cell):
        yield _cpus(left, cell)
    memory = _memory(host, left, want, cell)
    if memory is not None:
        yield memory


def _cpus(left: CellLeft, cell: CellWant) -> str:
    if cell.needs_pairs and not left.has_pairs:
        return "its cores have one thread each"
    dedicated = len(left.cell.dedicated)
    if cell.threads and not dedicated:
        return "no dedicated CPUs"
    if cell.threads > left.free_cpus:
        return f"{max(0, left.free_cpus)} of {dedicated} dedicated CPUs free, {cell.threads} wanted"
    if cell.isolated:
        whole = left.whole + left.sole - left.isolated - left.pairs
        return _whole_cores(max(0, whole), cell)
    if cell.pairs:
        return f"{_count(max(0, left.free_pairs), 'pair')} of threads free, {cell.pairs} wanted"
    if cell.floating > len(left.cell.shared):
        return f"{_count(len(left.cell.shared), 'shared CPU')}, {cell.floating} wanted by one guest"
    free = max(0, left.most_floating - left.floating)
    return f"{free} of {left.most_floating} vCPUs more may share its CPUs, {cell.floating} wanted"


def _whole_cores(free: int, cell: CellWant) -> str:
    if not free:
        return "no core is free as a whole"
    return f"{_count(free, 'core')} free as a whole, {cell.isolated} wanted"


def _memory(host: HostLeft, left: CellLeft, want: Want, cell: CellWant) -> str | None:
    asked = want.shape.pages
    sizes = left.pages(asked)
    if not sizes:
        return f"no pages of {_pages(asked)}" if isinstance(asked, int) else "no memory of the pages wanted"
    aligned = [size for size in sizes if cell.memory * 1024 % size == 0]
    if not aligned:
        return f"{_mib(cell.memory)} is not a whole number of pages of {_pages(sizes[0])}"
    base, overhead = host.page, cell.overhead
    if overhead and left.pools.get(base, 0) < overhead:
        return f"{_mib(left.pools.get(base, 0))} free for QEMU itself, {_mib(overhead)} wanted"
    needed = {size: cell.memory + (overhead if size == base else 0) for size in aligned}
    if any(
        left.pools[size] >= needed[size] and (size != base or host.memory >= needed[size]) for size in aligned
    ):
        return None
    size = max(aligned, key=lambda size: (left.pools[size] - needed[size], size))
    if left.pools[size] >= needed[size]:
        return f"{_mib(host.memory)} of the host's ordinary memory free, {_mib(needed[size])} wanted"
    total = left.cell.pools[size]
    kind = "" if size == base else f" in pages of {_pages(size)}"
    return f"{_mib(left.pools[size])} of {_mib(total)}{kind} free, {_mib(needed[size])} wanted"


def _together(host: HostLeft, want: Want, shortages: Mapping[int, str]) -> str:
    """There is room for one cell of the guest at least, but not for all of it with its devices."""
    shape = want.shape
    homes = [left.number for left in host.cells if not shortages[left.cell.id]]
    for demand in shape.devices:
        free = sum(map(host.is_free, host.devices.get(demand.model, ())))
        if not free:
            return f"no device {demand.model} free"
        if free < demand.count:
            return f"{free} of {_count(demand.count, 'device')} {demand.model} free"
    if shape.devices and choose(host, shape, ()) is None:
        return "its devices are not to be had together"
    if shape.devices and choose(host, shape, homes) is None:
        return f"no {shape.devices[0].model} free near cells with room"
    if shape.memory > host.memory:
        return f"{_mib(host.memory)} of the host's ordinary memory free, {_mib(shape.memory)} wanted"
    short = {id_: text for id_, text in shortages.items() if text}
    if short:
        return _by_cell(short) if len(host.cells) > 1 else next(iter(short.values()))
    return "its cells do not fit together"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _mib(amount: int) -> str:
    return about_size(max(0, amount) * MIB)


def _pages(size: int | str) -> str:
    return about_size(size * 1024) if isinstance(size, int) and size >= 1024 else f"{size}KiB"
