"""The solver `numa`: guests onto the cells of hosts by counts, and CPUs for them after that."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvmdecl.api import PlaceAnswer
from kvmdecl_numa.ordinary import Company, place_ordinary
from kvmdecl_numa.packing import Packing
from kvmdecl_numa.pins import places
from kvmdecl_numa.reasons import reasons
from kvmdecl_numa.rooms import MIB
from kvmdecl_numa.search import Effort, Search

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmdecl.api import HostRoom, Place, PlaceRequest, VmToPlace
    from kvmdecl_numa.search import Measure


_BRIEFLY = 4  # the part of the steps that is spent where nobody wants the guests of an answer that lacks some


def numa(request: PlaceRequest, /, effort: Effort = Effort()) -> PlaceAnswer:  # noqa: B008 - it is frozen
    """Place all vms, or as many of the first as can be and then as many others as fit beside them.

    No resident is moved as long as a way without is found, and no more than the budget allows.
    """
    answer = _answer(request, effort, ordinary_first=False)
    # Ordinary vms take memory of any cell, so they come last; but they must not miss what others could do without.
    if not all(vm.shape for vm in request.vms if vm.name in answer.refused):
        other = _answer(request, effort, ordinary_first=True)
        if _accepted(request, other) > _accepted(request, answer):
            return other
    return answer


def pack(
    request: PlaceRequest,
    effort: Effort,
    measure: Measure = "prefix",
    others: Mapping[str, str] = MappingProxyType({}),
) -> Packing:
    """A packing of the vms that have a shape. `others` are on hosts without having one.

    `prefix`: as many of the first as can be, then as much weight as fits beside them; `weight`: as much
    weight as can be; `count`: as many vms.
    """
    packing = packing_of(request, request.vms, others)
    wanted = range(packing.residents, len(packing.guests))
    if request.all_or_none:
        effort = replace(effort, steps=effort.steps // _BRIEFLY, all_or_none=True)
    search = Search(packing, wanted, effort, request.budget)
    if not search.all() and not request.all_or_none:
        search.fill(search.prefix() if measure == "prefix" else 0, measure)
    for number in sorted(packing.groups.wishful.intersection(packing.fits)):
        if number >= packing.residents:
            packing.please(number)
    return packing


def places_of(packing: Packing) -> Mapping[str, Place]:
    """Where each guest of a packing is."""
    found = {packing.guests[number].name: place for number, place in packing.places.items()}
    by_host: dict[int, list[int]] = {}
    for number, fit in sorted(packing.fits.items()):
        by_host.setdefault(fit.host, []).append(number)
    for place, numbers in sorted(by_host.items()):
        host = packing.hosts[place]
        guests = [(packing.wants[number].shape, packing.fits[number]) for number in numbers]
        for index, there in places(host.room, guests, host.taken):
            found[packing.guests[numbers[index]].name] = there
    return dict(sorted(found.items()))


def _answer(request: PlaceRequest, effort: Effort, *, ordinary_first: bool) -> PlaceAnswer:
    ordinary = [vm for vm in request.vms if vm.shape is None]
    kept = {vm.name: vm.place for vm in request.residents if vm.shape is None and vm.place is not None}
    others = {name: place.host for name, place in kept.items()}
    if ordinary_first:
        hosts, refused = _ordinary(request, ordinary, packing_of(request, (), others), others)
        full = replace(request, hosts=charged(request.hosts, ordinary, hosts))
        packing = pack(full, effort, others=others | hosts)
    else:
        packing = pack(request, effort, others=others)
        hosts, refused = _ordinary(request, ordinary, packing, others)
    for number in range(packing.residents, len(packing.guests)):
        vm = packing.guests[number]
        if number in packing.fits:
            hosts[vm.name] = packing.hosts[packing.fits[number].host].room.name
        else:
            refused[vm.name] = {} if request.all_or_none else reasons(packing, number)
    return PlaceAnswer(
        dict(sorted(hosts.items())), dict(sorted(refused.items())), kept | dict(places_of(packing))
    )


def _ordinary(
    request: PlaceRequest, vms: Sequence[VmToPlace], packing: Packing, others: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, Mapping[str, str]]]:
    """Hosts for ordinary vms beside a packing, and why there is none for some."""
    where = dict(others)
    for number, vm in enumerate(packing.guests):
        host = packing.host_of(number)
        if host is not None:
            where[vm.name] = request.hosts[host].name
    return place_ordinary(vms, rooms_beside(packing), Company(request.groups, request.hosts, where))


def packing_of(request: PlaceRequest, vms: Sequence[VmToPlace], others: Mapping[str, str]) -> Packing:
    """The residents where they are, and vms that are nowhere yet."""
    guests = [(vm, vm.shape) for vm in (*request.residents, *vms) if vm.shape is not None]
    return Packing(guests, request.hosts, request.groups, others)


def rooms_beside(packing: Packing) -> list[HostRoom]:
    """The hosts, with the ordinary memory of guests that have a shape taken."""
    return [
        replace(host.room, used_memory=host.room.used_memory + host.ordinary_taken * MIB)
        for host in packing.hosts
    ]


def charged(
    rooms: Sequence[HostRoom], vms: Sequence[VmToPlace], hosts: Mapping[str, str]
) -> tuple[HostRoom, ...]:
    """The hosts, with the memory of ordinary vms taken that are on them."""
    taken = Counter[str]()
    for vm in vms:
        if vm.name in hosts:
            taken[hosts[vm.name]] += vm.memory
    return tuple(replace(room, used_memory=room.used_memory + taken[room.name]) for room in rooms)


def first_placed(request: PlaceRequest, answer: PlaceAnswer) -> int:
    """How many of the first vms have a host."""
    return next((n for n, vm in enumerate(request.vms) if vm.name not in answer.hosts), len(request.vms))


def _accepted(request: PlaceRequest, answer: PlaceAnswer) -> tuple[int, int]:
    """How many of the first vms have a host, and how many of all."""
    return first_placed(request, answer), len(answer.hosts)
