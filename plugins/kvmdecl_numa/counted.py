"""A request as numbers of guests of each kind and their ways, and such numbers as an answer."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from kvmdecl.api import PlaceAnswer
from kvmdecl_numa.ordinary import Company, place_ordinary
from kvmdecl_numa.reasons import reasons
from kvmdecl_numa.rooms import MIB
from kvmdecl_numa.solver import charged, packing_of, places_of, rooms_beside
from kvmdecl_numa.ways import (
    HOST,
    MEMORY,
    Way,
    bundles,
    devices_of,
    exclusions,
    fit_of,
    only_memory,
    way_of,
    ways,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmdecl.api import Group, PlaceRequest
    from kvmdecl_numa.rooms import CellLeft
    from kvmdecl_numa.search import Measure
    from kvmdecl_numa.ways import Bundle, Resource


@dataclass(frozen=True, slots=True)
class Kind:
    """Guests that are alike: in what they want, their candidates and their groups.

    Attributes:
        members: their numbers in the request, in order, and `weights` of each.
        ways: in which any of them can be placed.
        likely: how many of them were placed in which way before.
        groups: numbers of those that they are members of.
    """

    members: Sequence[int]
    weights: Sequence[int]
    ways: Sequence[Way]
    likely: Mapping[int, int]
    groups: Sequence[int]


@dataclass(frozen=True, slots=True)
class Room:
    """What there is for guests.

    Attributes:
        amounts: by host and resource, but for what is had of cores.
        cells: by host and cell.
        groups: and for each the value of its label on each host (`values`), and how many of it are there already.
    """

    amounts: Mapping[tuple[int, Resource], int]
    cells: Mapping[tuple[int, int], CellLeft]
    groups: Sequence[Group]
    values: Sequence[Sequence[str | None]]
    there: Sequence[Counter[str | None]]


class Counted:
    """A request, with an answer to begin with; residents are where that leaves them.

    Attributes:
        size: how many ways there are, roughly.
        complete: whether `kinds` know all of them, and what counts rule out is ruled out. While guests are moved it is
            not, and where a core has more than two threads, counts are on the safe side.
    """

    def __init__(self, request: PlaceRequest, answer: PlaceAnswer, measure: Measure) -> None:
        residents = tuple(replace(vm, place=answer.places[vm.name]) for vm in request.residents)
        self._request = replace(request, residents=residents)
        self._answer = answer
        self._measure = measure
        self._where = {vm.name: vm.place.host for vm in residents if vm.place is not None}
        self._others = {vm.name: self._where[vm.name] for vm in residents if vm.shape is None}
        self._packing = packing_of(self._request, request.vms, self._others)
        numbers = {vm.name: number for number, vm in enumerate(self._packing.guests)}
        self._numbers = [numbers.get(vm.name) for vm in request.vms]
        self._by_name = {room.name: number for number, room in enumerate(request.hosts)}
        self._bundles = [bundles(host) for host in self._packing.hosts]
        self._families = self._alike()
        cells = [max(1, len(room.cells)) for room in request.hosts]
        self.size = sum(cells[place] for members, _ in self._families for place in self._hosts(members[0]))
        few = all(left.per_core <= 2 for host in self._packing.hosts for left in host.cells)
        self.complete = few and not _may_move(request)

    def _alike(self) -> list[tuple[list[int], tuple[int, ...]]]:
        """Members of each kind, and their groups."""
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for index, group in enumerate(self._request.groups):
            for name in group.members:
                groups[name].append(index)
        found: dict[object, tuple[list[int], tuple[int, ...]]] = {}
        for position, vm in enumerate(self._request.vms):
            mine, number = tuple(groups.get(vm.name, ())), self._numbers[position]
            what: object = (
                (vm.memory, vm.candidates) if number is None else id(self._packing.hosts_for(number))
            )
            found.setdefault((what, mine), ([], mine))[0].append(position)
        return list(found.values())

    def _hosts(self, position: int) -> Sequence[int]:
        number = self._numbers[position]
        if number is not None:
            return self._packing.hosts_for(number)
        names = self._request.vms[position].candidates
        return [self._by_name[name] for name in names if name in self._by_name]

    # -- a request as numbers ------------------------------------------------------------------------------

    @cached_property
    def kinds(self) -> Sequence[Kind]:
        """All vms of the request."""
        return [self._kind(members, groups) for members, groups in self._families]

    def _kind(self, members: Sequence[int], groups: Sequence[int]) -> Kind:
        found = {_key(way): way for place in self._hosts(members[0]) for way in self._ways(members[0], place)}
        likely: Counter[tuple[int, frozenset[tuple[Resource, int]]]] = Counter()
        for position in members:
            way = self._taken(position)
            if way is not None:
                found.setdefault(_key(way), way)
                likely[_key(way)] += 1
        places = {key: index for index, key in enumerate(found)}
        weights = [1 if self._measure == "count" else self._request.vms[n].weight for n in members]
        likely_ways = {places[key]: count for key, count in likely.items()}
        return Kind(members, weights, tuple(found.values()), likely_ways, groups)

    def _ways(self, position: int, place: int) -> Sequence[Way]:
        number = self._numbers[position]
        if number is None:
            return [only_memory(place, self._request.vms[position].memory)]
        found = ways(self._packing.hosts[place], self._packing.wants[number])
        self.complete = self.complete and found.complete
        return found.ways

    def _taken(self, position: int) -> Way | None:
        """The way in which a vm is placed so far."""
        vm, number = self._request.vms[position], self._numbers[position]
        if vm.name not in self._answer.hosts:
            return None
        place = self._by_name[self._answer.hosts[vm.name]]
        if number is None:
            return only_memory(place, vm.memory)
        host, want = self._packing.hosts[place], self._packing.wants[number]
        return way_of(host, want, fit_of(host, self._answer.places[vm.name]), self._bundles[place])

    @cached_property
    def room(self) -> Room:
        """All hosts, beside residents."""
        amounts: dict[tuple[int, Resource], int] = {}
        for host in self._packing.hosts:
            room = host.room
            free = room.memory - room.used_memory - host.ordinary_taken * MIB
            amounts[host.number, (HOST, MEMORY)] = max(0, free)
            for bundle, count in Counter(self._bundles[host.number].values()).items():
                amounts[host.number, (HOST, bundle)] = count
            amounts.update(((host.number, (HOST, pair)), 1) for pair in exclusions(host))
            for left in host.cells:
                amounts[host.number, (left.number, "floating")] = max(0, left.most_floating - left.floating)
                for page, amount in left.pools.items():
                    amounts[host.number, (left.number, page)] = max(0, amount)
        cells = {(host.number, left.number): left for host in self._packing.hosts for left in host.cells}
        values = [
            [
                room.name if group.scope == "host" else room.labels.get(group.scope)
                for room in self._request.hosts
            ]
            for group in self._request.groups
        ]
        there = [
            Counter(of[self._by_name[self._where[name]]] for name in group.members & self._where.keys())
            for group, of in zip(self._request.groups, values, strict=True)
        ]
        return Room(amounts, cells, self._request.groups, values, there)

    # -- numbers as an answer ------------------------------------------------------------------------------

    def answer(self, members: Sequence[Sequence[int]], counts: Sequence[Sequence[int]]) -> PlaceAnswer:
        """Those members of each kind that are placed, in ways of which there are so many."""
        found: dict[str, str] = {}
        free = self._free()
        for kind, placed, numbers in zip(self.kinds, members, counts, strict=True):
            taken = (way for way, count in zip(kind.ways, numbers, strict=True) for _ in range(count))
            for position, way in zip(placed, taken, strict=True):
                number, host = self._numbers[position], way.fit.host
                found[self._request.vms[position].name] = self._request.hosts[host].name
                if number is not None:
                    groups = [free[host, bundle].pop(0) for bundle in way.bundles]
                    devices = devices_of(self._packing.hosts[host], way, groups)
                    self._packing.give(number, way.fit._replace(devices=devices))
        refused = {
            self._request.vms[position].name: reasons(self._packing, number)
            for position, number in enumerate(self._numbers)
            if number is not None and number not in self._packing.fits
        }
        ordinary, why = self._ordinary(found)
        kept = {vm.name: vm.place for vm in self._request.residents if vm.shape is None and vm.place}
        return PlaceAnswer(
            dict(sorted({**found, **ordinary}.items())),
            dict(sorted({**refused, **why}.items())),
            kept | dict(places_of(self._packing)),
        )

    def _free(self) -> dict[tuple[int, Bundle], list[int]]:
        """IOMMU groups that nobody has, by host and what is in them."""
        found: defaultdict[tuple[int, Bundle], list[int]] = defaultdict(list)
        for host, there in enumerate(self._bundles):
            for group, bundle in sorted(there.items()):
                found[host, bundle].append(group)
        return found

    def _ordinary(self, found: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Mapping[str, str]]]:
        """Hosts for ordinary vms: where they are spread, if that has room for the same; and why some have none."""
        request, rooms = self._request, rooms_beside(self._packing)
        vms = [vm for vm in request.vms if vm.shape is None]
        shaped = {vm.name for vm in request.vms if vm.shape is not None}
        where = self._where | {name: host for name, host in found.items() if name in shaped}
        placed = [vm for vm in vms if vm.name in found]
        hosts = {vm.name: found[vm.name] for vm in placed}
        spread, lacking = place_ordinary(placed, rooms, Company(request.groups, request.hosts, where))
        if not lacking and not any(group.soft for group in request.groups):
            hosts = spread
        rest = [vm for vm in vms if vm.name not in found]
        company = Company(request.groups, request.hosts, where | hosts)
        late, why = place_ordinary(rest, charged(rooms, placed, hosts), company)
        return hosts | late, why


def _key(way: Way) -> tuple[int, frozenset[tuple[Resource, int]]]:
    return way.fit.host, frozenset(way.takes.items())


def _may_move(request: PlaceRequest) -> bool:
    budget = request.budget
    some = any(most != 0 for most in (budget.host_moves, budget.cell_moves, budget.repins))
    return some and not all(vm.fixed for vm in request.residents if vm.shape is not None)
