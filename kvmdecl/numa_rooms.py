"""Facts of a host, what is reserved there and what others have -> its NUMA cells as a solver sees them. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.names import KIB, MIB
from kvmdecl.solver import CellRoom

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmdecl.facts import Cell, HostFacts

    Core = tuple[int, ...]
    Pools = dict[int, int]

ORDINARY = 0
"""Size of pages that are those of the cell's ordinary memory, whatever that is there."""
_LOCAL, _REMOTE = 10, 20  # as ACPI has them where firmware tells none
_SMALLEST = 4 * KIB  # in facts from a libvirt that does not list pages


@dataclass(frozen=True, slots=True)
class Taken:
    """What a guest has of its host that no solver is asked about.

    Attributes:
        cpus: CPUs of the host that its threads are pinned to.
        memory: as (ids of cells that it is in, None for any; size of pages in KiB or `ORDINARY`; MiB).
    """

    cpus: frozenset[int] = frozenset()
    memory: tuple[tuple[frozenset[int] | None, int, int], ...] = ()


def cell_rooms(
    facts: HostFacts,
    *,
    dedicated: frozenset[int],
    reserved_cpus: int,
    reserved_memory: int,
    pages: Mapping[int, Mapping[int, int]],
    taken: Sequence[Taken],
) -> tuple[CellRoom, ...]:
    """The host's cells, in the order of the facts, with what is left for guests of a request.

    Args:
        facts: of the host.
        dedicated: CPUs that vCPUs may have for themselves, but for those that others are pinned to.
        reserved_cpus: how many are kept for the host, of those that are not dedicated: whole cores with the lowest
            ids as far as they go, then single CPUs.
        reserved_memory: bytes kept for the host, of the ordinary memory of the cell with the lowest id that has CPUs,
            and where that is too little of the next; of cells without CPUs last.
        pages: number of huge pages as they shall be, by size in bytes and id of the cell (`pages.pages_there`).
        taken: what guests have. Memory that may be in several cells is taken from each in proportion to what is left.
    """
    cores = _cores(facts.cells)
    reserved = _reserved([core for of in cores.values() for core in of], dedicated, reserved_cpus)
    pinned = frozenset[int]().union(*(guest.cpus for guest in taken))
    pools = _pools(facts.cells, pages, reserved_memory)
    _take(pools, {cell.id: _smallest(cell) // KIB for cell in facts.cells}, taken)
    rooms = []
    for cell in facts.cells:
        online = frozenset(cpu for core in cores[cell.id] for cpu in core)
        rooms.append(
            CellRoom(
                id=cell.id,
                socket=_socket(cell),
                cores=cores[cell.id],
                dedicated=(online & dedicated) - pinned,
                shared=online - dedicated - reserved,
                pools=pools[cell.id],
            )
        )
    return tuple(rooms)


def distances(facts: HostFacts) -> tuple[tuple[int, ...], ...]:
    """How far the host's cells are from each other, by their places in the facts."""
    ids = [cell.id for cell in facts.cells]
    told = [(cell.id, dict(cell.distances)) for cell in facts.cells]
    return tuple(
        tuple(row.get(other, _LOCAL if other == id_ else _REMOTE) for other in ids) for id_, row in told
    )


# -- CPUs ------------------------------------------------------------------------------------------------------


def _cores(cells: Iterable[Cell]) -> dict[int, tuple[Core, ...]]:
    """The cores of each cell. What belongs together only the siblings say; those that are offline are not there."""
    seen: set[int] = set()
    found: dict[int, tuple[Core, ...]] = {}
    for cell in cells:
        online = {cpu.id for cpu in cell.cpus}
        cores = []
        for cpu in sorted(cell.cpus, key=lambda cpu: cpu.id):
            if cpu.id not in seen:
                core = ({cpu.id, *cpu.siblings} & online) - seen
                seen |= core
                cores.append(tuple(sorted(core)))
        found[cell.id] = tuple(cores)
    return found


def _reserved(cores: Iterable[Core], dedicated: frozenset[int], count: int) -> frozenset[int]:
    kept: set[int] = set()
    ordered = sorted(cores)
    for core in ordered:
        if dedicated.isdisjoint(core) and len(kept) + len(core) <= count:
            kept.update(core)
    single = sorted({cpu for core in ordered for cpu in core} - dedicated - kept)
    return frozenset(kept.union(single[: count - len(kept)]))


def _socket(cell: Cell) -> int | None:
    sockets = {cpu.socket for cpu in cell.cpus}
    return sockets.pop() if len(sockets) == 1 else None


# -- memory ----------------------------------------------------------------------------------------------------


def _smallest(cell: Cell) -> int:
    return min((pool.size for pool in cell.pages), default=_SMALLEST)


def _pools(cells: Sequence[Cell], pages: Mapping[int, Mapping[int, int]], reserved: int) -> dict[int, Pools]:
    """MiB by cell and size of pages in KiB, less what is kept for the host. Ordinary memory is what is no huge page."""
    pools: dict[int, Pools] = {}
    for cell in sorted(cells, key=lambda cell: (not cell.cpus, cell.id)):
        huge = {size: counts[cell.id] for size, counts in sorted(pages.items()) if counts.get(cell.id, 0) > 0}
        ordinary = max(0, cell.memory - sum(size * count for size, count in huge.items()))
        kept = min(ordinary, reserved)
        reserved -= kept
        sizes = {_smallest(cell): ordinary - kept, **{size: size * count for size, count in huge.items()}}
        pools[cell.id] = {size // KIB: amount // MIB for size, amount in sizes.items()}
    return pools


def _take(pools: Mapping[int, Pools], ordinary: Mapping[int, int], taken: Iterable[Taken]) -> None:
    """Take what others have: first what can be in few cells only, so that it is not gone when its turn comes."""
    wanted: Counter[tuple[tuple[int, ...], int]] = Counter()
    for guest in taken:
        for nodes, size, amount in guest.memory:
            cells = tuple(id_ for id_ in pools if nodes is None or id_ in nodes)
            wanted[cells or tuple(pools), size] += amount
    for (cells, size), amount in sorted(wanted.items(), key=lambda item: (len(item[0][0]), item)):
        sizes = {id_: size or ordinary[id_] for id_ in cells}
        left = {id_: pools[id_].get(sizes[id_], 0) for id_ in cells}
        total = sum(left.values())
        for id_, there in left.items():
            if there:
                share = -(-min(amount, total) * there // total)
                pools[id_][sizes[id_]] = there - share
