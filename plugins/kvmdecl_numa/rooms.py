"""What is left of hosts and their cells, in numbers: whole cores, pairs of threads, threads, pages, devices.

A set of guests fits a cell whose cores have all as many threads exactly if its sums do: CPUs follow (`pins`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmdecl.api import CellRoom, HostRoom, PciDevice, Place, Shape
    from kvmdecl_numa.wants import CellWant

MIB = 1024**2


class FreeCores(NamedTuple):
    """Free CPUs of a cell: cores with several threads and all of them free, CPUs that are a core, and the rest."""

    whole: list[list[int]]
    sole: list[int]
    partial: list[list[int]]


def free_cores(cell: CellRoom, taken: Iterable[int]) -> FreeCores:
    """The CPUs of a cell that guests may have for themselves and that nobody has."""
    usable = cell.dedicated.difference(taken)
    free = FreeCores([], [], [])
    for core in cell.cores:
        mine = [cpu for cpu in core if cpu in usable]
        if len(mine) < len(core):
            free.partial.append(mine)
        elif len(mine) > 1:
            free.whole.append(mine)
        else:
            free.sole.extend(mine)
    return free


class CellLeft:
    """What is left of a cell of a host.

    Attributes:
        number: its place among the host's cells.
        whole, sole, most_pairs, cpus: cores, single CPUs, pairs of threads, and threads for guests that come.
        isolated, pairs, threads, floating: what those that came have taken of them.
        free_cpus, free_pairs: what is left, threads beside isolated vCPUs not counted.
        pools: MiB that are left by size of pages (KiB).
        devices: of those near to it that nobody has.
    """

    __slots__ = (
        "_pages", "_taken", "cell", "cpus", "devices", "floating", "free_cpus", "free_pairs", "has_pairs", "isolated",
        "most_floating", "most_pairs", "number", "pairs", "per_core", "pools", "sole", "threads", "whole",
    )  # fmt: skip

    def __init__(self, number: int, cell: CellRoom, overcommit: float) -> None:
        self.number = number
        self.cell = cell
        self.isolated = self.pairs = self.threads = self.floating = self.devices = 0
        # A product such as 1.1 x 10 may lie a hair below the whole number that is meant.
        self.most_floating = int(overcommit * len(cell.shared) + 1e-9)
        self.has_pairs = any(sum(cpu in cell.dedicated for cpu in core) > 1 for core in cell.cores)
        self.pools = {size: amount for size, amount in cell.pools.items() if amount > 0}
        sizes = tuple(sorted(self.pools))
        self._pages: dict[int | str, tuple[int, ...]] = {size: (size,) for size in sizes}
        self._pages |= {"small": sizes[:1], "large": sizes[1:], "any": sizes}
        self._taken: frozenset[int] | None = None
        self.count(frozenset())

    def count(self, taken: frozenset[int]) -> None:
        """Count the CPUs that are there beside those that somebody keeps."""
        taken = self.cell.dedicated & taken
        if taken == self._taken:
            return
        free = free_cores(self.cell, taken)
        self._taken = taken
        self.whole = len(free.whole)
        self.sole = len(free.sole)
        self.per_core = max(map(len, free.whole), default=2)
        self.most_pairs = sum(len(core) // 2 for core in (*free.whole, *free.partial))
        self.cpus = self.sole + sum(len(core) for core in (*free.whole, *free.partial))
        self._count_free()

    def _count_free(self) -> None:
        spent = self.spent()
        self.free_cpus = self.cpus - self.threads - spent * (self.per_core - 1)
        self.free_pairs = self.most_pairs - self.pairs - spent * (self.per_core // 2)

    def spent(self, more: int = 0) -> int:
        """Cores with several threads that are one isolated vCPU's each."""
        return max(0, self.isolated + more - self.sole)

    def has(self, want: CellWant) -> bool:
        """Whether the CPUs of a guest's cell fit beside those of the guests that came before."""
        threads, pairs = want.threads, want.pairs
        if want.isolated:
            spent = self.spent(want.isolated)
            if spent > self.whole:
                return False
            more = spent - self.spent()
            threads += more * (self.per_core - 1)
            pairs += more * (self.per_core // 2)
        return (
            threads <= self.free_cpus
            and pairs <= self.free_pairs
            and (not want.floating or self.has_floating(want.floating))
            and (self.has_pairs or not want.needs_pairs)
        )

    def has_floating(self, number: int) -> bool:
        """Whether so many vCPUs of one guest may float here, too."""
        return self.floating + number <= self.most_floating and number <= len(self.cell.shared)

    def holds(self) -> bool:
        """Whether what guests have taken is there."""
        return (
            self.spent() <= self.whole
            and self.free_cpus >= 0
            and self.free_pairs >= 0
            and self.floating <= self.most_floating
            and min(self.pools.values(), default=0) >= 0
        )

    def take(self, want: CellWant, sign: int) -> None:
        """Count the CPUs of a guest's cell, or with sign -1 give them back."""
        self.isolated += sign * want.isolated
        self.pairs += sign * want.pairs
        self.threads += sign * want.threads
        self.floating += sign * want.floating
        self._count_free()

    def pages(self, asked: int | str) -> Sequence[int]:
        """The sizes of pages (KiB) that a guest may have here."""
        return self._pages.get(asked, ())


class HostLeft:
    """What is left of a host.

    Attributes:
        number: its place among the hosts.
        memory: MiB of ordinary memory, whose pages are the smallest.
        cells: by their places; `by_id` by what the host calls them.
        devices: that nobody has, by each of their models.
        owners: guests by the IOMMU group of which they have a device.
        given: addresses of devices that somebody has; `shut`: how many of them exclude a device.
        guests: that came and may be moved as one likes.
        held: CPUs of those that stay exactly where they are, and what else is lost by them.
    """

    __slots__ = (
        "by_id", "cells", "devices", "given", "guests", "held", "memory", "number", "owners", "page", "room", "shut",
    )  # fmt: skip

    def __init__(self, number: int, room: HostRoom) -> None:
        self.number = number
        self.room = room
        self.memory = (room.memory - room.used_memory) // MIB
        self.cells = [CellLeft(place, cell, room.overcommit) for place, cell in enumerate(room.cells)]
        self.by_id = {left.cell.id: left for left in self.cells}
        self.page = room.page
        self.devices: dict[str, list[PciDevice]] = {}
        self.owners: dict[int, int] = {}
        self.given: set[str] = set()
        self.shut: Counter[str] = Counter()
        self.guests: set[int] = set()
        self.held: dict[int, frozenset[int]] = {}
        for device in room.devices:
            for model in device.models:
                self.devices.setdefault(model, []).append(device)
            self._count_device(device, 1)

    def _count_device(self, device: PciDevice, sign: int) -> None:
        if device.cell is not None and device.cell in self.by_id:
            self.by_id[device.cell].devices += sign

    def hand_over(self, device: PciDevice, owner: int, sign: int) -> None:
        """Give a device to a guest, or with sign -1 take it back: all of a guest's are taken back together."""
        if (device.address in self.given) == (sign > 0):
            return
        self._count_device(device, -sign)
        for other in device.excludes:
            self.shut[other] += sign
        if sign > 0:
            self.given.add(device.address)
            self.owners[device.iommu_group] = owner
        else:
            self.given.discard(device.address)
            self.owners.pop(device.iommu_group, None)
        for free in (self.devices[model] for model in device.models):
            if sign > 0:
                free.remove(device)
            else:
                free.append(device)
                free.sort(key=lambda device: device.address)

    def is_free(self, device: PciDevice) -> bool:
        """Whether a guest may have a device that nobody has: its IOMMU group is nobody's, and nothing excludes it."""
        return (
            device.iommu_group not in self.owners
            and self.shut[device.address] <= 0
            and (not device.excludes or device.excludes.isdisjoint(self.given))
        )

    def keep(self, owner: int, shape: Shape, place: Place, sign: int) -> None:
        """Leave a guest exactly where it is, or with sign -1 do so no longer. `recount` has to follow."""
        for cell in place.cells:
            for id_, page, amount in cell.memory:
                self._charge(id_, page, sign * amount)
            for id_, number in cell.floating:
                if id_ in self.by_id:
                    self.by_id[id_].floating += sign * number
        if shape.overhead and place.cells:
            self._charge(place.cells[0].home, self.page, sign * shape.overhead)
        self.memory -= sign * shape.memory
        held = {address for addresses in place.devices for address in addresses}
        if held:
            for device in self.room.devices:
                if device.address in held:
                    self.hand_over(device, owner, sign)
        if sign > 0:
            self.held[owner] = self._lost(shape, place)
        else:
            del self.held[owner]

    def _charge(self, id_: int, page: int, amount: int) -> None:
        if page == self.page:
            self.memory -= amount
        left = self.by_id.get(id_)
        if left is not None and page in left.pools:
            left.pools[page] -= amount

    def _lost(self, shape: Shape, place: Place) -> frozenset[int]:
        pins = {cpu for cell in place.cells for _, cpu in cell.pins}
        lost = pins.union(place.emulator, place.io_threads)
        if shape.threads == "isolate":
            cores = (core for left in self.cells for core in left.cell.cores)
            lost.update(cpu for core in cores if not pins.isdisjoint(core) for cpu in core)
        return frozenset(lost)

    @property
    def taken(self) -> frozenset[int]:
        """CPUs that nobody may have who comes."""
        return frozenset().union(*self.held.values())

    @property
    def ordinary_taken(self) -> int:
        """MiB of ordinary memory that guests have taken whom the question names."""
        return (self.room.memory - self.room.used_memory) // MIB - self.memory

    @property
    def left(self) -> float:
        """The share of its CPUs and pages that nobody has, cell by cell."""
        return sum(
            max(0, cell.free_cpus) / (cell.cpus or 1)
            + sum(amount / cell.cell.pools[size] for size, amount in cell.pools.items())
            for cell in self.cells
        )

    def recount(self) -> None:
        """Count CPUs again after the guests that stay have changed."""
        taken = self.taken
        for left in self.cells:
            left.count(taken)

    def holds(self) -> bool:
        """Whether what guests have taken is there."""
        return self.memory >= 0 and all(left.holds() for left in self.cells)
