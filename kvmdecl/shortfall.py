"""How much of what a host is short of for a vm, cell by cell, beside those that are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.names import KIB, MIB, about_size, format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.solver import (
        CellDemand,
        CellRoom,
        DeviceDemand,
        HostRoom,
        PciDevice,
        Place,
        Shape,
        VmToPlace,
    )


@dataclass(frozen=True, slots=True)
class Short:
    """What a host, or a cell of it, has too little of.

    Attributes:
        host: that is short of it.
        cell: its id; None for the host as a whole.
        what: `dedicated CPUs`, `whole cores`, `pairs of threads`, `shared vCPUs`, `cells`, `devices` of some kind, or
            `pages` or `memory`.
        free: how many there are; MiB of memory and of pages.
        wanted: how many the vm wants.
        page: size of the pages in KiB, 0 if it is about something else.
    """

    host: str
    cell: int | None
    what: str
    free: int
    wanted: int
    page: int = 0

    def __str__(self) -> str:
        where = self.host if self.cell is None else f"{self.host} cell {self.cell}"
        if self.what == "memory":
            return f"{where}: {about_size(self.free * MIB)} of memory free, {about_size(self.wanted * MIB)} wanted"
        each, what = 1, self.what
        if self.page:
            each, what = self.page, f"pages of {format_size(self.page * KIB)}"
        scale = KIB if self.page else 1
        return f"{where}: {self.free * scale // each} {what} free, {-(-self.wanted * scale // each)} wanted"


def shortfalls(vm: VmToPlace, room: HostRoom, there: Iterable[tuple[VmToPlace, Place]]) -> tuple[Short, ...]:
    """What `room` is short of for a vm beside others, given with their places on it; nothing if numbers alone allow it.

    Of each cell of the guest the host's cell is told that is nearest to having room for it.
    """
    if vm.shape is None:
        return ()
    left = Left(room, there)
    devices = tuple(left.devices(vm.shape)) if vm.shape.devices else ()
    if not vm.shape.cells:
        return devices
    if vm.shape.spills:
        return (*devices, *left.on_all(vm.shape))
    demands = vm.shape.cells
    if len(demands) > len(room.cells):
        return (Short(room.name, None, "cells", len(room.cells), len(demands)),)
    found: list[Short] = [*devices]
    open_ = list(room.cells)
    for number, demand in enumerate(demands):
        lacking = [(tuple(left.on(cell, vm.shape, demand, first=number == 0)), cell) for cell in open_]
        short, cell = min(lacking, key=lambda each: _severity(each[0]))
        open_.remove(cell)
        found += short
    return tuple(found)


def _severity(found: tuple[Short, ...]) -> float:
    return sum((short.wanted - short.free) / short.wanted for short in found)


class Left:
    """What guests leave of a host, which are given with their places on it."""

    def __init__(self, room: HostRoom, there: Iterable[tuple[VmToPlace, Place]]) -> None:
        self._room = room
        self._taken: set[int] = set()
        self._floating = {cell.id: 0 for cell in room.cells}
        self._pools = {(cell.id, page): size for cell in room.cells for page, size in cell.pools.items()}
        self._given: set[str] = set()
        for vm, place in there:
            if vm.shape is not None:
                self._take(vm.shape, place)
                self._given.update(address for addresses in place.devices for address in addresses)

    def _take(self, shape: Shape, place: Place) -> None:
        pins = {cpu for cell in place.cells for _, cpu in cell.pins}
        if shape.threads == "isolate":
            pins |= {
                cpu for cell in self._room.cells for core in cell.cores if pins & {*core} for cpu in core
            }
        self._taken |= pins | {*place.emulator} | {*place.io_threads}
        for number, cell in enumerate(place.cells):
            for id_, count in cell.floating:
                self._floating[id_] = self._floating.get(id_, 0) + count
            for id_, page, size in cell.memory:
                self._pools[id_, page] = self._pools.get((id_, page), 0) - size
            if number == 0 and shape.overhead:
                page = self._room.page
                self._pools[cell.home, page] = self._pools.get((cell.home, page), 0) - shape.overhead

    def _free(self, cell: CellRoom) -> list[list[int]]:
        """CPUs that are free, core by core."""
        return [[cpu for cpu in core if cpu in cell.dedicated - self._taken] for core in cell.cores]

    def devices(self, shape: Shape) -> Iterator[Short]:
        """What the host has too few devices of, wherever they are."""
        for demand in shape.devices:
            if (free := len(self._open(demand))) < demand.count:
                yield Short(self._room.name, None, f"devices {demand.model}", free, demand.count)

    def _open(self, demand: DeviceDemand) -> list[PciDevice]:
        groups = {device.iommu_group for device in self._room.devices if device.address in self._given}
        return [
            device
            for device in self._room.devices
            if demand.model in device.models
            and device.iommu_group not in groups
            and device.excludes.isdisjoint(self._given)
        ]

    def _most_with_devices(self, shape: Shape) -> int:
        """Each guest has as many as it wants, in groups that are nobody else's."""
        counts = [1 << 30]
        for demand in shape.devices:
            open_ = self._open(demand)
            counts += [len(open_) // demand.count, len({device.iommu_group for device in open_})]
        return min(counts)

    def on(self, cell: CellRoom, shape: Shape, demand: CellDemand, *, first: bool) -> Iterator[Short]:
        """What a cell is short of for a cell of the guest; QEMU's own threads and memory are with the first."""
        more = (shape.emulator == "isolate") + shape.io_threads if first else 0
        wanted = _cpus(shape, demand, more)
        wanted["shared vCPUs"] = len(demand.floating)
        for what, free in self._cpus(cell).items():
            if free < wanted.get(what, 0):
                yield Short(self._room.name, cell.id, what, free, wanted[what])
        sizes = _sizes(cell)
        overhead = shape.overhead if first else 0
        found = [tuple(self._memory(cell, size, demand.memory, overhead)) for size in _pages(shape, sizes)]
        if not found:
            page = shape.pages if isinstance(shape.pages, int) else 0
            yield Short(self._room.name, cell.id, "pages" if page else "memory", 0, demand.memory, page)
        else:
            yield from min(found, key=_severity)

    def _cpus(self, cell: CellRoom) -> Mapping[str, int]:
        free = self._free(cell)
        return {
            "whole cores": sum(len(left) == len(core) for left, core in zip(free, cell.cores, strict=True)),
            "pairs of threads": sum(len(left) // 2 for left in free),
            "dedicated CPUs": sum(map(len, free)),
            "shared vCPUs": min(
                int(self._room.overcommit * len(cell.shared)) - self._floating[cell.id], 1 << 30
            ),
        }

    def _memory(self, cell: CellRoom, page: int, size: int, overhead: int) -> Iterator[Short]:
        smallest = min(_sizes(cell))
        wanted = {page: size}
        wanted[smallest] = wanted.get(smallest, 0) + overhead
        for each, much in wanted.items():
            free = max(0, self._pools[cell.id, each])
            if free < much:
                what, shown = ("memory", 0) if each == smallest else ("pages", each)
                yield Short(self._room.name, cell.id, what, free, much, shown)

    def most(self, shape: Shape) -> int:
        """How many guests of a shape that does not spill there is room for by numbers alone: never too few."""
        most = self._most_with_devices(shape)
        if not shape.cells:
            return most
        return min(most, sum(self._most(cell, shape) for cell in self._room.cells) // len(shape.cells))

    def _most(self, cell: CellRoom, shape: Shape) -> int:
        """How many of its cells, if each wanted no more than the least of them."""
        single = len(shape.cells) == 1
        least = min(len(demand.pinned) for demand in shape.cells)
        more = (shape.emulator == "isolate") + shape.io_threads if single else 0
        wanted = {
            "whole cores": least if shape.threads == "isolate" else 0,
            "pairs of threads": least // 2 if shape.threads == "require" else 0,
            "dedicated CPUs": least + more,
            "shared vCPUs": min(len(demand.floating) for demand in shape.cells),
        }
        counts = [free // wanted[what] for what, free in self._cpus(cell).items() if wanted[what]]
        memory = min(demand.memory for demand in shape.cells)
        overhead = shape.overhead if single else 0
        smallest = min(_sizes(cell), default=0)
        pages = 0
        for page in _pages(shape, _sizes(cell)):
            each = memory + overhead * (page == smallest)
            pages += max(0, self._pools[cell.id, page]) // max(1, each)
        return max(0, min([*counts, pages]))

    def on_all(self, shape: Shape) -> Iterator[Short]:
        """What all cells together are short of for a guest that may lie across them."""
        more = (shape.emulator == "isolate") + shape.io_threads
        there: dict[str, int] = {}
        wanted: dict[str, int] = {"shared vCPUs": sum(len(demand.floating) for demand in shape.cells)}
        for cell in self._room.cells:
            for what, free in self._cpus(cell).items():
                there[what] = there.get(what, 0) + free
        for demand in shape.cells:
            for what, count in _cpus(shape, demand, 0).items():
                wanted[what] = wanted.get(what, 0) + count
        wanted["dedicated CPUs"] = wanted.get("dedicated CPUs", 0) + more
        for what, free in there.items():
            if free < wanted.get(what, 0):
                yield Short(self._room.name, None, what, free, wanted[what])
        sizes = sorted({size for cell in self._room.cells for size in _sizes(cell)})
        memory = sum(demand.memory for demand in shape.cells)
        allowed = _pages(shape, sizes)
        free_memory = {
            size: sum(max(0, self._pools.get((cell.id, size), 0)) for cell in self._room.cells)
            for size in allowed
        }
        if free_memory and max(free_memory.values()) < memory:
            page = max(allowed, key=lambda size: free_memory[size])
            what, shown = ("memory", 0) if page == min(sizes) else ("pages", page)
            yield Short(self._room.name, None, what, free_memory[page], memory, shown)


def _cpus(shape: Shape, demand: CellDemand, more: int) -> dict[str, int]:
    count = len(demand.pinned)
    wanted = {"dedicated CPUs": count + more}
    if shape.threads == "isolate":
        wanted["whole cores"] = count
    if shape.threads == "require":
        wanted["pairs of threads"] = count // 2
    return wanted


def _sizes(cell: CellRoom) -> list[int]:
    """Sizes of pages that a cell has, in order."""
    return sorted(page for page, size in cell.pools.items() if size > 0)


def _pages(shape: Shape, sizes: list[int]) -> list[int]:
    """Of the sizes of pages that a cell has, in order, those that a guest may have."""
    match shape.pages:
        case "small":
            return sizes[:1]
        case "large":
            return sizes[1:]
        case "any":
            return sizes
        case size:
            return [size] if size in sizes else []
