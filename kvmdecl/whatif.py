"""A placement that stands -> questions about it: how many more of what fit, and what if hosts fail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmdecl.asking import Relock, place_request, to_place
from kvmdecl.capacity import MOST, Capacity, capacities
from kvmdecl.cluster import LockedPlace
from kvmdecl.failover import Standing, survival
from kvmdecl.groups import group_of, unkept
from kvmdecl.pages import needs_of, pages_there, shortages
from kvmdecl.placement import open_hosts, why_not, why_there
from kvmdecl.rooms import rooms
from kvmdecl.solver import Place, PlaceAnswer, PlaceRequest
from kvmdecl.state import HostSnapshot
from kvmdecl.verdict import group_faults

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedVm
    from kvmdecl.failover import Survival
    from kvmdecl.solver import Solver, VmToPlace
    from kvmdecl.state import Observation


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of vms: its name (`vms/web-1`, `profiles/small`), how many there are, and one more of it."""

    name: str
    there: int
    vm: ResolvedVm


def kinds(placed: PlacedCluster, profiles: Mapping[str, ResolvedVm]) -> tuple[Kind, ...]:
    """Each profile, given with a vm that is nothing else, and each entry of the manifest, by its first vm."""
    entries: dict[str, list[ResolvedVm]] = {}
    for vm in placed.cluster.vms:
        if vm.state != "absent":
            entries.setdefault(group_of(vm), []).append(vm)
    found = [Kind(f"profiles/{name}", 0, _more(vm)) for name, vm in profiles.items()]
    return (*found, *(Kind(f"vms/{vms[0].name}", len(vms), _more(vms[0])) for vms in entries.values()))


def _more(vm: ResolvedVm) -> ResolvedVm:
    """One more; no manifest can have its name."""
    return replace(vm, name=f"{vm.name} more", uuid="")


def room_for(
    placed: PlacedCluster, observations: Mapping[str, Observation], wanted: Iterable[Kind], solver: Solver
) -> tuple[Capacity, ...]:
    """How many more of each kind fit on the hosts that were read, while all vms stay where they are placed."""
    some = list(wanted)
    hosts = open_hosts(placed.cluster, observations, [kind.vm for kind in some])
    there = [kind for kind in some if hosts[kind.vm.name]]
    request = standing(placed, observations, {kind.vm.name: (kind.vm, hosts[kind.vm.name]) for kind in there})
    limits = {kind.vm.name: _page_limits(placed, observations, kind.vm) for kind in there}
    counted = capacities(request, {kind.vm.name: (kind.name, kind.there) for kind in there}, solver, limits)
    nowhere = (Capacity(kind.name, kind.there, 0, ()) for kind in some if kind not in there)
    return tuple(sorted((*counted, *nowhere), key=lambda each: each.kind))


def standing(
    placed: PlacedCluster,
    observations: Mapping[str, Observation],
    more: Mapping[str, tuple[ResolvedVm, tuple[str, ...]]],
) -> PlaceRequest:
    """A request in which all vms keep their places and these are asked for, each among the hosts given with it."""
    host_of = {vm.name: vm.host for vm in placed.vms}
    locked = {name: LockedPlace(place, agrees=True) for name, place in placed.places.items()}
    vms = (*placed.cluster.vms, *(vm for vm, _ in more.values()))
    settled = [replace(vm, host=host_of[vm.name]) for vm in placed.cluster.vms if vm.name in host_of]
    return place_request(
        replace(placed.cluster, vms=vms, lock=locked),
        _snapshots(observations),
        settled,
        {name: hosts for name, (_, hosts) in more.items()},
        Relock(),
    )


def survives(
    placed: PlacedCluster, observations: Mapping[str, Observation], lose: int, solver: Solver
) -> Survival:
    """Whether all vms on hosts that were read have a legal home after any `lose` of these fail.

    Any vm may go to any host that has what it needs, whatever `host:` says of it, and whether or not its disks could.
    """
    return survival(as_it_stands(placed, observations), lose, solver)


def as_it_stands(placed: PlacedCluster, observations: Mapping[str, Observation]) -> Standing:
    """All vms on hosts that were read, with their places and all hosts that could have them."""
    request = standing(placed, observations, {})
    free = [replace(vm, host=None) for vm in placed.cluster.vms if vm.name in placed.places]
    hosts = open_hosts(placed.cluster, observations, free)
    vms = tuple(
        replace(
            to_place(vm, tuple(sorted({*hosts[vm.name], placed.places[vm.name].host}))),
            place=placed.places[vm.name],
        )
        for vm in sorted(free, key=lambda vm: vm.name)
    )
    bare = rooms(placed.cluster, _snapshots(observations), ())
    return Standing(request.hosts, bare, vms, request.groups)


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a vm is and why.

    Attributes:
        vm: its name.
        place: where it is; None if that cannot be known before all hosts answer, or if it is and shall be nowhere.
        why: it is there, or not known to be.
        others: for each other host what stands against it there, empty if nothing does.
    """

    vm: str
    place: Place | None
    why: str
    others: Mapping[str, str]


def whereabouts(
    placed: PlacedCluster, observations: Mapping[str, Observation], vm: ResolvedVm, solver: Solver
) -> Whereabouts:
    """Where a vm of a placement is and why, and which other hosts could have it while all others stay."""
    host = next((each.host for each in placed.vms if each.name == vm.name), None)
    if vm.name not in placed.places:
        silent = [each.name for each in placed.cluster.hosts if each.name not in _snapshots(observations)]
        why = (
            f"{', '.join(silent)} did not answer and may have it"
            if silent
            else "a host that left may have it"
        )
        place = None if host is None else Place(host, ())
        return Whereabouts(vm.name, place, "it shall be absent" if vm.state == "absent" else why, {})
    place = placed.places[vm.name]
    wishes = [text for group, text in unkept(placed) if vm.name in group.members]
    why = "; not as wished: ".join([why_there(placed.cluster, observations, vm.on(place.host)), *wishes])
    request = standing(placed, observations, {})
    others = [each.name for each in placed.cluster.hosts if each.name != place.host]
    free = to_place(replace(vm, host=None), ())
    against = {
        name: reason or _too_full(request, free, name, solver)
        for name, reason in why_not(placed.cluster, observations, vm, others).items()
    }
    return Whereabouts(vm.name, place, why, against)


def _too_full(request: PlaceRequest, vm: VmToPlace, host: str, solver: Solver) -> str:
    """Why the solver would not put a vm on a host beside those that are there, or why its groups would not have it."""
    here = tuple(
        each
        for each in request.residents
        if each.name != vm.name and each.place is not None and each.place.host == host
    )
    room = tuple(room for room in request.hosts if room.name == host)
    answer = solver(PlaceRequest((replace(vm, candidates=(host,)),), room, here))
    if vm.name not in answer.hosts:
        return answer.refused.get(vm.name, {}).get(host, "the solver does not say why not")
    there = tuple(each for each in request.residents if each.name != vm.name)
    asked = PlaceRequest((vm,), request.hosts, there, request.groups)
    places = {each.name: each.place for each in there if each.place is not None}
    places[vm.name] = answer.places.get(vm.name) or Place(host, ())
    fault = next(group_faults(asked, PlaceAnswer({vm.name: host}, {}, places)), "")
    return fault.removeprefix("it puts ")


def _snapshots(observations: Mapping[str, Observation]) -> dict[str, HostSnapshot]:
    return {name: seen for name, seen in observations.items() if isinstance(seen, HostSnapshot)}


def _page_limits(
    placed: PlacedCluster, observations: Mapping[str, Observation], vm: ResolvedVm
) -> Mapping[str, int]:
    """How many more such vms each host has huge pages for; nothing for one that needs none, or is bound to cells."""
    needs = list(needs_of(vm))
    if vm.spec.is_bound or not needs:
        return {}
    found: dict[str, int] = {}
    hosts = {host.name: host for host in placed.cluster.hosts}
    for name, seen in _snapshots(observations).items():
        if name not in hosts:
            continue
        pages = pages_there(hosts[name], seen.facts)
        running = [other for other in placed.vms if other.host == name and other.state == "running"]
        taken = [need for other in running for need in needs_of(other)]
        fits, most = 0, MOST + 1
        while most - fits > 1:
            middle = (fits + most) // 2
            many = [replace(need, count=need.count * middle) for need in needs]
            if next(shortages([*many, *taken], pages), None) is None:
                fits = middle
            else:
                most = middle
        found[name] = fits
    return found
