"""A host or two as rows of numbers, and kinds of guests as what they take of them: what `layers` goes through."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl_numa.relaxed import exchangeable, room_of, threads_of
from kvmdecl_numa.rooms import MIB
from kvmdecl_numa.ways import HOST, MEMORY, bundles, devices_of, exclusions, ways

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence

    from kvmdecl_numa.fit import Fit
    from kvmdecl_numa.packing import Packing
    from kvmdecl_numa.rooms import HostLeft
    from kvmdecl_numa.ways import Way

    # Host, cell (`HOST`: none), and what there; or a group, `_GROUP`, and a value of its label.
    Row = tuple[int, int, Hashable]
    Amounts = tuple[tuple[int, int], ...]
    # Cells that are alike, each as its rows.
    Like = Sequence[Sequence[int]]

_GROUP = -2
_MOST_WAYS = 3_000


class Kind(NamedTuple):
    """Guests alike, those worth most first, and the ways in which any of them can be placed.

    `takes` has also what they would take of cells that are too small for them, where these are like others.
    """

    members: Sequence[int]
    values: Sequence[int]
    ways: Mapping[Amounts, Way]
    takes: Sequence[Amounts]


@dataclass(frozen=True, slots=True)
class Table:
    """Hosts and guests in numbers.

    Attributes:
        kinds: of guests.
        room: what there is, by row.
        like: cells that are alike: what is true of one packing is true when they are exchanged.
        each: what one of the guests that are held is worth: more than all others.
        complete: whether there is no other way for any guest.
    """

    kinds: Sequence[Kind]
    room: Sequence[int]
    like: Sequence[Like]
    each: int
    complete: bool

    def fits(self, packing: Packing, taken: Iterable[tuple[int, Amounts]]) -> Mapping[int, Fit]:
        """Where the guests are if those of kinds take such amounts, the first of a kind first."""
        free: defaultdict[Hashable, list[int]] = defaultdict(list)
        for host in packing.hosts:
            for group, bundle in sorted(bundles(host).items()):
                free[host.number, bundle].append(group)
        members = [iter(kind.members) for kind in self.kinds]
        found = {}
        for number, amounts in taken:
            way = self.kinds[number].ways[amounts]
            place = way.fit.host
            groups = [free[place, bundle].pop(0) for bundle in way.bundles]
            devices = devices_of(packing.hosts[place], way, groups)
            found[next(members[number])] = way.fit._replace(devices=devices)
        return found


def table_of(packing: Packing, values: Mapping[int, int], held: Collection[int]) -> Table | None:
    """None if it would be too large, or not say all that matters."""
    each = 1 + sum(values.values())
    worth = {**values, **dict.fromkeys(held, each)}
    if not packing.groups.counted(packing.hosts) or any(packing.wants[n].shape.spills for n in worth):
        return None
    families: defaultdict[Hashable, list[int]] = defaultdict(list)
    for number in sorted(worth, key=lambda number: (-worth[number], number)):
        families[packing.kind(number), packing.groups.of(number)].append(number)
    complete = all(left.per_core <= 2 for host in packing.hosts for left in host.cells)
    taken: list[tuple[list[int], list[tuple[Way, Counter[Row]]]]] = []
    for members in families.values():
        found, all_ = _taken(packing, members[0])
        complete = complete and all_
        taken.append((members, found))
        if sum(len(ways) for _, ways in taken) > _MOST_WAYS:
            return None
    free = _room(packing, taken)
    numbers = {row: number for number, row in enumerate(free)}
    room = list(free.values())
    like = list(_like(packing, numbers))
    unequal = [cells for cells in like if len({tuple(room[row] for row in rows) for rows in cells}) > 1]
    kinds = []
    for members, of in taken:
        named: dict[Amounts, Way] = {}
        for way, amounts in of:
            takes = tuple(sorted((numbers[row], a) for row, a in amounts.items() if row in numbers))
            if all(amount <= room[row] for row, amount in takes):
                named.setdefault(takes, way)
        if named:
            kinds.append(Kind(members, [worth[n] for n in members], named, _exchanged(named, unequal)))
    return Table(kinds, room, like, each, complete)


def _taken(packing: Packing, number: int) -> tuple[list[tuple[Way, Counter[Row]]], bool]:
    """Ways for a guest and what they take, and whether these are all."""
    found, complete = [], True
    for place in packing.hosts_for(number):
        if not packing.groups.allow(number, place):
            continue
        here = ways(packing.hosts[place], packing.wants[number])
        complete = complete and here.complete
        groups: dict[Row, int] = {
            (index, _GROUP, value): 1 for index, value in packing.groups.limits(number, place)
        }
        found += [(way, _rows(packing.hosts[place], way) + Counter(groups)) for way in here.ways]
    return found, complete


def _rows(host: HostLeft, way: Way) -> Counter[Row]:
    """What a way takes; isolated vCPUs also with what they leave idle, so that sums are all that there is to it."""
    found: Counter[Row] = Counter()
    for (cell, what), amount in way.takes.items():
        found[host.number, cell, what] += amount
        if cell != HOST and what in {"isolated", "threads", "pairs"}:
            per_core = threads_of(host.cells[cell])
            found[host.number, cell, "threads+"] += amount * {
                "isolated": per_core - 1, "threads": 1, "pairs": 0
            }[str(what)]  # fmt: skip
            found[host.number, cell, "pairs+"] += amount * {
                "isolated": per_core // 2, "threads": 0, "pairs": 1
            }[str(what)]  # fmt: skip
    return +found


def _room(
    packing: Packing, taken: Iterable[tuple[Sequence[int], Iterable[tuple[Way, Counter[Row]]]]]
) -> dict[Row, int]:
    """What there is of all of which there may be too little."""
    need: Counter[Row] = Counter()
    for members, of in taken:
        most: Counter[Row] = Counter()
        for _, amounts in of:
            most |= amounts
        for row, amount in most.items():
            need[row] += amount * len(members)
    free = {row: _free(packing, row) for row in sorted(need, key=str)}
    return {row: amount for row, amount in free.items() if need[row] > amount}


def _free(packing: Packing, row: Row) -> int:
    of, cell, what = row
    if cell == _GROUP:
        return packing.groups.free(of, None if what is None else str(what))
    host = packing.hosts[of]
    if cell != HOST:
        return room_of(host.cells[cell]).get(what, 0)
    if what == MEMORY:
        return max(0, host.memory * MIB)
    if what in exclusions(host):
        return 1
    return sum(bundle == what for bundle in bundles(host).values())


def _like(packing: Packing, numbers: Mapping[Row, int]) -> Iterator[Like]:
    for host in packing.hosts:
        mine: dict[int, dict[Hashable, int]] = {left.number: {} for left in host.cells}
        for (of, cell, what), number in numbers.items():
            if of == host.number and cell >= 0:
                mine[cell][what] = number
        found: list[list[int]] = []
        for cell, rows in mine.items():
            for cells in found:
                same = rows.keys() == mine[cells[0]].keys()
                if same and all(exchangeable(host, cell, other) for other in cells):
                    cells.append(cell)
                    break
            else:
                found.append([cell])
        for cells in found:
            if len(cells) > 1 and mine[cells[0]]:
                yield [[mine[cell][what] for what in sorted(mine[cell], key=str)] for cell in cells]


def _exchanged(ways: Iterable[Amounts], like: Iterable[Like]) -> list[Amounts]:
    """Ways, and what they are when cells that are alike are exchanged."""
    swaps = [
        dict([*zip(one, other, strict=True), *zip(other, one, strict=True)])
        for cells in like
        for one, other in itertools.pairwise(cells)
    ]
    found = dict.fromkeys(ways)
    todo = list(found)
    while todo:
        takes = todo.pop()
        for swap in swaps:
            image = tuple(sorted((swap.get(row, row), amount) for row, amount in takes))
            if image not in found:
                found[image] = None
                todo.append(image)
    return list(found)
