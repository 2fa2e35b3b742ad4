"""Make room for a guest by moving guests that have a place: as little as will do, and never beyond the budget."""

from __future__ import annotations

from itertools import chain, combinations, islice
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl_numa.packing import TIGHT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Budget, Place
    from kvmdecl_numa.fit import Fit
    from kvmdecl_numa.packing import Packing
    from kvmdecl_numa.rooms import HostLeft

_MOST_TRIES = 1_000  # for one guest
_MOST_TRIES_IN_ALL = 4_000


class Cost(NamedTuple):
    """How many guests go to another host, to other cells, and to other CPUs: less is better, in this order."""

    hosts: int = 0
    cells: int = 0
    pins: int = 0

    def plus(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(self.hosts + other.hosts, self.cells + other.cells, self.pins + other.pins)


_NOTHING, _REPIN, _CELL, _HOST = Cost(), Cost(pins=1), Cost(cells=1), Cost(hosts=1)


class _Step(NamedTuple):
    """A guest gets a place on a host, and some that are there go elsewhere."""

    number: int
    place: int
    gone: tuple[int, ...]


class Moves:
    """The moves that were made so far."""

    def __init__(self, packing: Packing, budget: Budget) -> None:
        self._packing = packing
        self._budget = budget
        self._costs: dict[int, Cost] = {}
        self._origins: dict[int, Place] = {}
        self._tries = _MOST_TRIES_IN_ALL
        self._movable_at_all = any(not packing.guests[number].fixed for number in packing.places)

    @property
    def possible(self) -> bool:
        """Whether anybody may be moved."""
        return self._movable_at_all and any(map(self._affords, (_REPIN, _CELL, _HOST)))

    def movable(self) -> list[int]:
        """All guests that may be moved, were the budget without end."""
        if not self.possible:
            return []
        return [number for host in self._packing.hosts for number in self._movable(host)]

    @property
    def cost(self) -> Cost:
        """Of all moves."""
        total = _NOTHING
        for cost in self._costs.values():
            total = total.plus(cost)
        return total

    def make_room(self, number: int) -> bool:
        """Place a guest for which there is no room, at the least cost that was found."""
        best: tuple[Cost, _Step] | None = None
        if self.possible:
            for step in islice(self._steps(number), min(_MOST_TRIES, self._tries)):
                self._tries -= 1
                if best is not None and len(step.gone) > len(best[1].gone):
                    break
                cost = self._try(step)
                if cost is None:
                    continue
                self._undo(step)
                if best is None or cost < best[0]:
                    best = cost, step
                if best[0] == _REPIN:
                    break
        return best is not None and self._try(best[1]) is not None

    def settle(self) -> None:
        """Move back whoever need not have been moved."""
        for number in sorted(self._costs, key=lambda number: (self._costs[number], number), reverse=True):
            fit = self._packing.remove(number)
            if self._packing.keep(number, self._origins[number]):
                del self._costs[number], self._origins[number]
            else:
                self._packing.give(number, fit)

    def _affords(self, more: Cost) -> bool:
        total, budget = self.cost.plus(more), self._budget
        limits = (budget.host_moves, budget.cell_moves, budget.repins)
        return all(limit is None or spent <= limit for spent, limit in zip(total, limits, strict=True))

    def _steps(self, number: int) -> Iterator[_Step]:
        """One guest has to go, on any host; then two on one host."""
        hosts = [self._packing.hosts[place] for place in self._packing.hosts_for(number)]
        movable = [(host.number, held) for host in hosts if (held := self._movable(host))]
        movable = [(place, held) for place, held in movable if self._would_do(number, place, held)]
        alone = (_Step(number, place, (one,)) for place, held in movable for one in held)
        pairs = (_Step(number, place, two) for place, held in movable for two in combinations(held, 2))
        return chain(alone, pairs)

    def _would_do(self, number: int, place: int, gone: list[int]) -> bool:
        """Whether a guest fit on a host if all of these were gone."""
        origins = {other: self._packing.release(other) for other in gone}
        fits = self._packing.on(number, place) is not None
        for other, origin in origins.items():
            self._packing.put_back(other, origin)
        return fits

    def _movable(self, host: HostLeft) -> list[int]:
        """Guests that may be moved, and are where there are such cells still."""
        guests, places = self._packing.guests, self._packing.places
        return [
            number
            for number in sorted(host.held)
            if not guests[number].fixed and all(cell.home in host.by_id for cell in places[number].cells)
        ]

    def _try(self, step: _Step) -> Cost | None:
        """Take a step if it can be taken, and return what it costs."""
        packing = self._packing
        for number in step.gone:
            self._origins[number] = packing.release(number)
        fit = packing.on(step.number, step.place)
        total = _NOTHING
        if fit is not None:
            packing.give(step.number, fit)
            for number in step.gone:
                found = self._elsewhere(number, step.place)
                if found is None:
                    break
                self._costs[number], moved = found
                total = total.plus(self._costs[number])
                packing.give(number, moved)
            else:
                return total
        self._undo(step)
        return None

    def _undo(self, step: _Step) -> None:
        for number in (step.number, *step.gone):
            if number in self._packing.fits:
                self._packing.remove(number)
        for number in step.gone:
            self._costs.pop(number, None)
            self._packing.put_back(number, self._origins.pop(number))

    def _elsewhere(self, number: int, place: int) -> tuple[Cost, Fit] | None:
        """The nearest place for a guest that has to leave its own."""
        packing, origin = self._packing, self._origins[number]
        if self._affords(_REPIN) and (fit := packing.near(number, origin, there=True)):
            return _REPIN, fit
        if self._affords(_CELL) and (fit := packing.near(number, origin, there=False)):
            return _CELL, fit
        if self._affords(_HOST) and (fit := packing.search(number, TIGHT, avoid=place)):
            return _HOST, fit
        return None
