"""What is wrong with a solver's answer. Every answer is judged before it is used, that of our own solvers, too.

The rules are exact and complete: what passes here can be carried out on hosts that are as the request says.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from kvmdecl.groups import broken
from kvmdecl.names import MIB, about_size
from kvmdecl.solver import PlaceAnswer, PlaceRequest
from kvmdecl.text import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmdecl.solver import (
        CellPlace,
        CellRoom,
        DeviceDemand,
        HostRoom,
        PciDevice,
        Place,
        Shape,
        VmToPlace,
    )

_LOCAL, _REMOTE = 10, 20  # distances where a host tells none, as ACPI has them


def faults(request: PlaceRequest, answer: PlaceAnswer) -> Iterator[str]:
    """Say of each rule that an answer breaks who breaks it, and by how much; nothing if it can be used.

    What a place must keep to is only judged of places that are whole: on a host and in cells that there are.
    """
    hosts = {room.name: _Host.of(room) for room in request.hosts}
    yield from _unanswered(request, answer)
    guests: dict[str, list[_Guest]] = {name: [] for name in hosts}
    for vm in (*request.vms, *request.residents):
        place = answer.places.get(vm.name)
        name = answer.hosts.get(vm.name, place.host if place else "")
        if name and (fault := _misplaced(vm, name, place, hosts)):
            yield fault
        elif vm.shape and place:
            guests[name].append(_Guest(vm.name, vm.shape, place, hosts[name]))
    for name, host in hosts.items():
        yield from _cells(guests[name])
        yield from _cpus(host, guests[name])
        yield from _floating(host, guests[name])
        yield from _pages(host, guests[name])
        yield from _devices(host, guests[name])
    yield from _memory(request, answer, hosts)
    yield from group_faults(request, answer)
    yield from _moves(request, answer)


def with_unfit_asked(request: PlaceRequest) -> PlaceRequest:
    """The request in which residents whose places are none any more are to be placed anew, on their hosts.

    Their hosts have changed, or somebody pinned them elsewhere. Who comes first by name keeps what two claim.
    """
    unfit: set[str] = set()
    by_host: dict[str, list[VmToPlace]] = {}
    for vm in request.residents:
        if vm.place is not None and vm.shape is not None:
            by_host.setdefault(vm.place.host, []).append(vm)
    for room in request.hosts:
        there = by_host.get(room.name, [])
        if _fit(room, there):
            continue
        kept: list[VmToPlace] = []
        for vm in there:
            if _fit(room, [*kept, vm]):
                kept.append(vm)
            else:
                unfit.add(vm.name)
    asked = (replace(vm, place=None) for vm in request.residents if vm.name in unfit)
    return replace(
        request,
        vms=tuple(sorted((*request.vms, *asked), key=lambda vm: vm.name)),
        residents=tuple(vm for vm in request.residents if vm.name not in unfit),
    )


def _fit(room: HostRoom, residents: list[VmToPlace]) -> bool:
    places = {vm.name: vm.place for vm in residents if vm.place is not None}
    alone = PlaceRequest((), (room,), tuple(residents))
    return next(faults(alone, PlaceAnswer({}, {}, places)), None) is None


# -- what is looked up -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Host:
    """A host: its cells by id and by CPU, cores by CPU, sizes of pages by cell, devices by address."""

    room: HostRoom
    cells: Mapping[int, CellRoom]
    cell_of: Mapping[int, CellRoom]
    core_of: Mapping[int, tuple[int, ...]]
    sizes: Mapping[int, tuple[int, ...]]
    devices: Mapping[str, PciDevice]

    @classmethod
    def of(cls, room: HostRoom) -> _Host:
        cores = [(cell, core) for cell in room.cells for core in cell.cores]
        return cls(
            room,
            {cell.id: cell for cell in room.cells},
            {cpu: cell for cell, core in cores for cpu in core},
            {cpu: core for _, core in cores for cpu in core},
            {
                cell.id: tuple(sorted(kib for kib, mib in cell.pools.items() if mib > 0))
                for cell in room.cells
            },
            {device.address: device for device in room.devices},
        )

    @property
    def name(self) -> str:
        return self.room.name

    def distance(self, one: int, other: int) -> int:
        if not self.room.distances:
            return _LOCAL if one == other else _REMOTE
        ids = list(self.cells)
        return self.room.distances[ids.index(one)][ids.index(other)]

    def pages(self, cell: int, wanted: int | str) -> Sequence[int]:
        """Sizes in KiB that a guest which wants such pages may have in a cell."""
        sizes = self.sizes[cell]
        if isinstance(wanted, int):
            return (wanted,) if wanted in sizes else ()
        return {"small": sizes[:1], "large": sizes[1:], "any": sizes}[wanted]


@dataclass(frozen=True, slots=True)
class _Guest:
    """A vm with a place that is whole."""

    name: str
    shape: Shape
    place: Place
    host: _Host

    @property
    def homes(self) -> list[int]:
        return [cell.home for cell in self.place.cells]

    def strays(self, cell: int, homes: Iterable[int]) -> bool:
        return not self.shape.spills and cell not in homes

    def own_cpus(self) -> Iterator[tuple[int, str, Iterable[int]]]:
        """CPUs that nobody else may have: CPU, who has it, cells where it may be."""
        for cell in self.place.cells:
            for vcpu, cpu in cell.pins:
                yield cpu, f"vCPU {vcpu} of {self.name}", (cell.home,)
        for cpu in self.place.emulator:
            yield cpu, f"the emulator of {self.name}", self.homes
        for number, cpu in enumerate(self.place.io_threads, 1):
            yield cpu, f"I/O thread {number} of {self.name}", self.homes


# -- an answer for each vm -------------------------------------------------------------------------------------


def _unanswered(request: PlaceRequest, answer: PlaceAnswer) -> Iterator[str]:
    for vm in request.vms:
        if vm.name not in answer.hosts and not answer.refused.get(vm.name):
            yield f"it says nothing about {vm.name}"
    residents = {vm.name for vm in request.residents}
    for name in sorted(residents - answer.places.keys() - answer.hosts.keys()):
        yield f"it drops {name}, which has a place"
    asked = {vm.name for vm in request.vms} | residents
    for name in sorted(answer.hosts.keys() - asked):
        yield f"it speaks of {name}, which it was not asked about"
    placed = {vm.name for vm in request.vms if vm.shape and vm.name in answer.hosts} | residents
    for name in sorted(answer.places.keys() - placed):
        yield f"it puts {name} in cells, which it was not asked for"


def _misplaced(vm: VmToPlace, host: str, place: Place | None, hosts: Mapping[str, _Host]) -> str:
    """Why a vm is not on one of its hosts, and in cells there; empty if it is. One that stays may be on any host."""
    if host not in vm.candidates and not (vm.place and vm.place.host == host):
        return f"it puts {vm.name} on {host}, which is not among its candidates"
    if vm.shape is None:
        return ""
    if place is None:
        return f"it puts {vm.name} on {host}, and in no cell there"
    if place.host != host or host not in hosts:
        return f"it puts {vm.name} on {host}, and in cells of {place.host}"
    if len(place.cells) != len(vm.shape.cells):
        return f"it puts {vm.name} in {len(place.cells)} cells of {host}, and it has {len(vm.shape.cells)}"
    cells = hosts[host].cells
    for number, home in enumerate(cell.home for cell in place.cells):
        if home not in cells:
            return f"it puts cell {number} of {vm.name} in cell {home} of {host}, which has none of that id"
    return ""


# -- each vm in its cells --------------------------------------------------------------------------------------


def _cells(guests: Iterable[_Guest]) -> Iterator[str]:
    """Cells, distances, labels: what concerns one vm and no other."""
    for guest in guests:
        host = guest.host
        for (one, home), (other, second) in combinations(enumerate(guest.homes), 2):
            if home == second:
                yield f"it puts cells {one} and {other} of {guest.name} in the same cell {home} of {host.name}"
            reach, distance = guest.shape.reach, host.distance(home, second)
            if reach is not None and distance > reach:
                where = f"cells {home} and {second} of {host.name}"
                yield f"it puts {guest.name} in {where}, which are {distance} apart, and {reach} is allowed"
        for key, value in guest.shape.labels:
            if host.room.labels.get(key) != value:
                has = f"{key} {host.room.labels[key]}" if key in host.room.labels else f"no {key}"
                yield f"it puts {guest.name} on {host.name}, which has {has}, and {key} {value} is wanted"
        yield from _complete(guest)


def _complete(guest: _Guest) -> Iterator[str]:
    """Each vCPU that wants a CPU for itself has one, and so have the emulator and I/O threads."""
    shape, place, host = guest.shape, guest.place, guest.host.name
    for number, (demand, cell) in enumerate(zip(shape.cells, place.cells, strict=True)):
        pinned = sorted(vcpu for vcpu, _ in cell.pins)
        if pinned != sorted(demand.pinned):
            wanted = f"and {_numbers(demand.pinned) or 'none'} are wanted"
            yield f"it pins vCPUs {_numbers(pinned) or 'none'} in cell {number} of {guest.name}, {wanted}"
    for what, given, count in (
        ("the emulator", len(place.emulator), int(shape.emulator == "isolate")),
        ("I/O threads", len(place.io_threads), shape.io_threads),
    ):
        if given != count:
            yield f"it gives {what} of {guest.name} {given} CPUs, and {count} are wanted"
    if shape.emulator == "share" and not any(cell.shared for cell in guest.host.room.cells):
        yield f"it puts {guest.name} on {host}, which has no shared CPU for its emulator"


# -- CPUs ------------------------------------------------------------------------------------------------------


def _cpus(host: _Host, guests: Iterable[_Guest]) -> Iterator[str]:
    """Each CPU is there, may be given away, is where its vm is, and has one owner; cores are used as agreed."""
    owners: dict[int, str] = {}
    for guest in guests:
        for cpu, what, homes in guest.own_cpus():
            cell = host.cell_of.get(cpu)
            fault = ""
            if cell is None:
                fault = "is not online"
            elif cpu not in cell.dedicated:
                fault = "is not one that guests may have for themselves"
            elif guest.strays(cell.id, homes):
                fault = f"is in cell {cell.id}, and its home is {_numbers(homes)}"
            elif cpu in owners:
                fault = f"{owners[cpu]} has"
            if fault:
                yield f"it gives {what} CPU {cpu} of {host.name}, which {fault}"
            owners[cpu] = what
    for guest in guests:
        if guest.shape.threads == "isolate":
            yield from _isolated(guest, owners)
        elif guest.shape.threads == "require":
            yield from _paired(guest)


def _isolated(guest: _Guest, owners: Mapping[int, str]) -> Iterator[str]:
    """A core with a pinned vCPU has no other thread that somebody uses, or that is not for guests alone."""
    host = guest.host
    for vcpu, cpu in (pin for cell in guest.place.cells for pin in cell.pins if pin[1] in host.cell_of):
        for thread in host.core_of[cpu]:
            user = owners.get(thread)
            if thread not in host.cell_of[cpu].dedicated:
                user = "the host or floating vCPUs"
            if thread != cpu and user:
                alone = f"vCPU {vcpu} of {guest.name} alone on the core of CPU {cpu} of {host.name}"
                yield f"it does not leave {alone}: {user} may use CPU {thread}"


def _paired(guest: _Guest) -> Iterator[str]:
    """In each cell of the host, a cell of the guest has at most one core of which it uses a single thread."""
    host = guest.host
    for number, cell in enumerate(guest.place.cells):
        cpus = [cpu for _, cpu in cell.pins if cpu in host.cell_of]
        threads = Counter(host.core_of[cpu] for cpu in cpus)
        alone = Counter(host.cell_of[core[0]].id for core, count in threads.items() if count == 1)
        for id_ in sorted({host.cell_of[cpu].id for cpu in cpus}):
            who, where = f"cell {number} of {guest.name}", f"cell {id_} of {host.name}"
            if not _has_pairs(host.cells[id_]):
                yield f"it pins {who} in {where}, which has no core of two threads for guests"
            elif alone[id_] > 1:
                yield f"it gives {who} a single thread of {alone[id_]} cores in {where}, and 1 is allowed"


def _has_pairs(cell: CellRoom) -> bool:
    return any(len(cell.dedicated.intersection(core)) > 1 for core in cell.cores)


def _floating(host: _Host, guests: Iterable[_Guest]) -> Iterator[str]:
    """As many vCPUs float as shall, on shared CPUs, of which there are enough for each vm and for all."""
    total: Counter[int] = Counter()
    for guest in guests:
        own: Counter[int] = Counter()
        for number, cell in enumerate(guest.place.cells):
            yield from _adrift(guest, number, cell)
            for id_, count in cell.floating:
                if id_ in host.cells:
                    own[id_] += count
        for id_, count in own.items():
            if count > len(host.cells[id_].shared):
                there = f"{len(host.cells[id_].shared)} shared CPUs of cell {id_} of {host.name}"
                yield f"it lets {count} vCPUs of {guest.name} float on the {there}"
        total.update(own)
    for id_, count in total.items():
        most = int(host.room.overcommit * len(host.cells[id_].shared) + 1e-9)  # 4.35 * 100 is 434.99...
        if count > most:
            yield f"it lets {count} vCPUs float in cell {id_} of {host.name}, and {most} are allowed"


def _adrift(guest: _Guest, number: int, cell: CellPlace) -> Iterator[str]:
    who, host = f"cell {number} of {guest.name}", guest.host
    for id_, count in cell.floating:
        if count < 0 or id_ not in host.cells:
            yield f"it lets {count} vCPUs of {who} float in cell {id_} of {host.name}, which cannot be"
        elif count and guest.strays(id_, (cell.home,)):
            yield f"it lets {count} vCPUs of {who} float in cell {id_} of {host.name}, and its home is {cell.home}"
    given, wanted = sum(count for _, count in cell.floating), len(guest.shape.cells[number].floating)
    if given != wanted:
        yield f"it lets {given} vCPUs of {who} float, and {wanted} are wanted"


# -- memory ----------------------------------------------------------------------------------------------------


def _pages(host: _Host, guests: Iterable[_Guest]) -> Iterator[str]:
    """Memory adds up, is of pages that the vm may have, and of no more than each cell has of them."""
    total: Counter[tuple[int, int]] = Counter()
    for guest in guests:
        for number, cell in enumerate(guest.place.cells):
            yield from _backed(guest, number, cell)
        for id_, size, amount in _taken(guest.shape, guest.place, host):
            total[id_, size] += amount
    for (id_, size), amount in total.items():
        there = host.cells[id_].pools.get(size, 0)
        if amount > there:
            yield f"it takes {amount} MiB of pages of {size} KiB in cell {id_} of {host.name}, which has {there} MiB"


def _backed(guest: _Guest, number: int, cell: CellPlace) -> Iterator[str]:
    who, host, wanted = f"cell {number} of {guest.name}", guest.host, guest.shape.pages
    for id_, size, amount in cell.memory:
        fault = ""
        if id_ not in host.cells or amount <= 0:
            fault = "which cannot be"
        elif size not in host.pages(id_, wanted):
            kind = f"pages of {wanted} KiB" if isinstance(wanted, int) else f"{wanted} pages"
            has = ", ".join(f"{each} KiB" for each in host.sizes[id_]) or "none"
            fault = f"and {kind} are wanted of those there: {has}"
        elif amount * 1024 % size:
            fault = "which is no whole number of pages"
        elif guest.strays(id_, (cell.home,)):
            fault = f"and its home is {cell.home}"
        if fault:
            yield f"it gives {who} {amount} MiB of pages of {size} KiB in cell {id_} of {host.name}, {fault}"
    if len(sizes := {size for _, size, _ in cell.memory}) > 1:
        yield f"it gives {who} pages of {' KiB and of '.join(map(str, sorted(sizes)))} KiB"
    given_all, wanted_all = sum(amount for _, _, amount in cell.memory), guest.shape.cells[number].memory
    if given_all != wanted_all:
        yield f"it gives {who} {given_all} MiB, and {wanted_all} MiB are wanted"


def _taken(shape: Shape, place: Place, host: _Host) -> Iterator[tuple[int, int, int]]:
    """Cell, size of pages and MiB of a vm's memory, and of what QEMU takes beside it."""
    for cell in place.cells:
        for id_, size, amount in cell.memory:
            if id_ in host.cells and amount > 0:
                yield id_, size, amount
    if shape.overhead and place.cells and place.cells[0].home in host.cells:
        home = place.cells[0].home
        yield home, host.room.page, shape.overhead


def _memory(request: PlaceRequest, answer: PlaceAnswer, hosts: Mapping[str, _Host]) -> Iterator[str]:
    """What is in no huge page suffices for all vms of a host; one that is too full already gets no more."""
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    for vm in request.vms:
        if vm.shape is None and vm.name in answer.hosts:
            after[answer.hosts[vm.name]] += vm.memory
    for vm in (*request.vms, *request.residents):
        for place, total in ((vm.place, before), (answer.places.get(vm.name), after)):
            if vm.shape and place and place.host in hosts:
                total[place.host] += _ordinary(vm.shape, place, hosts[place.host])
    for name, host in hosts.items():
        used, there = host.room.used_memory + after[name], host.room.memory
        if used > there and after[name] > before[name]:
            yield f"it fills {name} with {about_size(used)} of guests' memory, and there are {about_size(there)}"


def _ordinary(shape: Shape, place: Place, host: _Host) -> int:
    """Bytes that a vm takes of its host's ordinary memory, in its cells and in any. Huge pages are none of it."""
    of_cells = (amount for _, size, amount in _taken(shape, place, host) if size == host.room.page)
    return MIB * (shape.memory + sum(of_cells))


# -- devices ---------------------------------------------------------------------------------------------------


def _devices(host: _Host, guests: Iterable[_Guest]) -> Iterator[str]:
    """Devices are those wanted, as near as wanted, and no two vms have one, or two of one IOMMU group.

    Of two that exclude each other one at most is given, whoever has it.
    """
    owners: dict[str, str] = {}
    groups: dict[int, str] = {}
    for guest in guests:
        demands, given = guest.shape.devices, guest.place.devices
        if len(given) != len(demands):
            yield f"it gives {guest.name} devices for {len(given)} demands, and it has {len(demands)}"
            continue
        for demand, addresses in zip(demands, given, strict=True):
            if len(addresses) != demand.count:
                yield f"it gives {guest.name} {len(addresses)} of {demand.model}, and {demand.count} are wanted"
            for address in addresses:
                device = host.devices.get(address)
                fault = _unfit(guest, device, demand) if device else "which it does not have"
                if device and (owner := owners.setdefault(address, guest.name)) != guest.name:
                    fault = f"which {owner} has"
                elif device and (owner := groups.setdefault(device.iommu_group, guest.name)) != guest.name:
                    fault = f"which is in IOMMU group {device.iommu_group} with one of {owner}"
                if fault:
                    yield f"it gives {guest.name} the device {address} of {host.name}, {fault}"
        addresses = tuple(address for each in given for address in each)
        for address in sorted({each for each in addresses if addresses.count(each) > 1}):
            yield f"it gives {guest.name} the device {address} of {host.name} more than once"
    for one, other in _excluding(host, owners):
        beside = f"{other} to {owners[other]}, and nobody can have both"
        yield f"it gives {owners[one]} the device {one} of {host.name}, and {beside}"


def _excluding(host: _Host, given: Mapping[str, str]) -> list[tuple[str, str]]:
    """Devices that are given, two by two, of which one excludes the other."""
    pairs = {
        (min(address, other), max(address, other))
        for address in given.keys() & host.devices.keys()
        for other in host.devices[address].excludes & given.keys()
    }
    return sorted(pairs)


def _unfit(guest: _Guest, device: PciDevice, demand: DeviceDemand) -> str:
    cells, homes = guest.host.cells, guest.homes
    if demand.model not in device.models:
        return f"which is {', '.join(device.models) or 'nothing'}, and {demand.model} is wanted"
    if not homes:
        return ""
    sockets = {cells[home].socket for home in homes} - {None}
    socket = cells[device.cell].socket if device.cell is not None and device.cell in cells else None
    inside = device.cell in homes
    near = {
        "required": inside,
        "legacy": inside or device.cell is None,
        "socket": inside or socket in sockets,
        "preferred": True,
    }
    where = "in no known cell" if device.cell is None else f"in cell {device.cell}"
    wanted = f"{'a socket of ' if demand.policy == 'socket' else ''}cell {_numbers(homes)}"
    return "" if near[demand.policy] else f"which is {where}, and one in {wanted} is wanted"


# -- vms beside vms, and those that have a place ---------------------------------------------------------------


def group_faults(request: PlaceRequest, answer: PlaceAnswer) -> Iterator[str]:
    """Who is not kept apart or together. Hosts without the label that a group is about count as one place."""
    labels = {room.name: room.labels for room in request.hosts}
    where = {name: host for name, host in answer.hosts.items() if host in labels}
    where |= {name: place.host for name, place in answer.places.items() if place.host in labels}
    for group in request.groups:
        if not group.soft:
            yield from (f"it puts {text}" for text in broken(group, where, labels))


def _moves(request: PlaceRequest, answer: PlaceAnswer) -> Iterator[str]:
    """What is fixed stays as it is, and no more of the others is moved than may be."""
    moved: dict[str, list[str]] = {
        "to other hosts": [],
        "to other cells": [],
        "to other CPUs, pages or devices": [],
    }
    for vm in request.residents:
        old, new = vm.place, answer.places.get(vm.name)
        if old is None or new is None or old == new or _settled(old) == _settled(new):
            continue
        if vm.fixed:
            yield f"it moves {vm.name}, which is to stay as it is on {old.host}"
        elif old.host != new.host:
            moved["to other hosts"].append(vm.name)
        elif [cell.home for cell in old.cells] != [cell.home for cell in new.cells]:
            moved["to other cells"].append(vm.name)
        else:
            moved["to other CPUs, pages or devices"].append(vm.name)
    budget = request.budget
    for (where, names), most in zip(
        moved.items(), (budget.host_moves, budget.cell_moves, budget.repins), strict=True
    ):
        if most is not None and len(names) > most:
            yield f"it moves {len(names)} vms {where}, and {most} may be: {listed(names)}"


def _settled(place: Place) -> object:
    """A place in which order says nothing."""
    cells = tuple(
        (cell.home, sorted(cell.pins), sorted(cell.memory), sorted(cell.floating)) for cell in place.cells
    )
    devices = [sorted(addresses) for addresses in place.devices]
    return place.host, cells, sorted(place.emulator), sorted(place.io_threads), devices


def _numbers(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
