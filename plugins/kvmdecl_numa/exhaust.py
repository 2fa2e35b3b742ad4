"""Whether some guests fit at all: all ways are tried, but one of those that come to the same.

For few guests on few hosts, and where only little is left it is quick.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from kvmdecl_numa.fit import fit_of, near_enough, pages_for, rank
from kvmdecl_numa.packing import TIGHT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmdecl_numa.fit import Fit
    from kvmdecl_numa.packing import Packing
    from kvmdecl_numa.rooms import CellLeft, HostLeft
    from kvmdecl_numa.sizes import Sizes
    from kvmdecl_numa.wants import CellWant, Want

MOST_GUESTS = 200  # a level of the search each


class Exhaust:
    """A search depth first, largest guests first, that remembers what was left of hosts where it led nowhere."""

    def __init__(self, packing: Packing, sizes: Sizes, guests: Sequence[int], limit: int) -> None:
        self._packing = packing
        self._guests = sorted(guests, key=lambda n: (-sizes[n], packing.kind(n), n))
        self._end = packing.steps + limit
        self._hosts = sorted({place for n in guests for place in packing.hosts_for(n)})
        self._grouped = [n for n in self._guests if n in packing.groups]
        self._dead: set[tuple[object, ...]] = set()
        wants = [packing.wants[n] for n in guests]
        # Which devices a guest has, and how it lies across cells, is not tried in all ways.
        self._all_ways = not any(want.shape.devices or want.shape.spills for want in wants)
        # To guests of one cell it is all the same how far the others are.
        self._alike = self._all_ways and all(len(want.cells) == 1 for want in wants)

    def fits(self) -> bool | None:
        """Place all of them, or none if they do not fit; None if that was not found out."""
        found = self._from(0)
        return None if found is False and not self._all_ways else found

    def _from(self, index: int) -> bool | None:
        packing = self._packing
        if index == len(self._guests):
            return True
        if packing.steps > self._end:
            return None
        state = index, self._state()
        if state in self._dead:
            return False
        number = self._guests[index]
        for fit in self._ways(number):
            packing.give(number, fit)
            found = self._from(index + 1)
            if found is True:
                return True
            packing.remove(number)
            if found is None:
                return None
        self._dead.add(state)
        return False

    def _ways(self, number: int) -> Sequence[Fit]:
        packing, want = self._packing, self._packing.wants[number]
        found: list[tuple[float, Fit]] = []
        for place in packing.hosts_for(number):
            host = packing.hosts[place]
            if packing.groups.allow(number, place) and len(want.cells) <= len(host.cells):
                packing.steps += max(1, len(want.cells) * len(host.cells))
                found += self._distinct(host, ways(host, want))
            if want.shape.spills and (across := packing.on(number, place)) is not None:
                found.append((0.0, across))
        misses = {place: packing.groups.misses(number, place) for place in packing.hosts_for(number)}
        return [fit for _, fit in sorted(found, key=lambda way: (misses[way[1].host], way[0]))]

    def _distinct(self, host: HostLeft, found: Iterator[tuple[float, Fit]]) -> Iterator[tuple[float, Fit]]:
        if not self._alike:
            yield from found
            return
        seen = set()
        for cost, fit in found:
            key = _left(host.cells[fit.homes[0]]), fit.pages
            if key not in seen:
                seen.add(key)
                yield cost, fit

    def _state(self) -> tuple[object, ...]:
        """What is left, such that equal cells are the same."""
        hosts = []
        for place in self._hosts:
            host = self._packing.hosts[place]
            cells = [_left(left) for left in host.cells]
            self._packing.steps += len(cells)
            if self._alike:
                cells.sort()
            hosts.append((*cells, host.memory, frozenset(host.owners)))
        fits = self._packing.fits
        return *hosts, *(fits[n].host if n in fits else None for n in self._grouped)


def ways(host: HostLeft, want: Want) -> Iterator[tuple[float, Fit]]:
    """All homes for the cells of a guest on a host, with all pages, and how good they are: less is better."""
    for bearer in range(len(want.cells) if want.extras else 1):
        options = [
            _options(host, want, want.bearing[number] if number == bearer else cell)
            for number, cell in enumerate(want.cells)
        ]
        for homes in _homes(host, want, options):
            for chosen in product(*(options[number][home] for number, home in enumerate(homes))):
                fit = fit_of(host, want, homes, tuple(page for _, page in chosen), bearer)
                if fit is not None:
                    yield sum(cost for cost, _ in chosen), fit


def _options(host: HostLeft, want: Want, cell: CellWant) -> Mapping[int, Sequence[tuple[float, int]]]:
    found = {}
    for left in host.cells:
        if left.has(cell) and (pages := pages_for(host, left, want, cell)):
            found[left.number] = [(rank(left, want, cell, page, TIGHT), page) for page in pages]
    return found


def _homes(
    host: HostLeft, want: Want, options: Sequence[Mapping[int, object]], chosen: tuple[int, ...] = ()
) -> Iterator[tuple[int, ...]]:
    if len(chosen) == len(options):
        yield chosen
        return
    for home in options[len(chosen)]:
        if home not in chosen and near_enough(host, want, home, chosen):
            yield from _homes(host, want, options, (*chosen, home))


def _left(cell: CellLeft) -> tuple[object, ...]:
    spent = cell.spent()
    return (
        cell.free_cpus,
        cell.free_pairs,
        max(0, cell.sole - cell.isolated),
        cell.whole - spent,
        cell.per_core,
        cell.has_pairs,
        cell.most_floating - cell.floating,
        len(cell.cell.shared),
        cell.devices,
        *cell.pools.items(),
    )
