"""What no packing can surpass, were guests divisible: a linear program over kinds of guests and of cells.

It knows in which cells a guest can be at all, so it is far nearer to what can be had than sums over the cluster are
(`bounds`), and mostly a whole number away from nothing better. Hosts that are alike are one, and so are their cells:
the program does not grow with the cluster.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cached_property
from itertools import product
from math import fsum, inf
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl_numa.simplex import Column, prices

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence

    from kvmdecl_numa.packing import Packing
    from kvmdecl_numa.rooms import CellLeft, HostLeft
    from kvmdecl_numa.wants import CellWant, Want

    # What a cell of a host has some of: `isolated`, `threads`, `pairs`, the last two with what isolated vCPUs leave
    # idle (`threads+`, `pairs+`), `floating`, pages by their size in KiB, IOMMU groups with a device of a model.
    Name = Hashable
    Amounts = Mapping[Name, int]
    # Which hosts, which of their cells (_HOST: none of them), and what there.
    Row = tuple[int, int, Name]
    # What a guest takes: a row once for each of its cells that does.
    Takes = tuple[tuple[Row, int], ...]

_HOST = -1
_MOST_ENTRIES = 150_000  # of a tableau
_MOST_COLUMNS = 400  # of a kind of guests on a kind of hosts
_MOST_PARTS = 6
_MOST_HOSTS = 12  # that differ; of more, those are one that are alike when they are empty
_HAIR = 1e-6  # a rounded sum must not fall below the whole number that is meant


class _Cell(NamedTuple):
    """A cell, as far as it matters which: what is so however full it is, and what there is."""

    traits: Hashable
    has_pairs: bool
    shared: int
    per_core: int
    pages: Mapping[int | str, tuple[int, ...]]
    amounts: Amounts


class _Cells(NamedTuple):
    """Cells of hosts that are alike, one for the other: their positions, what each has, and how many have it."""

    positions: tuple[int, ...]
    cell: _Cell
    amounts: Sequence[tuple[Amounts, int]]

    def most(self, name: Name) -> int:
        """What the best of them has."""
        return max(amounts.get(name, 0) for amounts, _ in self.amounts)


class _Hosts(NamedTuple):
    """Hosts that are alike: one of them, how many, and what they have beside their cells."""

    host: HostLeft
    number: int
    kinds: frozenset[int]
    cells: Sequence[_Cells]
    amounts: Amounts


class _Solved(NamedTuple):
    """What all room is worth, what guests are worth beyond what their room is, and what that is for each kind."""

    room: float
    beyond: float
    prices: Mapping[int, float]

    @property
    def value(self) -> float:
        """The most that all guests can be worth."""
        return self.room + self.beyond

    def price(self, kind: int) -> float:
        """What the cheapest room for a guest is worth."""
        return self.prices[kind]


class Relaxed:
    """A packing's hosts, with those guests in place that keep theirs; the others are what is asked about.

    `movable` are guests that have a place and may get another, all of them at once: they are always held.

    Attributes:
        prices: of room for a guest, by kind, where it was asked last what guests are worth together.
    """

    def __init__(self, packing: Packing, wanted: Sequence[int], movable: Sequence[int] = ()) -> None:
        self._packing = packing
        self.prices: Mapping[int, float] = {}
        self._movable = tuple(movable)
        self._wanted = {packing.kind(number): number for number in (*reversed(wanted), *movable)}
        self._across = any(packing.wants[number].shape.spills for number in self._wanted.values())
        self._before = [
            ([_cell(left, host) for left in host.cells], host.memory, _groups(host, None))
            for host in packing.hosts
        ]
        self._ways: dict[tuple[int, int], Sequence[Takes]] = {}

    def prefix(self, wanted: Sequence[int], most: int) -> int:
        """No more of the first guests than this can be placed, and no more than `most`."""
        while most:
            solved = self._solve(dict.fromkeys((*self._movable, *wanted[:most]), 1.0), parts=False)
            count = len(self._movable) + most
            if solved is None or solved.value > count - _HAIR:
                break
            # The same prices tell of fewer guests, too.
            left = solved.room - fsum(min(1.0, solved.price(self._kind(n))) for n in self._movable)
            fewer = 0
            for number in wanted[:most]:
                left -= min(1.0, solved.price(self._kind(number)))
                if left < -_HAIR:
                    break
                fewer += 1
            most = min(fewer, most - 1)
        return most

    def fits(self, wanted: Sequence[int]) -> bool:
        """Whether all of these may have a place; False is certain."""
        return self.prefix(wanted, len(wanted)) == len(wanted)

    def value(self, values: Mapping[int, int], held: Collection[int], known: int) -> int:
        """The most that guests can be worth together beside those held; `known` is what they are."""
        most = sum(values.values())
        each = 1.0 + most
        held = (*self._movable, *held)
        best = float(most)
        for parts in (False, True):
            if best < known + 1 - _HAIR:
                break
            solved = self._solve({**values, **dict.fromkeys(held, each)}, parts=parts)
            if solved is None:
                break
            best = min(best, solved.value - each * len(held))
            self.prices = solved.prices
        return int(best + _HAIR)

    # -- the program ---------------------------------------------------------------------------------------

    def _kind(self, number: int) -> int:
        return self._packing.kind(number)

    def _solve(self, worth: Mapping[int, float], *, parts: bool) -> _Solved | None:
        """Guests and what they are worth; None if that is too much."""
        groups = sorted(Counter((self._kind(number), value) for number, value in worth.items()).items())
        kinds = [kind for (kind, _), _ in groups]
        ways = {kind: self._ways_of(kind) for kind in kinds}
        room = self._room(ways.values())
        if parts:
            ways, room = self._in_parts(ways, room)
        need: Counter[Row] = Counter()
        most = {kind: _largest(mine) for kind, mine in ways.items()}
        for (kind, _), count in groups:
            for row, amount in most[kind].items():
                need[row] += count * amount
        rows = sorted((row for row in need if need[row] > room[row]), key=str)
        numbers = {row: number for number, row in enumerate(rows)}
        columns = [
            Column(value, (*takes, (len(rows) + number, 1)))
            for number, ((kind, value), _) in enumerate(groups)
            for takes in _distinct(ways[kind], numbers)
        ]
        limits = [room[row] for row in rows]
        height = len(limits) + len(groups)
        if height * (len(columns) + height) > _MOST_ENTRIES:
            return None
        cost = prices(columns, [*limits, *(count for _, count in groups)])
        price = {
            kind: min((_cost(takes, numbers, cost) for takes in mine), default=inf)
            for kind, mine in ways.items()
        }
        return _Solved(
            fsum(by * limit for by, limit in zip(cost, limits, strict=False)),
            fsum(count * max(0.0, value - price[kind]) for (kind, value), count in groups),
            price,
        )

    def _room(self, ways: Iterable[Iterable[Takes]]) -> dict[Row, int]:
        """What there is of each row that somebody takes."""
        rows = {row for mine in ways for takes in mine for row, _ in takes}
        return {(of, cells, name): self._amount(of, cells, name) for of, cells, name in rows}

    def _amount(self, of: int, cells: int, name: Name) -> int:
        hosts = self._hosts[of]
        if cells == _HOST:
            return hosts.amounts.get(name, 0)
        return sum(count * amounts.get(name, 0) for amounts, count in hosts.cells[cells].amounts)

    def _in_parts(
        self, ways: Mapping[int, Sequence[Takes]], room: Mapping[Row, int]
    ) -> tuple[dict[int, Sequence[Takes]], dict[Row, int]]:
        """Count how often a size goes into cells, too: three cells of 8 CPUs have no room for four times 5."""
        sizes: defaultdict[Row, set[int]] = defaultdict(set)
        for mine in ways.values():
            for takes in mine:
                for row, amount in takes:
                    if amount > 1 and (row[2] == "threads+" or isinstance(row[2], int)):
                        sizes[row].add(amount)
        parts = {row: sorted(of)[-_MOST_PARTS:] for row, of in sizes.items()}
        more = dict(room)
        for (of, cells, name), each in parts.items():
            for size in each:
                amounts = self._hosts[of].cells[cells].amounts
                more[of, cells, (name, size)] = sum(
                    count * (there.get(name, 0) // size) for there, count in amounts
                )
        counted: dict[int, Sequence[Takes]] = {
            kind: [(*takes, *_parts(takes, parts)) for takes in mine] for kind, mine in ways.items()
        }
        return counted, more

    # -- where guests can be -------------------------------------------------------------------------------

    @cached_property
    def _hosts(self) -> Sequence[_Hosts]:
        """Hosts that are alike as one; if that leaves many, those that are alike when they are empty."""
        kinds: list[set[int]] = [set() for _ in self._packing.hosts]
        for kind, number in self._wanted.items():
            for place in self._packing.hosts_for(number):
                kinds[place].add(kind)
        exact = self._alike(kinds, exact=True)
        return exact if len(exact) <= _MOST_HOSTS else self._alike(kinds, exact=False)

    def _alike(self, kinds: Sequence[set[int]], *, exact: bool) -> Sequence[_Hosts]:
        found: defaultdict[Hashable, list[int]] = defaultdict(list)
        for number, host in enumerate(self._packing.hosts):
            cells, memory, _ = self._before[number]
            traits = tuple((cell.traits, _frozen(cell.amounts) if exact else None) for cell in cells)
            devices = _frozen(self._before[number][2]) if exact else None
            full = (memory, devices) if exact else ()
            key = traits, full, host.page, host.room.distances, frozenset(kinds[number])
            found[key].append(number)
        return [self._as_one(numbers, frozenset(kinds[numbers[0]])) for numbers in found.values()]

    def _as_one(self, numbers: Sequence[int], kinds: frozenset[int]) -> _Hosts:
        host = self._packing.hosts[numbers[0]]
        before = [self._before[number] for number in numbers]
        amounts: Counter[Name] = Counter()
        for there, memory, models in before:
            amounts["memory"] += max(0, memory)
            amounts.update(models)
            amounts.update(_in_all(there))
        cells: list[list[int]] = []
        for position, cell in enumerate(before[0][0]):
            for alike in cells:
                like = before[0][0][alike[0]]
                same = like.traits == cell.traits and like.amounts == cell.amounts
                if same and all(_as_far(host, position, other) for other in alike):
                    alike.append(position)
                    break
            else:
                cells.append([position])
        return _Hosts(
            host, len(numbers), kinds, [_cells_of(positions, before) for positions in cells], amounts
        )

    def _ways_of(self, kind: int) -> Sequence[Takes]:
        """What a guest of a kind can take, of whichever hosts."""
        return [
            takes
            for of, hosts in enumerate(self._hosts)
            if kind in hosts.kinds
            for takes in self._ways_on(kind, of)
        ]

    def _ways_on(self, kind: int, of: int) -> Sequence[Takes]:
        if (kind, of) not in self._ways:
            want = self._packing.wants[self._wanted[kind]]
            self._ways[kind, of] = _ways(self._hosts[of], of, want, across=self._across)
        return self._ways[kind, of]


def room_of(left: CellLeft) -> dict[Name, int]:
    """What a cell has for guests that come, but for devices."""
    per_core = threads_of(left)
    return {
        "isolated": left.sole + left.whole,
        "threads": left.cpus,
        "threads+": left.cpus + (per_core - 1) * left.sole,
        "pairs": left.most_pairs,
        "pairs+": left.most_pairs + (per_core // 2) * left.sole,
        "floating": max(0, left.most_floating - left.floating),
        **{size: max(0, amount) for size, amount in left.pools.items()},
    }


def threads_of(left: CellLeft) -> int:
    """How many threads a core has that an isolated vCPU takes as a whole."""
    return left.per_core if left.whole else 1


def exchangeable(host: HostLeft, one: int, other: int) -> bool:
    """Whether two cells, were they empty, could be exchanged for each other: no device is near, others are as far."""
    left, right = host.cells[one], host.cells[other]
    if any(device.cell in {left.cell.id, right.cell.id} for device in host.room.devices):
        return False
    if host.room.devices and left.cell.socket != right.cell.socket:
        return False
    return _traits(left) == _traits(right) and _as_far(host, one, other)


def _traits(left: CellLeft) -> Hashable:
    return left.has_pairs, len(left.cell.shared), threads_of(left), tuple(sorted(left.pools))


def _cell(left: CellLeft, host: HostLeft) -> _Cell:
    amounts = {**room_of(left), **_groups(host, left.cell.id)}
    pages: dict[int | str, tuple[int, ...]] = {size: (size,) for size in left.pools}
    sizes = tuple(sorted(left.pools))
    pages |= {"small": sizes[:1], "large": sizes[1:], "any": sizes}
    return _Cell(_traits(left), left.has_pairs, len(left.cell.shared), threads_of(left), pages, amounts)


def _groups(host: HostLeft, cell: int | None) -> dict[Name, int]:
    """How many IOMMU groups that nobody has have a device of each model: in a cell, or (None) on the whole host."""
    found: dict[Name, int] = {}
    for model, devices in host.devices.items():
        groups = {d.iommu_group for d in devices if cell is None or d.cell == cell} - host.owners.keys()
        if groups:
            found[model, "groups"] = len(groups)
    return found


def _cells_of(positions: Sequence[int], before: Sequence[tuple[Sequence[_Cell], int, Amounts]]) -> _Cells:
    counts: Counter[tuple[tuple[Name, int], ...]] = Counter()
    amounts: dict[tuple[tuple[Name, int], ...], Amounts] = {}
    for cells, _, _ in before:
        for position in positions:
            key = tuple(cells[position].amounts.items())
            amounts[key] = cells[position].amounts
            counts[key] += 1
    of = [(amounts[key], count) for key, count in counts.items()]
    return _Cells(tuple(positions), before[0][0][positions[0]], of)


def _as_far(host: HostLeft, one: int, other: int) -> bool:
    """Whether two cells are as far from all others."""
    distances = host.room.distances
    return not distances or all(
        distances[one][third] == distances[other][third]
        for third in range(len(host.cells))
        if third not in {one, other}
    )


def _frozen(amounts: Amounts) -> Hashable:
    return tuple(sorted(amounts.items(), key=str))


def _ways(hosts: _Hosts, of: int, want: Want, *, across: bool) -> list[Takes]:
    """What a guest can take of hosts that are alike: its homes, by kind of cells; sizes of pages; QEMU's threads.

    `across`: there are guests that may lie across cells, so what all cells have together is counted, too.
    """
    beside = _beside(hosts, want) | (_of_all(hosts, want) if across else {})
    anywhere = tuple(((of, _HOST, name), amount) for name, amount in beside.items() if amount)
    if want.shape.spills:
        return [anywhere]
    found: dict[Takes, None] = {}
    place = {position: number for number, cells in enumerate(hosts.cells) for position in cells.positions}
    for homes in _homes(hosts, want, place, ()):
        kinds = [place[home] for home in homes]
        for bearer in range(len(homes) if want.extras else 1):
            cells = [want.bearing[n] if n == bearer else cell for n, cell in enumerate(want.cells)]
            options = [
                list(_options(hosts, want, kind, cell)) for kind, cell in zip(kinds, cells, strict=True)
            ]
            for chosen in product(*options):
                takes = list(anywhere)
                for kind, (amounts, ordinary) in zip(kinds, chosen, strict=True):
                    takes += [((of, kind, name), amount) for name, amount in amounts.items()]
                    if ordinary:
                        takes.append(((of, _HOST, "memory"), ordinary))
                found.setdefault(tuple(sorted(takes, key=str)))
                if len(found) >= _MOST_COLUMNS:
                    return [anywhere]  # which takes less than any of them, so what follows is true still
    return list(found)


def _homes(
    hosts: _Hosts, want: Want, place: Mapping[int, int], chosen: tuple[int, ...]
) -> Iterator[tuple[int, ...]]:
    """Of cells that are alike the first that is no home yet."""
    if len(chosen) == len(want.cells):
        yield chosen
        return
    reach, distances = want.shape.reach, hosts.host.room.distances
    cell = want.cells[len(chosen)]
    for number, cells in enumerate(hosts.cells):
        home = next((position for position in cells.positions if position not in chosen), None)
        if home is None or (reach is not None and any(distances[home][other] > reach for other in chosen)):
            continue
        if any(True for _ in _options(hosts, want, number, cell)):
            yield from _homes(hosts, want, place, (*chosen, home))


def _options(hosts: _Hosts, want: Want, kind: int, cell: CellWant) -> Iterator[tuple[Amounts, int]]:
    """What a cell of a guest takes of one of the host's, by size of pages, and how much of that is ordinary memory."""
    cells = hosts.cells[kind]
    of, page_of_host = cells.cell, hosts.host.page
    if (cell.needs_pairs and not of.has_pairs) or cell.floating > of.shared:
        return
    cpus: dict[Name, int] = {
        "isolated": cell.isolated,
        "threads": cell.threads,
        "threads+": cell.threads + (of.per_core - 1) * cell.isolated,
        "pairs": cell.pairs,
        "pairs+": cell.pairs + (of.per_core // 2) * cell.isolated,
        "floating": cell.floating,
    }
    if len(want.cells) == 1:
        for demand in want.shape.devices:
            if demand.policy == "required":
                cpus[demand.model, "groups"] = 1 if demand.count else 0
    for page in of.pages.get(want.shape.pages, ()):
        if cell.memory * 1024 % page:
            continue
        amounts = Counter(cpus)
        amounts[page] += cell.memory
        amounts[page_of_host] += cell.overhead
        taken = +amounts
        if all(amount <= cells.most(name) for name, amount in taken.items()):
            yield taken, cell.overhead + (cell.memory if page == page_of_host else 0)


def _beside(hosts: _Hosts, want: Want) -> dict[Name, int]:
    """What a guest takes of no cell in particular."""
    found: dict[Name, int] = {"memory": want.shape.memory}
    for demand in want.shape.devices:
        of_model = (d for d in hosts.host.room.devices if demand.model in d.models)
        most = max(Counter(device.iommu_group for device in of_model).values(), default=1)
        found[demand.model, "groups"] = max(found.get((demand.model, "groups"), 0), -(-demand.count // most))
    return found


def _in_all(cells: Sequence[_Cell]) -> Counter[Name]:
    """What all cells of a host have together, for guests that may lie across them."""
    found: Counter[Name] = Counter()
    for cell in cells:
        for name in ("threads+", "floating"):
            found["all", name] += cell.amounts[name]
        for size in cell.pages["any"]:
            found["all", size] += cell.amounts[size]
            found["all", "memory"] += cell.amounts[size]
    return found


def _of_all(hosts: _Hosts, want: Want) -> dict[Name, int]:
    """What a guest takes of that wherever it is: a vCPU leaves as much idle as it does where that is least."""
    cells = [each.cell for each in hosts.cells]
    idle = min((cell.per_core for cell in cells if cell.amounts["threads"]), default=1) - 1
    pages = {size for cell in cells for size in cell.pages.get(want.shape.pages, ())}
    found: dict[Name, int] = {
        ("all", "threads+"): want.extras + sum(cell.threads + idle * cell.isolated for cell in want.cells),
        ("all", "floating"): sum(cell.floating for cell in want.cells),
        ("all", "memory"): want.memory + want.shape.overhead,
    }
    if len(pages) == 1:
        found["all", pages.pop()] = want.memory
    return found


def _largest(ways: Iterable[Takes]) -> Counter[Row]:
    """The most that any of some ways takes."""
    found: Counter[Row] = Counter()
    for takes in ways:
        found |= _added(takes)
    return found


def _added(takes: Takes) -> Counter[Row]:
    found: Counter[Row] = Counter()
    for row, amount in takes:
        found[row] += amount
    return found


def _parts(takes: Takes, parts: Mapping[Row, Sequence[int]]) -> Iterator[tuple[Row, int]]:
    for row, amount in takes:
        for size in parts.get(row, ()):
            if amount >= size:
                yield (row[0], row[1], (row[2], size)), amount // size


def _distinct(ways: Iterable[Takes], numbers: Mapping[Row, int]) -> Iterable[tuple[tuple[int, int], ...]]:
    return dict.fromkeys(
        tuple((numbers[row], amount) for row, amount in _added(takes).items() if row in numbers)
        for takes in ways
    )


def _cost(takes: Takes, numbers: Mapping[Row, int], cost: Sequence[float]) -> float:
    return sum(cost[numbers[row]] * amount for row, amount in takes if row in numbers)
