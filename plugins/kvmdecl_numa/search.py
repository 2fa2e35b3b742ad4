"""Packings that are better and better: quick passes in several orders, then parts emptied and filled again.

Nothing here looks at a clock or depends on the order of a set: the same question takes the same steps everywhere.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Literal

from kvmdecl_numa.bounds import Bounds
from kvmdecl_numa.exhaust import MOST_GUESTS, Exhaust
from kvmdecl_numa.fit import Taste
from kvmdecl_numa.layers import MOST_HOSTS, best
from kvmdecl_numa.moves import Moves
from kvmdecl_numa.relaxed import Relaxed
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
_PUTS = 45_000
_MANY_HOSTS = 24
_BRIEFLY = 10  # the part of the steps that is spent on what is tried again otherwise
_LAYERED = 10  # the part that all packings of a host or two are looked at for at once
_LONGER = 4  # times as long a host or two are searched where it is not proved that nothing better is
_GIFT = 40  # the part that is spent on what nobody asked for
_SQUEEZED = 5  # missing guests, for each of which it is tried to move one other
_PREFIX = 3  # times the steps of one search for as many of the first as can be
_CHOICES = 6  # of many hosts so many are looked at for each that is emptied
_FEW = 40  # missing guests that are tried at once
_LOSS = 1e9  # more than all weights
_POWERS = (1.0, 0.5, 0.0)  # of its size by which the value of a guest is divided
_MANY_GUESTS = 2_000  # for each of which the effort is spent again
_STEPS_PER_GUEST = 8_000  # few guests have been tried in all ways long before the effort is spent
_TIE = 0.001  # less than any weight: of equal weights, more guests rather than fewer


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to search.

    Attributes:
        steps: how often a cell of a host is looked at for one of a guest, for each thing that is tried beyond
            the quick passes.
        stop: asked now and then; a clock there makes the answer depend on the machine.
        all_or_none: whether nobody wants a packing that lacks a guest.
    """

    steps: int = 200_000
    stop: Callable[[], bool] = lambda: False
    all_or_none: bool = False


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
        self._briefly = self._steps // _BRIEFLY
        self.sizes = Sizes(packing)
        self.bounds = Bounds(packing, self.wanted, moving=self.moves.possible)
        self._end = inf
        self._too_much: set[int] = set()  # of the first guests for all ways to be tried
        self._hosts = sorted({place for number in self.wanted for place in packing.hosts_for(number)})
        self._relaxed_fits: dict[int, bool] = {}  # by how many of the first guests
        self._partial: dict[int, Fit] = {}
        self._random = random.Random(1)  # noqa: S311 - to try things in another order, the same each time

    # -- all, or as many of the first as can be ------------------------------------------------------------

    def all(self) -> bool:
        """Place all of them, if one of the quick passes does or a little mending after it."""
        if self._by_sums() == len(self.wanted) and self._all_of(self.wanted, self._steps):
            return True
        self._partial = self._mine()
        return False

    def prefix(self) -> int:
        """Place as many of the first as can be, and return how many; others may be placed, too."""
        most = self.relaxed.prefix(self.wanted, self._by_sums())
        self._end = self.packing.steps + _PREFIX * self._steps
        self._begin_with_the_first(most)
        count, best = self._length(), self._mine()
        step = max(1, (most - count) // 8)
        while count < most and not self.effort.stop():
            target = min(most, count + step)
            if self._extend(target, best) if step == 1 else self._all_of(self.wanted[:target], self._briefly):
                best, count = self._mine(), max(target, self._length())
            elif step == 1:
                break
            else:
                step //= 2
        self.packing.restore(best)
        return count

    def _begin_with_the_first(self, most: int) -> None:
        """The longest of what came nearest to all, the same without some of the last, and one after the other."""
        self.packing.restore(self._partial)
        missing = [number for number in self.wanted[:most] if number not in self._partial]
        best = self._length(), self._partial
        back = 2 * len(missing)
        while self._partial and back < most // 8 and not self._without(self.wanted[: most - back]):
            back *= 2
        best = max(best, (self._length(), self._mine()), key=lambda known: known[0])
        order = self._gathered(self.wanted)
        for taste in TASTES[:3]:
            if self.effort.stop() or best[0] >= most - back:
                break
            self.packing.restore({})
            for number in order:
                if not self.packing.put(number, taste):
                    break
            best = max(best, (self._length(), self._mine()), key=lambda known: known[0])
        self.packing.restore(best[1])

    def _without(self, first: Sequence[int]) -> bool:
        """These of what came nearest to all of them: the others leave room for who is missing."""
        self.packing.restore({number: self._partial[number] for number in first if number in self._partial})
        return self._mend([number for number in first if number not in self._partial], self._briefly)

    @cached_property
    def relaxed(self) -> Relaxed:
        """What no packing surpasses, from where only those are placed that were before."""
        packing, mine = self.packing, self._mine()
        packing.restore({})
        movable = self.moves.movable()
        before = {number: packing.release(number) for number in movable}
        relaxed = Relaxed(packing, self.wanted, movable)
        for number, place in before.items():
            packing.put_back(number, place)
        packing.restore(mine)
        return relaxed

    def _by_sums(self) -> int:
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

    def _extend(self, count: int, known: Mapping[int, Fit]) -> bool:
        """The first guests, those included that a known packing lacks."""
        first = self.wanted[:count]
        if (fits := self._exhaust(first)) is not None:
            return fits
        if (fits := self._in_layers(first)) is not None:
            return fits
        missing = [number for number in first if number not in known]
        known = {number: known[number] for number in first if number in known}
        self.packing.restore(known)
        if not self.hopeless.intersection(missing):
            if self._mend(missing, self._steps) or self._mend(self._nearest(first), self._steps):
                return True
            self.packing.restore(known)
        return all(self.packing.put(number) or self.moves.make_room(number) for number in missing)

    def _all_of(self, wanted: Sequence[int], steps: int) -> bool:
        """All of these, in some order; others are taken out. If it fails, what came nearest is left in place."""
        missing = self._nearest(wanted)
        if len(missing) > _FEW + len(wanted) // _FEW:
            return False
        if missing and not self._may_fit(wanted):
            return False
        if missing and (fits := self._exhaust(wanted)) is not None:
            return fits
        return not self.hopeless.intersection(missing) and self._mend(missing, steps)

    def _may_fit(self, wanted: Sequence[int]) -> bool:
        """Whether it is worth while to look for a way to place all of the first guests."""
        if len(wanted) not in self._relaxed_fits:
            self._relaxed_fits[len(wanted)] = self.relaxed.fits(wanted)
        return self._relaxed_fits[len(wanted)]

    def _nearest(self, wanted: Sequence[int]) -> Sequence[int]:
        """The best of quick passes in several orders, and who has no place in it."""
        puts = _PUTS // 4 if self.effort.all_or_none else _PUTS
        best: tuple[float, dict[int, Fit], list[int]] = inf, {}, list(wanted)
        for taste, order in islice(self._passes(wanted), max(_PASSES, puts // max(1, len(wanted)))):
            self.packing.restore({})
            missing = [number for number in order if not self.packing.put(number, taste)]
            if len(missing) <= _SQUEEZED:
                missing = self._unsqueezed(missing)
            if not missing:
                return ()
            if self.sizes.total(missing) < best[0]:
                best = self.sizes.total(missing), self._mine(), missing
            if self.effort.stop() or self.packing.steps >= self._end:
                break
            if self.effort.all_or_none and not self._may_fit(wanted):
                break
        self.packing.restore(best[1])
        return best[2]

    def _exhaust(self, wanted: Sequence[int]) -> bool | None:
        """All of these in any way at all; None if that is too much to find out. If not True all stays as it was."""
        few = len(wanted) <= MOST_GUESTS and len(self._hosts) <= MOST_HOSTS
        if self.moves.possible or not few or len(wanted) in self._too_much:
            return None
        before = self._mine()
        self.packing.restore({})
        fits = Exhaust(self.packing, self.sizes, wanted, self._briefly).fits()
        if fits is None:
            self._too_much.add(len(wanted))
        if not fits:
            self.packing.restore(before)
        return fits

    def _in_layers(self, wanted: Sequence[int]) -> bool | None:
        """As `_exhaust`: quicker where little has to be left out, slower to find a way where there are many."""
        if self.moves.possible or len(self._hosts) > MOST_HOSTS:
            return None
        known = self._mine()
        proved = self._by_layers(dict.fromkeys(wanted, 1), frozenset(), len(wanted) - 1)
        if self._mine().keys() >= set(wanted):
            return True
        self.packing.restore(known)
        return False if proved else None

    def _passes(self, wanted: Sequence[int]) -> Iterator[tuple[Taste, Sequence[int]]]:
        for taste in TASTES:
            yield taste, self._gathered(self._in_buckets(wanted))
            yield taste, self._gathered(wanted)
        for taste in TASTES:
            yield taste, self._gathered(self._by_size(wanted))

    def _mend(self, missing: Sequence[int], steps: int) -> bool:
        """Make room for what is missing by emptying parts and filling them in other orders; nothing else is lost."""
        end = min(self.packing.steps + steps, self._end)
        left = list(missing) if len(missing) > _SQUEEZED else self._unsqueezed(missing)
        while left and self.packing.steps < end and not self.effort.stop():
            left = self._shake(left, self.sizes.total)
        return not left

    # -- the rest ------------------------------------------------------------------------------------------

    def fill(self, prefix: int, measure: Measure) -> None:
        """As much weight, or as many, as fit beside the first guests, which may change places but not go."""
        held = frozenset(self.wanted[:prefix])
        value = self._values(measure)
        worth: Mapping[int, float] = {n: (value[n] + _TIE) / self.sizes[n] for n in self.wanted}
        best_first = sorted(self.wanted, key=lambda n: (-worth[n], n))
        rest = [n for n in best_first if n not in held and n not in self.hopeless]
        # What fits beside the first guests is a gift; where weight is the goal it is worth a search.
        steps = self._steps // _GIFT if prefix else self._steps
        if not prefix:
            self._begin(rest, value)
        end = self.packing.steps + steps
        left = [n for n in rest if n not in self.packing.fits and not self._add(n, end)]
        total = sum(value[n] for n in rest)
        known = total - sum(value[n] for n in left)
        goal = self._goal({n: value[n] for n in rest}, held, known)
        if known < goal:
            worth = self._by_price(value, worth)

        def loss(lost: Iterable[int]) -> float:
            return sum(_LOSS if number in held else value[number] + _TIE for number in lost)

        def shaken(left: list[int], steps: int) -> list[int]:
            end = self.packing.steps + steps
            while left and self.packing.steps < end and not self.effort.stop():
                if total - sum(value[n] for n in left) >= goal:
                    break
                left = self._shake(left, loss, worth)
            return left

        briefly = min(steps, self._briefly)
        left = shaken(left, briefly)
        known = total - sum(value[n] for n in left)
        if known < goal and not prefix and self._by_layers({n: value[n] for n in rest}, held, known):
            goal = known  # or what is better now
        if not prefix and len(self._hosts) <= MOST_HOSTS:
            steps *= _LONGER
        left = shaken([n for n in rest if n not in self.packing.fits], steps - briefly)
        for number in best_first:
            if number not in self.packing.fits:
                _ = self.packing.put(number) or self.moves.make_room(number)
        self.moves.settle()

    def _by_layers(self, values: Mapping[int, int], held: frozenset[int], known: int) -> bool:
        """Try all packings of a host or two; whether that proved that none is better than what is in place now."""
        if len(self._hosts) > MOST_HOSTS or self.effort.stop():
            return False
        before = self._mine()
        self.packing.restore({})
        found = best(self.packing, values, held, known, self._steps // _LAYERED, self.effort.stop)
        self.packing.restore(before if found is None or found.fits is None else found.fits)
        return found is not None and found.proved and not self.moves.possible

    def _by_price(self, value: Mapping[int, int], worth: Mapping[int, float]) -> Mapping[int, float]:
        """What guests are worth for the price of their room, where there is one: who costs more is rather left out."""
        prices = self.relaxed.prices
        kinds = {n: self.packing.kind(n) for n in worth}
        return {
            n: (value[n] + _TIE) / (prices[kinds[n]] + 0.01 * self.sizes[n])
            if kinds[n] in prices
            else worth[n]
            for n in worth
        }

    def _goal(self, values: Mapping[int, int], held: frozenset[int], known: int) -> int:
        """What guests can be worth at most beside those held; `known` is what they are."""
        most = self.bounds.value(values, held)
        return (
            most
            if most <= known or self.effort.stop()
            else min(most, self.relaxed.value(values, held, known))
        )

    def _begin(self, rest: Sequence[int], value: Mapping[int, int]) -> None:
        """Begin with what was nearest to all, or with those first who are worth most for their size, or at all."""
        best = sum(value[number] for number in self._partial), self._partial
        for power in _POWERS:
            self.packing.restore({})
            by = {number: value[number] / self.sizes[number] ** power for number in rest}
            order = sorted(rest, key=lambda n: (-by[n], n))
            total = sum(value[number] for number in order if self.packing.put(number))
            if total > best[0]:
                best = total, self._mine()
        self.packing.restore(best[1])

    def _add(self, number: int, end: int) -> bool:
        return self.packing.put(number) if self.packing.steps >= end else self._squeeze(number)

    def _values(self, measure: Measure) -> Mapping[int, int]:
        guests = self.packing.guests
        return {n: 1 if measure == "count" else guests[n].weight for n in self.wanted}

    # -- moves ---------------------------------------------------------------------------------------------

    def _unsqueezed(self, missing: Iterable[int]) -> list[int]:
        return [number for number in missing if not self._squeeze(number)]

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
        places = self._neighbours(self._random.choice(missing))
        share = self._random.choice((0.3, 0.6, 1.0)) if len(places) == 1 else 1.0
        out = [
            number
            for place in places
            for number in sorted(packing.hosts[place].guests)
            if share == 1.0 or self._random.random() < share
        ]
        before = {number: packing.remove(number) for number in out}
        few = self._some(missing, _FEW)
        packing.steps += len(out) + len(few)  # though nobody may be anywhere here
        taste = self._random.choice(TASTES)
        lost = self._put_within(self._in_some_order([*out, *few], worth), places, taste)
        if loss(lost) <= loss(few):
            tried = set(few)
            return [*(number for number in missing if number not in tried), *lost]
        for number in (*out, *few):
            if number in packing.fits:
                packing.remove(number)
        for number, fit in before.items():
            packing.give(number, fit)
        return missing

    def _put_within(self, numbers: Iterable[int], places: Sequence[int], taste: Taste) -> list[int]:
        """Put guests on these hosts, and return those that do not fit. One of a kind did not: no other does."""
        packing = self.packing
        full: set[int] = set()
        lost = []
        for number in numbers:
            kind = packing.kind(number)
            fit = None
            if kind not in full:
                fits = (packing.on(number, place, taste) for place in places)
                fit = next((fit for fit in fits if fit is not None), None)
            if fit is not None:
                packing.give(number, fit)
                continue
            lost.append(number)
            if number not in packing.groups:
                full.add(kind)
        return lost

    def _neighbours(self, number: int) -> Sequence[int]:
        """A few hosts; this guest may be on the first."""
        hosts = self._hosts or range(len(self.packing.hosts))
        mine = self.packing.hosts_for(number) or hosts
        more = self._random.choice((0, 1, 1, 2))
        return list(dict.fromkeys(map(self._with_room, (mine, *([hosts] * more)))))

    def _with_room(self, places: Sequence[int]) -> int:
        """Any host of a few; of many, most of which are full, rather one of which something is left."""
        hosts = self.packing.hosts
        if len(hosts) <= _MANY_HOSTS:
            return self._random.choice(places)
        return max(self._some(places, _CHOICES), key=lambda place: hosts[place].left)

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

    def _gathered(self, numbers: Sequence[int]) -> Sequence[int]:
        """Those that are kept together follow the first of them: later their place would be taken."""
        order = dict.fromkeys(
            each for number in numbers for each in (number, *self.packing.groups.followers(number))
        )
        asked = set(numbers)
        return [number for number in order if number in asked]

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
