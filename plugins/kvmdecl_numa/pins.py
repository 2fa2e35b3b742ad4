"""Counts -> CPUs. In phases over all guests of a cell: isolated vCPUs, pairs, what likes pairs, single threads.

Guest by guest it would fail: an odd thread of one takes half of the core that a later pair needs.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl.api import CellPlace, Place
from kvmdecl_numa.rooms import free_cores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmdecl.api import CellRoom, HostRoom, Shape
    from kvmdecl_numa.fit import Fit

    # CPUs by guest and its cell, and by the host's cell. Cell _EXTRAS stands for QEMU's own threads.
    Pins = Mapping[tuple[int, int], Mapping[int, Sequence[int]]]

_EXTRAS = -1


class _Demand(NamedTuple):
    """CPUs that a cell of a guest takes of a cell of the host: `isolate`, `require`, `prefer` or `any`."""

    guest: int
    cell: int
    number: int
    how: str


def places(
    room: HostRoom, guests: Sequence[tuple[Shape, Fit]], taken: Iterable[int]
) -> Iterator[tuple[int, Place]]:
    """Places for the guests that were fitted onto a host, by their index; `taken` are CPUs that others keep."""
    pins: dict[tuple[int, int], dict[int, Sequence[int]]] = defaultdict(dict)
    taken = frozenset(taken)
    demands = _demands(guests)
    for number in sorted(demands):
        for demand, cpus in _pin(room.cells[number], demands[number], taken):
            pins[demand.guest, demand.cell][number] = cpus
    for guest, (shape, fit) in enumerate(guests):
        yield guest, _place(room, guest, shape, fit, pins)


def _demands(guests: Sequence[tuple[Shape, Fit]]) -> Mapping[int, Sequence[_Demand]]:
    found: dict[int, list[_Demand]] = defaultdict(list)
    for guest, (shape, fit) in enumerate(guests):
        for cell, parts in enumerate(fit.parts):
            for part in parts:
                if part.pinned:
                    found[part.cell].append(_Demand(guest, cell, part.pinned, shape.threads))
        for number, count in fit.extras:
            found[number].append(_Demand(guest, _EXTRAS, count, "any"))
    return found


def _pin(
    cell: CellRoom, demands: Sequence[_Demand], taken: frozenset[int]
) -> Iterable[tuple[_Demand, Sequence[int]]]:
    free = free_cores(cell, taken)
    found: list[list[int]] = [[] for _ in demands]
    sole, whole = list(free.sole), sorted(free.whole, key=len)
    for demand, mine in zip(demands, found, strict=True):
        if demand.how == "isolate":
            mine.extend(sole.pop(0) if sole else whole.pop(0)[0] for _ in range(demand.number))
    cores = [*whole, *free.partial, *([cpu] for cpu in sole)]
    for how in ("require", "prefer"):
        for demand, mine in zip(demands, found, strict=True):
            if demand.how == how:
                mine.extend(_pairs(cores, demand.number // 2))
    rest = [cpu for core in sorted(cores, key=len) for cpu in core]
    for demand, mine in zip(demands, found, strict=True):
        missing = demand.number - len(mine)
        mine.extend(rest[:missing])
        del rest[:missing]
    return zip(demands, found, strict=True)


def _pairs(cores: list[list[int]], number: int) -> Iterator[int]:
    """Up to so many pairs of threads, taken out of cores: what was a whole core is one guest's if it can be."""
    for core in cores:
        while number and len(core) >= 2:
            yield core.pop(0)
            yield core.pop(0)
            number -= 1
        if not number:
            return


def _place(room: HostRoom, guest: int, shape: Shape, fit: Fit, pins: Pins) -> Place:
    cells = []
    for number, cell in enumerate(shape.cells):
        parts, page = fit.parts[number], fit.pages[number]
        ids = [room.cells[part.cell].id for part in parts]
        cells.append(
            CellPlace(
                home=room.cells[fit.homes[number]].id,
                memory=tuple(
                    (id_, page, part.memory) for id_, part in zip(ids, parts, strict=True) if part.memory
                ),
                pins=tuple(zip(cell.pinned, _cpus(pins, guest, number), strict=True)),
                floating=tuple(
                    (id_, part.floating) for id_, part in zip(ids, parts, strict=True) if part.floating
                ),
            )
        )
    extras = _cpus(pins, guest, _EXTRAS)
    emulator = int(shape.emulator == "isolate")
    return Place(
        room.name,
        tuple(cells),
        tuple(extras[:emulator]),
        tuple(extras[emulator:]),
        tuple(tuple(device.address for device in devices) for devices in fit.devices),
    )


def _cpus(pins: Pins, guest: int, cell: int) -> Sequence[int]:
    return [cpu for _, cpus in sorted(pins.get((guest, cell), {}).items()) for cpu in cpus]
