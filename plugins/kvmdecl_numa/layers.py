"""The best packing of a host or two: all of them at once, guest by guest, but one of those that come to the same.

After each guest, packings are the same if they leave the same of everything that later guests could use; of these the
one that is worth most is kept. What it leaves has a price (`simplex`): where even at that price nothing better comes of
a packing than what is known, it is dropped. If too many are left the likeliest are kept, and nothing is proved.
"""

from __future__ import annotations

from collections import Counter
from math import gcd
from operator import mul
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl_numa.simplex import Column, prices
from kvmdecl_numa.table import table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from kvmdecl_numa.fit import Fit
    from kvmdecl_numa.packing import Packing
    from kvmdecl_numa.table import Amounts, Kind, Table

    State = tuple[int, ...]

MOST_HOSTS = 2
_MOST_PRICES = 5
_WIDTHS = (200, 800, 3_200)  # packings that go on, of each layer: tried one after the other
_AGAIN = 40  # packings, for which it is worth to find new prices
_EVERY = 3  # guests
_HAIR = 1e-6


class Found(NamedTuple):
    """What is better than what was known, if that was found, and whether nothing is better than this."""

    fits: Mapping[int, Fit] | None
    proved: bool


class _Step(NamedTuple):
    """A guest of a kind is placed in a way, after others."""

    kind: int
    takes: Amounts
    before: _Step | None


def best(
    packing: Packing,
    values: Mapping[int, int],
    held: Collection[int],
    known: int,
    work: int,
    stop: Callable[[], bool] = lambda: False,
) -> Found | None:
    """Guests that are worth most together beside those held; None if there is too much to be looked at.

    `known` is what they are worth in a packing that is known, and `work` how many ways to place a guest are tried at
    most. The packing has to be empty but for guests that stay.
    """
    table = table_of(packing, values, held)
    if table is None:
        return None
    search = _Search(table, known + table.each * len(held), work, stop)
    for width in _WIDTHS:
        search.run(width)
        if search.complete or search.work >= work or stop():
            break
    step = search.best
    return Found(
        None if step is None else table.fits(packing, search.taken(step)), search.complete and table.complete
    )


class _Search:
    """Layer by layer: in each a guest is placed in all ways, or no more of its kind are."""

    def __init__(self, table: Table, known: int, most: int, stop: Callable[[], bool]) -> None:
        self.complete = False
        self._stop = stop
        self.best: _Step | None = None
        self.work = 0
        self._most = most
        self._kinds = sorted(range(len(table.kinds)), key=lambda n: (-_size(table, table.kinds[n]), n))
        self._table = table
        self._known = known
        self._levels = [
            (kind, index) for kind in self._kinds for index in range(len(table.kinds[kind].members))
        ]
        self._width = 0
        self._next = {}
        for level in range(len(self._levels) - 1, -1, -1):
            kind, index = self._levels[level]
            later = level + len(table.kinds[kind].members) - index
            self._next[level] = later
        self._usable, self._grain = self._what_later_ones_use()
        self._prices: list[tuple[list[float], list[float]]] = []

    def run(self, width: int) -> None:
        """Go through all layers, no more than so many packings of each; `best` is the last step to what is best."""
        self.complete, self._width = True, width
        self._prices = [self._priced([0.0] * len(self._table.room))]
        self._add_prices(0, self._table.room)
        layers: list[dict[State, tuple[int, _Step | None]]] = [{} for _ in range(len(self._levels) + 1)]
        layers[0][tuple(self._table.room)] = 0, None
        for level in range(len(self._levels)):
            if self.work >= self._most or self._stop():
                self.complete = False
                break
            layer, layers[level] = layers[level], {}
            self._from(level, self._likeliest(level, layer), layers)

    def taken(self, last: _Step) -> list[tuple[int, Amounts]]:
        """What guests take, by kind, after some steps: rows of cells that are alike were put in order after each."""
        steps: list[_Step] = []
        step: _Step | None = last
        while step is not None:
            steps.append(step)
            step = step.before
        left = list(self._table.room)
        really = list(range(len(left)))  # whose row it is that is in a place
        found = []
        levels: Counter[int] = Counter()
        for number, takes, _ in reversed(steps):
            level = self._levels.index((number, levels[number]))
            left, really = self._in_order(left, really, level)
            levels[number] += 1
            found.append((number, tuple(sorted((really[row], amount) for row, amount in takes))))
            for row, amount in takes:
                left[row] -= amount
        return found

    def _in_order(self, left: list[int], really: list[int], level: int) -> tuple[list[int], list[int]]:
        """What is left at the beginning of a level, as `_as_one`, and whose rows these are."""
        if not level:
            return left, really
        left, really = self._rounded(left, level), list(really)
        for cells in self._table.like:
            order = sorted(range(len(cells)), key=lambda n: ([left[row] for row in cells[n]], n))
            before = [([left[row] for row in rows], [really[row] for row in rows]) for rows in cells]
            for rows, number in zip(cells, order, strict=True):
                for row, amount, of in zip(rows, *before[number], strict=True):
                    left[row], really[row] = amount, of
        return left, really

    def _from(
        self,
        level: int,
        layer: Sequence[tuple[State, tuple[int, _Step | None]]],
        layers: Sequence[dict[State, tuple[int, _Step | None]]],
    ) -> None:
        number, index = self._levels[level]
        kind, skip = self._table.kinds[number], self._next[level]
        value = kind.values[index]
        # By way and price: what the guest's room is worth less what those after it are.
        costs = [
            [sum(price[row] * a for row, a in takes) - later[level + 1] for price, later in self._prices]
            for takes in kind.takes
        ]
        for state, (worth, step) in layer:
            self.work += len(kind.takes)
            left: list[float] = [sum(map(mul, price, state)) for price, _ in self._prices]
            for takes, cost in zip(kind.takes, costs, strict=True):
                if not all(state[row] >= amount for row, amount in takes):
                    continue
                if worth + value > self._known:
                    self._known, self.best = worth + value, _Step(number, takes, step)
                if _hopeful(left, cost, self._known + 1 - _HAIR - worth - value):
                    after = list(state)
                    for row, amount in takes:
                        after[row] -= amount
                    self._keep(layers[level + 1], level + 1, after, worth + value, _Step(number, takes, step))
            if _hopeful(left, [-later[skip] for _, later in self._prices], self._known + 1 - _HAIR - worth):
                self._keep(layers[skip], skip, list(state), worth, step)

    def _keep(
        self,
        layer: dict[State, tuple[int, _Step | None]],
        level: int,
        left: list[int],
        worth: int,
        step: _Step | None,
    ) -> None:
        """Of packings that leave the same the one that is worth most."""
        state = self._as_one(left, level)
        there = layer.get(state)
        if there is None or there[0] < worth:
            layer[state] = worth, step

    def _likeliest(
        self, level: int, layer: Mapping[State, tuple[int, _Step | None]]
    ) -> list[tuple[State, tuple[int, _Step | None]]]:
        items = list(layer.items())
        if len(items) > _AGAIN and level % _EVERY == 0:
            middle = [sum(amounts) // len(items) for amounts in zip(*layer, strict=True)]
            self._add_prices(level, middle)
        need = self._known + 1 - _HAIR
        ranked = [
            (self._promise(level, state, worth), state, (worth, step)) for state, (worth, step) in items
        ]
        ranked = [each for each in ranked if each[0] >= need]
        if len(ranked) > self._width:
            self.complete = False
            ranked = sorted(ranked, key=lambda each: (-each[0], each[1]))[: self._width]
        return [(state, there) for _, state, there in ranked]

    def _promise(self, level: int, state: State, worth: int) -> float:
        promises: list[float] = [sum(map(mul, price, state)) + later[level] for price, later in self._prices]
        return worth + min(promises)

    # -- what comes to the same ----------------------------------------------------------------------------

    def _what_later_ones_use(self) -> tuple[list[list[int]], list[list[int]]]:
        """By level and row: all that later guests could use, and of what their amounts are multiples."""
        rows = len(self._table.room)
        usable, grain = [[0] * rows], [[0] * rows]
        for number, _ in reversed(self._levels):
            most, common = [0] * rows, list(grain[-1])
            for takes in self._table.kinds[number].takes:
                for row, amount in takes:
                    most[row] = max(most[row], amount)
                    common[row] = gcd(common[row], amount)
            usable.append([a + b for a, b in zip(usable[-1], most, strict=True)])
            grain.append(common)
        return usable[::-1], grain[::-1]

    def _as_one(self, left: list[int], level: int) -> State:
        """What is left, less what nobody could use, equal cells in order."""
        left = self._rounded(left, level)
        for cells in self._table.like:
            for rows, amounts in zip(
                cells, sorted([left[row] for row in rows] for rows in cells), strict=True
            ):
                for row, amount in zip(rows, amounts, strict=True):
                    left[row] = amount
        return tuple(left)

    def _rounded(self, left: Sequence[int], level: int) -> list[int]:
        return [
            min(amount - amount % grain if grain > 1 else amount, usable)
            for amount, usable, grain in zip(left, self._usable[level], self._grain[level], strict=True)
        ]

    # -- prices --------------------------------------------------------------------------------------------

    def _add_prices(self, level: int, room: Sequence[int]) -> None:
        """What rows are worth to the guests that come at a level; cells that are alike share a price."""
        shared = list(range(len(room)))
        for cells in self._table.like:
            first: dict[tuple[int, ...], Sequence[int]] = {}
            for rows in cells:
                alike = first.setdefault(tuple(room[row] for row in rows), rows)
                for row, other in zip(rows, alike, strict=True):
                    shared[row] = other
        numbers = {row: number for number, row in enumerate(sorted(set(shared)))}
        limits = [0] * len(numbers)
        for row, amount in enumerate(room):
            limits[numbers[shared[row]]] += amount
        counts = Counter(
            (kind, self._table.kinds[kind].values[index]) for kind, index in self._levels[level:]
        )
        columns = []
        for number, (kind, value) in enumerate(counts):
            of = [_shared(takes, shared, numbers) for takes in self._table.kinds[kind].takes]
            columns += [Column(value, (*takes, (len(limits) + number, 1))) for takes in dict.fromkeys(of)]
        found = prices(columns, [*limits, *counts.values()])
        more = self._priced([found[numbers[shared[row]]] for row in range(len(room))])
        self._prices = [*self._prices[:2], *self._prices[2:][3 - _MOST_PRICES :], more]

    def _priced(self, price: list[float]) -> tuple[list[float], list[float]]:
        """Prices of rows, and what at these guests are worth from each level on."""
        least = [
            min(sum(price[row] * a for row, a in takes) for takes in kind.takes) for kind in self._table.kinds
        ]
        later = [0.0]
        for kind, index in reversed(self._levels):
            later.append(later[-1] + max(0.0, self._table.kinds[kind].values[index] - least[kind]))
        return price, later[::-1]


def _hopeful(left: Sequence[float], cost: Sequence[float], need: float) -> bool:
    """Whether by all prices more can come of what is left than is needed."""
    return all(there - less >= need for there, less in zip(left, cost, strict=True))


def _shared(takes: Amounts, shared: Sequence[int], numbers: Mapping[int, int]) -> Amounts:
    found: Counter[int] = Counter()
    for row, amount in takes:
        found[numbers[shared[row]]] += amount
    return tuple(sorted(found.items()))


def _size(table: Table, kind: Kind) -> float:
    """The share of a whole that a guest takes."""
    return max(sum(amount / (table.room[row] or 1) for row, amount in takes) for takes in kind.takes)
