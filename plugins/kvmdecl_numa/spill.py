"""Where on one host a guest fits if its cells may lie across several of the host's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice, permutations
from typing import TYPE_CHECKING

from kvmdecl_numa.devices import choose
from kvmdecl_numa.fit import Fit, Part, take
from kvmdecl_numa.wants import Want, cpus_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmdecl.api import CellDemand, Shape
    from kvmdecl_numa.rooms import CellLeft, HostLeft

_MOST_HOMES = 60  # ways to choose homes that are compared
_PLACELESS = -1  # owner of what is only tried


def find_across(host: HostLeft, want: Want) -> tuple[float, Fit] | None:
    """The place on a host that lies across the fewest cells, and how good it is: less is better."""
    best: tuple[float, Fit] | None = None
    distances, reach = host.room.distances, want.shape.reach
    for homes in islice(permutations(range(len(host.cells)), len(want.cells)), _MOST_HOMES):
        if reach is not None and any(distances[a][b] > reach for a in homes for b in homes if a != b):
            continue
        fit = _Trial(host, want).fit(homes)
        if fit is not None:
            spilled = sum(len(parts) for parts in fit.parts)
            if best is None or spilled < best[0]:
                best = spilled, fit
                if spilled <= len(homes) + 1:
                    break
    return None if best is None else (10.0 + best[0], best[1])


@dataclass(slots=True)
class _Trial:
    """Cells are put one after the other, for one takes what the next cannot have; then all is given back."""

    host: HostLeft
    want: Want

    def fit(self, homes: tuple[int, ...]) -> Fit | None:
        host, shape = self.host, self.want.shape
        devices = choose(host, shape, homes)
        if devices is None:
            return None
        bare = Want.of(replace(shape, devices=(), overhead=0))
        whole = Fit(host.number, homes, (), (), (), devices)
        taken: list[Fit] = []
        overhead = shape.overhead
        if overhead and min(host.cells[homes[0]].pools.get(host.page, 0), host.memory) < overhead:
            return None
        try:
            for home, cell in zip(homes, shape.cells, strict=True):
                found = _across(host, shape, home, cell, 0 if taken else overhead)
                if found is None:
                    return None
                page, parts = found
                whole = whole._replace(pages=(*whole.pages, page), parts=(*whole.parts, parts))
                taken.append(Fit(host.number, (home,), (page,), (parts,), (), ()))
                take(host, bare, taken[-1], _PLACELESS, 1)
                if not taken[1:] and overhead:
                    _charge(host, homes[0], overhead)
            extras = _extras(host, homes, self.want.extras)
            return None if extras is None else whole._replace(extras=extras)
        finally:
            for part in taken:
                take(host, bare, part, _PLACELESS, -1)
            if taken and overhead:
                _charge(host, homes[0], -overhead)


def _charge(host: HostLeft, home: int, overhead: int) -> None:
    host.cells[home].pools[host.page] -= overhead
    host.memory -= overhead


def _extras(host: HostLeft, homes: tuple[int, ...], count: int) -> tuple[tuple[int, int], ...] | None:
    """CPUs for QEMU's own threads: in the homes, else anywhere."""
    extras: list[tuple[int, int]] = []
    for left in sorted(host.cells, key=lambda left: (left.number not in homes, left.number)):
        mine = min(count, max(0, left.free_cpus))
        if mine:
            extras.append((left.number, mine))
            count -= mine
    return None if count else tuple(extras)


def _across(
    host: HostLeft, shape: Shape, home: int, cell: CellDemand, overhead: int
) -> tuple[int, tuple[Part, ...]] | None:
    """The pages and parts of a cell: what does not fit at home goes to the nearest cells that have room."""
    distances = host.room.distances[home]
    near = sorted(host.cells, key=lambda left: (left.number != home, distances[left.number], left.number))
    cpus: dict[int, tuple[int, int]] = {}
    pinned, floating = len(cell.pinned), len(cell.floating)
    for left in near:
        mine = _most(left, shape, pinned)
        floats = max(0, min(floating, left.most_floating - left.floating, len(left.cell.shared)))
        if mine or floats:
            cpus[left.number] = mine, floats
            pinned, floating = pinned - mine, floating - floats
    if pinned or floating:
        return None
    for page in sorted({page for left in near for page in left.pages(shape.pages)}):
        memory = _memory(host, shape, near, cell.memory, page, overhead)
        if memory is not None:
            numbers = [left.number for left in near if left.number in cpus or left.number in memory]
            return page, tuple(Part(n, *cpus.get(n, (0, 0)), memory.get(n, 0)) for n in numbers)
    return None


def _most(left: CellLeft, shape: Shape, wanted: int) -> int:
    """How many pinned vCPUs a cell has room for, up to as many as are wanted."""
    if shape.threads == "require" and not left.has_pairs:
        return 0
    low, high = 0, wanted
    while low < high:
        middle = (low + high + 1) // 2
        if left.has(cpus_of(shape, middle, 0)):
            low = middle
        else:
            high = middle - 1
    return low


def _memory(
    host: HostLeft, shape: Shape, near: Sequence[CellLeft], wanted: int, page: int, overhead: int
) -> dict[int, int] | None:
    """MiB by cell; the first of `near` is home, and also has the overhead."""
    if wanted * 1024 % page or (page == host.page and wanted + overhead > host.memory):
        return None
    unit = max(1, page // 1024)
    found: dict[int, int] = {}
    for left in near:
        if page not in left.pages(shape.pages):
            continue
        free = left.pools[page] - (overhead if left is near[0] and page == host.page else 0)
        amount = min(wanted, max(0, free) // unit * unit)
        if amount:
            found[left.number] = amount
            wanted -= amount
    return None if wanted else found
