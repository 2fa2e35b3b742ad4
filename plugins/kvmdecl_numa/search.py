"""Packings that are better and better: quick passes in several orders, then parts emptied and filled again.

Nothing here looks at a clock or depends on the order of a set: the same question takes the same steps everywhere.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Literal

from kvmdecl_numa.bounds import Bounds
from kvmdecl_numa.fit import Taste
from kvmdecl_numa.moves import Moves
from kvmdecl_numa.sizes import Sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kvmdecl.api import Budget
    from kvmdecl_numa.fit import Fit
    from kvmdecl_numa.packing import Packing

Measure = Literal["prefix", "weight", "count"]

TASTES = (
    Taste("tight", "small"),
    Taste("even", "free"),
    Taste("tight", "free"),
    Taste("first", "free"),
    Taste("even", "full"),
    Taste("loose", "free"),
)
_PASSES = 2  # at least, and more while all of them together put no more guests than this:
_PUTS = 25_000
_MANY_HOSTS = 24
_CHOICES = 6  # of many hosts so many are looked at for each that is emptied
_FEW = 40  # missing guests that are tried at once
_LOSS = 1e9  # more than all weights
_GIFT = 20
_MANY_GUESTS = 1_000  # for each of which the effort is spent again
_STEPS_PER_GUEST = 4_000  # few guests have been tried in all ways long before the effort is spent
_TIE = 0.001  # less than any weight: of equal weights, more guests rather than fewer


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to search.

    Attributes:
        steps: how often a host is looked at for a guest, for each thing that is tried beyond the quick passes.
        stop: asked now and then; a clock there makes the answer depend on the machine.
    """

    steps: int = 100_000
    stop: Callable[[], bool] = lambda: False


class Search:
    """Guests that need a place, in order, and the best packing of them so far."""

    def __init__(self, packing: Packing, wanted: Sequence[int], effort: Effort, budget: Budget) -> None:
        self.packing = packing
        self.moves = Moves(packing, budget)
        self.wanted = list(wanted)
        # Of those that do not fit beside the residents alone no search makes anything.
        self.hopeless = packing.hopeless(wanted)
        self.effort = effort
        many = max(1, len(self.wanted) // _MANY_GUESTS)
        self._steps = min(effort.steps * many, _STEPS_PER_GUEST * len(self.wanted))
        self.sizes = Sizes(packing)
        self.bounds = Bounds(packing, self.wanted, moving=self.moves.possible)
        self._partial: dict[int, Fit] = {}
        self._random = random.Random(1)  # noqa: S311 - to try things in another order, the same each time

    # -- all, or as many of the first as can be ------------------------------------------------------------

    def all(self) -> bool:
        """Place all of them, if one of the quick passes does or a little mending after it."""
        if self._most() == len(self.wanted) and self._all_of(self.wanted):
            return True
        self._partial = self._mine()
        return False

    def prefix(self) -> int:
        """Place as many of the first as can be, and return how many; others may be placed, too."""
        self._in_order()
        count = self._length()
        best = self._mine()
        self.packing.restore(self._partial)
        if self._length() >= count:
            count, best = self._length(), self._partial
        most = self._most()
        step = max(1, len(self.wanted) // 8) if len(self.wanted) > 200 else 1
        while count < most and not self.effort.stop():
            target = min(most, count + step)
            if self._extend(target, best) if step == 1 else self._all_of(self.wanted[:target]):
                best, count = self._mine(), max(target, self._length())
            elif step == 1:
                break
            else:
                step //= 2
        self.packing.restore(best)
        return count

    def _most(self) -> int:
        """No more than so many of the first can be placed."""
        most = self.bounds.prefix(self.wanted)
        if self.moves.possible:
            return most
        return next((i for i, n in enumerate(self.wanted[:most]) if n in self.hopeless), most)

    def _mine(self) -> dict[int, Fit]:
        """Where the guests are that had no place before."""
        return {n: fit for n, fit in self.packing.fits.items() if n >= self.packing.residents}

    def _length(self) -> int:
        fits = self.packing.fits
        return next((i for i, n in enumerate(self.wanted) if n not in fits), len(self.wanted))

    def _in_order(self) -> None:
        best: Mapping[int, Fit] = {}
        longest = -1
        for taste in TASTES[:3]:
            self.packing.restore({})
            for number in self.wanted:
                if not self.packing.put(number, taste):
                    break
            if self._length() > longest:
                longest, best = self._length(), self._mine()
        self.packing.restore(best)

    def _extend(self, count: int, known: Mapping[int, Fit]) -> bool:
        """The first guests, those included that a known packing lacks."""
        first = set(self.wanted[:count])
        known = {number: fit for number, fit in known.items() if number in first}
        self.packing.restore(known)
        missing = [number for number in self.wanted[:count] if number not in known]
        if not self.hopeless.intersection(missing):
            if self._mend(missing) or self._all_of(self.wanted[:count]):
                return True
            self.packing.restore(known)
        return all(self.packing.put(number) or self.moves.make_room(number) for number in missing)

    def _all_of(self, wanted: Sequence[int]) -> bool:
        """All of these, in some order; others are taken out. If it fails, what came nearest is left in place."""
        best: tuple[float, dict[int, Fit], list[int]] = inf, {}, list(wanted)
        for taste, order in islice(self._passes(wanted), max(_PASSES, _PUTS // max(1, len(wanted)))):
            self.packing.restore({})
            missing = [number for number in order if not self.packing.put(number, taste)]
            if len(missing) <= 5:
                missing = [number for number in missing if not self._squeeze(number)]
            if not missing:
                return True
            if self.sizes.total(missing) < best[0]:
                best = self.sizes.total(missing), self._mine(), missing
            if self.effort.stop():
                break
        self.packing.restore(best[1])
        return not self.hopeless.intersection(best[2]) and self._mend(best[2])

    def _passes(self, wanted: Sequence[int]) -> Iterator[tuple[Taste, Sequence[int]]]:
        for taste in TASTES:
            yield taste, self._in_buckets(wanted)
            yield taste, wanted
        for taste in TASTES:
            yield taste, self._by_size(wanted)

    def _mend(self, missing: Sequence[int]) -> bool:
        """Make room for what is missing by emptying parts and filling them in other orders; nothing else is lost."""
        end = self.packing.steps + self._steps
        left = [number for number in missing if self.packing.steps >= end or not self._squeeze(number)]
        while left and self.packing.steps < end and not self.effort.stop():
            left = self._shake(left, self.sizes.total)
        return not left

    # -- the rest ------------------------------------------------------------------------------------------

    def fill(self, prefix: int, measure: Measure) -> None:
        """As much weight, or as many, as fit beside the first guests, which may change places but not go."""
        held = frozenset(self.wanted[:prefix])
        value = self._values(measure)
        worth = {n: (value[n] + _TIE) / self.sizes[n] for n in self.wanted}
        best_first = sorted(self.wanted, key=lambda n: (-worth[n], n))
        rest = [n for n in best_first if n not in held and n not in self.hopeless]
        # What fits beside the first guests is a gift; where weight is the goal it is worth a search.
        steps = self._steps // _GIFT if prefix else self._steps
        if not prefix:
            self._begin(rest, value)
        end = self.packing.steps + steps
        left = [n for n in rest if n not in self.packing.fits and not self._add(n, end)]
        goal = self.bounds.value({n: value[n] for n in rest}, held)

        def loss(lost: Iterable[int]) -> float:
            return sum(_LOSS if number in held else value[number] + _TIE for number in lost)

        total = sum(value[n] for n in rest)
        end = self.packing.steps + steps
        while left and self.packing.steps < end and not self.effort.stop():
            if total - sum(value[n] for n in left) >= goal:
                break
            left = self._shake(left, loss, worth)
        for number in best_first:
            if number not in self.packing.fits:
                _ = self.packing.put(number) or self.moves.make_room(number)
        self.moves.settle()

    def _begin(self, best_first: Sequence[int], value: Mapping[int, int]) -> None:
        """Begin with what was left when not all could be placed, or with those who are worth most: what is more."""
        self.packing.restore({})
        total = sum(value[number] for number in best_first if self.packing.put(number))
        if sum(value[number] for number in self._partial) > total:
            self.packing.restore(self._partial)

    def _add(self, number: int, end: int) -> bool:
        return self.packing.put(number) if self.packing.steps >= end else self._squeeze(number)

    def _values(self, measure: Measure) -> Mapping[int, int]:
        guests = self.packing.guests
        return {n: 1 if measure == "count" else guests[n].weight for n in self.wanted}

    # -- moves ---------------------------------------------------------------------------------------------

    def _squeeze(self, number: int) -> bool:
        """Put a guest where one other has to go to another place for it."""
        packing = self.packing
        if packing.put(number):
            return True
        tries = 0
        for place in self._some(packing.hosts_for(number), 24):
            for other in sorted(packing.hosts[place].guests, key=lambda n: (self.sizes[n], n)):
                tries += 1
                if tries > 400:
                    return False
                before = packing.remove(other)
                fit = packing.on(number, place)
                if fit is not None:
                    packing.give(number, fit)
                    if packing.put(other):
                        return True
                    packing.remove(number)
                packing.give(other, before)
        return False

    def _shake(
        self,
        missing: list[int],
        loss: Callable[[Iterable[int]], float],
        worth: Mapping[int, float] | None = None,
    ) -> list[int]:
        """Empty one host or a few, or a part of one, and fill them in another order. Keep it if nothing is lost."""
        packing = self.packing
        packing.steps += 1  # lest a search ends never in which nobody may be anywhere
        places = self._neighbours()
        share = self._random.choice((0.3, 0.6, 1.0)) if len(places) == 1 else 1.0
        out = [
            number
            for place in places
            for number in sorted(packing.hosts[place].guests)
            if share == 1.0 or self._random.random() < share
        ]
        before = {number: packing.remove(number) for number in out}
        few = self._some(missing, _FEW)
        taste = self._random.choice(TASTES)
        lost = [
            number
            for number in self._in_some_order([*out, *few], worth)
            if not self._put_within(number, places, taste)
        ]
        if loss(lost) <= loss(few):
            tried = set(few)
            return [*(number for number in missing if number not in tried), *lost]
        for number in (*out, *few):
            if number in packing.fits:
                packing.remove(number)
        for number, fit in before.items():
            packing.give(number, fit)
        return missing

    def _put_within(self, number: int, places: Sequence[int], taste: Taste) -> bool:
        for place in places:
            fit = self.packing.on(number, place, taste)
            if fit is not None:
                self.packing.give(number, fit)
                return True
        return False

    def _neighbours(self) -> Sequence[int]:
        hosts = self.packing.hosts
        many = min(len(hosts), self._random.choice((1, 2, 2, 3)))
        if len(hosts) <= _MANY_HOSTS:
            return self._random.sample(range(len(hosts)), many)
        # Most hosts are full: those are worth a look of which something is left.
        some = self._random.sample(range(len(hosts)), _CHOICES * many)
        return sorted(some, key=lambda place: (-hosts[place].left, place))[:many]

    def _some(self, numbers: Sequence[int], most: int) -> Sequence[int]:
        return numbers if len(numbers) <= most else sorted(self._random.sample(numbers, most))

    # -- orders --------------------------------------------------------------------------------------------

    def _in_some_order(self, numbers: list[int], worth: Mapping[int, float] | None) -> list[int]:
        kind = self._random.random()
        if kind >= 0.8:
            self._random.shuffle(numbers)
            return numbers
        by = self.sizes if kind < 0.4 or worth is None else worth
        noisy = {number: by[number] * self._random.uniform(0.6, 1.6) for number in numbers}
        return sorted(numbers, key=lambda n: (-noisy[n], n))

    def _by_size(self, numbers: Sequence[int]) -> list[int]:
        return sorted(numbers, key=lambda n: (-self.sizes[n], n))

    def _in_buckets(self, numbers: Sequence[int]) -> list[int]:
        """Halving sizes, each shuffled: equal guests in a row would fill a cell and strand its other pages."""
        buckets: dict[int, list[int]] = {}
        largest = max((self.sizes[number] for number in numbers), default=1.0)
        for number in numbers:
            bucket = 0
            while self.sizes[number] <= largest / 2 ** (bucket + 1) and bucket < 12:
                bucket += 1
            buckets.setdefault(bucket, []).append(number)
        found: list[int] = []
        for bucket in sorted(buckets):
            self._random.shuffle(buckets[bucket])
            found += buckets[bucket]
        return found
