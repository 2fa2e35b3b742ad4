"""What a placement solver is asked: the vms that need a place, those that have one, and who belongs with whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl.demand import shape_of
from kvmdecl.given import completed
from kvmdecl.groups import group_of, groups_of
from kvmdecl.libvirt_xml.holders import devices_in, functions_by_mac
from kvmdecl.pages import ordinary_memory
from kvmdecl.pinning import place_of
from kvmdecl.rooms import rooms
from kvmdecl.solver import Budget, Place, PlaceRequest, VmToPlace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.cluster import LockedPlace, ResolvedCluster, ResolvedVm
    from kvmdecl.solver import HostRoom
    from kvmdecl.state import HostSnapshot


@dataclass(frozen=True, slots=True)
class Relock:
    """How the lock file is written anew: vms that give up their places on their hosts, and how many others may."""

    update: frozenset[str] = frozenset()
    moves: int = 0


class Settled(NamedTuple):
    """Vms whose host is known: those that keep their place there, and those that are to be given one."""

    residents: tuple[VmToPlace, ...]
    asked: tuple[VmToPlace, ...]


def place_request(
    cluster: ResolvedCluster,
    snapshots: Mapping[str, HostSnapshot],
    settled: Iterable[ResolvedVm],
    homeless: Mapping[str, tuple[str, ...]],
    relock: Relock,
) -> PlaceRequest:
    """The request for vms that have no host yet, given with the hosts that each can have, and for what is near them."""
    there = [vm for vm in settled if vm.host in snapshots and vm.state != "absent"]
    ordinary = [vm for vm in there if not vm.spec.is_bound]
    hosts = rooms(cluster, snapshots, ordinary, {vm.name: vm.host for vm in there if vm.host is not None})
    known = _settled(there, snapshots, cluster.lock or {}, relock.update)
    known = _with_devices(known, {room.name: room for room in hosts}, snapshots, there)
    new = (to_place(vm, homeless[vm.name]) for vm in cluster.vms if vm.name in homeless)
    asked = tuple(sorted((*new, *known.asked), key=lambda vm: vm.name))
    names = {vm.name for vm in (*asked, *known.residents)}
    groups = tuple(groups_of(cluster.vms, names))
    budget = Budget(0, relock.moves, relock.moves)
    return PlaceRequest(asked, hosts, known.residents, groups, budget)


def _settled(
    vms: list[ResolvedVm],
    snapshots: Mapping[str, HostSnapshot],
    lock: Mapping[str, LockedPlace],
    update: frozenset[str],
) -> Settled:
    """Who has cells keeps them, as the lock file or else the definition says.

    Of an ordinary vm it matters to its group where it is.
    """
    residents: list[VmToPlace] = []
    asked: list[VmToPlace] = []
    definitions = {
        (name, domain.uuid): domain.xml
        for name in {vm.host for vm in vms if vm.host is not None}
        for domain in snapshots[name].state.domains
    }
    for vm in vms:
        if vm.host is None or not (vm.spec.is_placed or vm.spec.apart or vm.spec.together):
            continue
        known = to_place(vm, (vm.host,))
        shape, locked = known.shape, lock.get(vm.name)
        xml = definitions.get((vm.host, vm.uuid))
        place: Place | None = Place(vm.host, ())
        if shape is not None and locked is not None and locked.agrees and locked.place.host == vm.host:
            place = locked.place
        elif shape is not None:
            place = place_of(vm.host, xml, shape) if xml is not None else None
        if place is None or (vm.name in update and shape is not None):
            asked.append(known)
        else:
            residents.append(replace(known, place=place))
    return Settled(tuple(sorted(residents, key=lambda vm: vm.name)), tuple(asked))


def _with_devices(
    known: Settled,
    rooms: Mapping[str, HostRoom],
    snapshots: Mapping[str, HostSnapshot],
    vms: Iterable[ResolvedVm],
) -> Settled:
    """Residents with the devices that their definitions name. For what is new others are found beside them.

    Who cannot have all that it asks for while it stays where it is is to be given a place anew.
    """
    wanting = {
        resident.name: resident
        for resident in known.residents
        if resident.shape is not None and resident.shape.devices
    }
    if not wanting:
        return known
    by_name = {vm.name: vm for vm in vms if vm.name in wanting}
    xml = {(h, d.uuid): d.xml for h in rooms for d in snapshots[h].state.domains}
    texts = {name: xml.get((vm.host or "", vm.uuid), "") for name, vm in by_name.items()}
    # A lock has them all; who has none in a lock has those of its definition.
    has = {
        name: frozenset(a for each in of.place.devices for a in each)
        if of.place and of.place.devices
        else frozenset(devices_in(texts[name]))
        for name, of in wanting.items()
    }
    host_of = {name: vm.host for name, vm in by_name.items()}
    residents, asked = list[VmToPlace](), list(known.asked)
    for resident in known.residents:
        shape, place = resident.shape, resident.place
        if shape is None or not shape.devices or place is None or place.devices:
            residents.append(resident)
            continue
        vm = by_name[resident.name]
        others = frozenset().union(
            *(of for name, of in has.items() if name != vm.name and host_of[name] == vm.host)
        )
        found = completed(
            place, shape, rooms[place.host], _own_functions(vm, texts[vm.name]), has[vm.name], others
        )
        if found is None:
            asked.append(replace(resident, place=None))
        else:
            has[vm.name] = frozenset(address for each in found for address in each)
            residents.append(replace(resident, place=replace(place, devices=found)))
    return Settled(tuple(residents), tuple(asked))


def _own_functions(vm: ResolvedVm, xml: str) -> dict[int, str]:
    """By the numbers of its requests, the functions that are NICs of the guest: it is their MAC address that tells."""
    functions = functions_by_mac(xml)
    return {
        number: functions[vm.nics[int(key.removeprefix("nics."))].mac]
        for number, (key, _) in enumerate(vm.spec.device_requests)
        if key.startswith("nics.") and vm.nics[int(key.removeprefix("nics."))].mac in functions
    }


def to_place(vm: ResolvedVm, candidates: tuple[str, ...]) -> VmToPlace:
    """A vm that is nowhere, as a solver sees it."""
    return VmToPlace(vm.name, vm.cpus, ordinary_memory(vm), group_of(vm), candidates, shape_of(vm))
