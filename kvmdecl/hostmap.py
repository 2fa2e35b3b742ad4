"""Who sits where: what each CPU and each pool of pages of a host is for, from what placement knows and was told.

Sizes are in bytes. A guest is told by `vm/NAME` if it is in the manifest, by `domain/NAME` if it is not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kvmdecl.demand import overhead, shape_of
from kvmdecl.names import KIB, MIB
from kvmdecl.numa_rooms import ORDINARY
from kvmdecl.pages import ordinary_memory, pages_there
from kvmdecl.pinning import place_of
from kvmdecl.rooms import load_of, rooms, taken_by, taken_of
from kvmdecl.solver import Place
from kvmdecl.state import HostSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedHost, ResolvedVm
    from kvmdecl.facts import HostFacts
    from kvmdecl.numa_rooms import Taken
    from kvmdecl.solver import CellRoom, HostRoom
    from kvmdecl.state import Observation, ObservedDomain


class Use(StrEnum):
    """What a CPU is for."""

    HOST = "host"
    """The host itself."""
    SHARED = "shared"
    """All vCPUs that have none for themselves."""
    FREE = "free"
    """A vCPU that will have it for itself; none has."""
    TAKEN = "taken"
    """Who sits on it."""
    KEPT = "kept"
    """Nobody: who sits on another thread of its core has the core for itself."""


class Role(StrEnum):
    """What of a guest sits on a CPU."""

    VCPU = "vcpu"
    EMULATOR = "emulator"
    IO_THREAD = "iothread"
    ANY = "any"
    """Whatever its pins let sit there."""
    SIBLING = "sibling"
    """Nothing; the guest sits on another thread of the core, and has the core for itself."""


class News(StrEnum):
    """What is new about where a guest is."""

    NONE = ""
    NEW = "new"
    """It is not defined yet."""
    MOVED = "moved"
    """It is defined, with other CPUs or with memory of other cells."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A part of a guest that sits on a CPU, with the number of the vCPU or I/O thread."""

    guest: str
    role: Role
    number: int | None = None


@dataclass(frozen=True, slots=True)
class MappedCpu:
    """A logical CPU of the host."""

    id: int
    use: Use
    seats: tuple[Seat, ...] = ()


@dataclass(frozen=True, slots=True)
class Portion:
    """What a guest has of something: bytes, or vCPUs."""

    guest: str
    amount: int


@dataclass(frozen=True, slots=True)
class MappedPages:
    """Pages of one size in a cell: all of them, who is bound to how much, what is free.

    `others` is what is kept for the host or expected to go to guests that are bound to no cell.
    """

    page: int
    size: int
    taken: tuple[Portion, ...]
    others: int
    free: int


@dataclass(frozen=True, slots=True)
class MappedCell:
    """A NUMA cell. `cores` are threads side by side, `floating` the vCPUs that are bound to its shared CPUs."""

    id: int
    socket: int | None
    cores: tuple[tuple[MappedCpu, ...], ...]
    pages: tuple[MappedPages, ...]
    floating: tuple[Portion, ...] = ()


@dataclass(frozen=True, slots=True)
class MappedDevice:
    """A PCI device for guests. `cell` is None if the firmware does not say; `guest` is empty if nobody has it."""

    address: str
    model: str
    cell: int | None
    guest: str = ""


@dataclass(frozen=True, slots=True)
class MappedGuest:
    """A guest. `managed` is whether it is in the manifest, `bound` whether placement gave it cells."""

    id: str
    name: str
    cpus: int
    memory: int
    managed: bool = True
    bound: bool = False
    running: bool = True
    news: News = News.NONE


@dataclass(frozen=True, slots=True)
class MappedHost:
    """A host. One that was not read has a reason for that, and no more than the guests that are known to be there.

    `memory` is all that it has, `room` what is for guests and no huge pages, `free` what is left of that; `cpus` is how
    many are for guests.
    """

    name: str
    memory: int = 0
    room: int = 0
    free: int = 0
    cpus: int = 0
    cells: tuple[MappedCell, ...] = ()
    guests: tuple[MappedGuest, ...] = ()
    devices: tuple[MappedDevice, ...] = ()
    maintenance: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HostMap:
    """All hosts of a cluster, in the manifest's order. `undecided` are vms that may be on a host that was not read."""

    cluster: str
    hosts: tuple[MappedHost, ...]
    undecided: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all hosts were read."""
        return not any(host.reason for host in self.hosts)


def host_map(placed: PlacedCluster, observations: Mapping[str, Observation]) -> HostMap:
    """Where everything of a placed cluster is, and who else is on its hosts."""
    cluster = placed.cluster
    where = {vm.name: vm.host for vm in placed.vms}
    # As the manifest says it: what placement filled in is in its places.
    vms = [vm.on(host) for vm in cluster.vms if vm.state != "absent" and (host := where.get(vm.name))]
    by_host: defaultdict[str, list[ResolvedVm]] = defaultdict(list)
    for vm in vms:
        by_host[vm.host or ""].append(vm)
    seen = {name: each for name, each in observations.items() if isinstance(each, HostSnapshot)}
    there = {room.name: room for room in rooms(cluster, seen, (vm for vm in vms if not vm.spec.is_bound))}
    ours = frozenset(vm.uuid for vm in cluster.vms)
    return HostMap(
        cluster.name,
        tuple(
            map_of(host, seen[host.name], there[host.name], by_host[host.name], placed.places, ours)
            if host.name in there
            else _unread(host, observations.get(host.name), by_host[host.name])
            for host in cluster.hosts
        ),
        placed.undecided,
    )


def _unread(host: ResolvedHost, seen: Observation | None, vms: Iterable[ResolvedVm]) -> MappedHost:
    reason = "not read" if seen is None or isinstance(seen, HostSnapshot) else seen.diagnostic.summary
    guests = tuple(_guest(vm) for vm in vms)
    return MappedHost(host.name, guests=guests, maintenance=host.maintenance, reason=reason)


def map_of(
    host: ResolvedHost,
    seen: HostSnapshot,
    room: HostRoom,
    vms: Iterable[ResolvedVm],
    places: Mapping[str, Place],
    ours: frozenset[str],
) -> MappedHost:
    """One host.

    Args:
        host: as the manifest has it.
        seen: as it is.
        room: what it has for guests, less what vms have that are bound to no cell.
        vms: that are on it or are going to be, as the manifest has them and in its order.
        places: of the vms that are bound to cells.
        ours: UUIDs of all vms in the manifest.
    """
    there = list(vms)
    strangers = [each for each in seen.state.domains if each.active and each.uuid not in ours]
    strangers.sort(key=lambda domain: domain.name)
    defined = {domain.uuid: domain for domain in seen.state.domains}
    cells = _Cells(seen.facts)
    for vm in there:
        place = places.get(vm.name)
        if place is not None and place.cells:
            cells.bind(vm, place)
        else:
            cells.add(f"vm/{vm.name}", taken_of(vm), _pinned(vm))
    for stranger in strangers:
        cells.add(f"domain/{stranger.name}", taken_by(stranger, seen.facts))
    small = sum(ordinary_memory(vm) + overhead(vm.spec) * MIB for vm in there if vm.spec.is_bound)
    has = {address: f"vm/{vm.name}" for vm in there for address in _devices(places.get(vm.name))}
    pages = pages_there(host, seen.facts)
    return MappedHost(
        name=host.name,
        memory=seen.facts.memory,
        room=room.memory,
        free=max(0, room.memory - room.used_memory - small),
        cpus=room.cpus,
        cells=tuple(cells.mapped(cell, pages) for cell in room.cells),
        guests=(
            *(_guest(vm, places.get(vm.name), defined) for vm in there),
            *(_stranger(domain) for domain in strangers),
        ),
        devices=tuple(
            MappedDevice(d.address, ", ".join(d.models), d.cell, has.get(d.address, "")) for d in room.devices
        ),
        maintenance=host.maintenance,
    )


# -- guests ----------------------------------------------------------------------------------------------------


def _guest(
    vm: ResolvedVm, place: Place | None = None, defined: Mapping[str, ObservedDomain] | None = None
) -> MappedGuest:
    """`defined` are the domains of its host by UUID, None if nobody knows them."""
    news = News.NONE
    if defined is not None and vm.uuid not in defined:
        news = News.NEW
    elif defined is not None and place is not None and (shape := shape_of(vm)) is not None:
        before = place_of(place.host, defined[vm.uuid].xml, shape)
        news = News.NONE if before is not None and _sits(before) == _sits(place) else News.MOVED
    return MappedGuest(
        f"vm/{vm.name}",
        vm.name,
        vm.cpus,
        vm.memory,
        bound=vm.spec.is_bound,
        running=vm.state != "stopped",
        news=news,
    )


def _sits(place: Place) -> tuple[object, ...]:
    """What of a place a guest would notice."""
    cells = [(cell.pins, frozenset(id_ for id_, _, _ in cell.memory)) for cell in place.cells]
    return (*cells, place.emulator, place.io_threads)


def _stranger(domain: ObservedDomain) -> MappedGuest:
    cpus, memory = load_of(domain)
    return MappedGuest(f"domain/{domain.name}", domain.name, cpus, memory, managed=False)


def _pinned(vm: ResolvedVm) -> Iterator[tuple[int, Role, int | None]]:
    """CPUs that a vm was given one by one, by hand."""
    cpus = vm.spec.cpus
    sets = [(Role.VCPU, number, text) for number, text in cpus.pinned.items()]
    sets += [(Role.IO_THREAD, int(number), text) for number, text in cpus.iothread_pins.items()]
    yield from ((int(text), role, number) for role, number, text in sets if text.isdecimal())
    if cpus.emulator_pin is not None and cpus.emulator_pin.isdecimal():
        yield int(cpus.emulator_pin), Role.EMULATOR, None


def _devices(place: Place | None) -> Iterator[str]:
    return (address for of in place.devices for address in of) if place is not None else iter(())


# -- cells -----------------------------------------------------------------------------------------------------


class _Cells:
    """Who has what of a host's cells."""

    def __init__(self, facts: HostFacts) -> None:
        self._facts = {cell.id: cell for cell in facts.cells}
        self._seats: defaultdict[int, list[Seat]] = defaultdict(list)
        self._alone: dict[int, str] = {}  # CPUs whose cores are somebody's alone
        self._floating: defaultdict[int, Counter[str]] = defaultdict(Counter)
        # By cell and size of pages: what is taken from a room, and what a room is less already.
        self._bound: defaultdict[tuple[int, int], Counter[str]] = defaultdict(Counter)
        self._known: defaultdict[tuple[int, int], Counter[str]] = defaultdict(Counter)

    def bind(self, vm: ResolvedVm, place: Place) -> None:
        """Add a vm that placement gave cells."""
        guest = f"vm/{vm.name}"
        for cell in place.cells:
            for vcpu, cpu in cell.pins:
                self._seats[cpu].append(Seat(guest, Role.VCPU, vcpu))
            if vm.spec.cpus.threads == "isolate":
                self._alone |= {cpu: guest for _, cpu in cell.pins}
            for id_, page, size in cell.memory:
                self._bound[id_, page * KIB][guest] += size * MIB
            for id_, count in cell.floating:
                self._floating[id_][guest] += count
        for cpu in place.emulator:
            self._seats[cpu].append(Seat(guest, Role.EMULATOR))
        for number, cpu in enumerate(place.io_threads, 1):
            self._seats[cpu].append(Seat(guest, Role.IO_THREAD, number))
        home = place.cells[0].home
        self._bound[home, self._smallest(home)][guest] += overhead(vm.spec) * MIB

    def add(self, guest: str, taken: Taken, pinned: Iterable[tuple[int, Role, int | None]] = ()) -> None:
        """Add a guest that says itself where it is."""
        seats = {cpu: Seat(guest, role, number) for cpu, role, number in pinned}
        for cpu in sorted(taken.cpus):
            self._seats[cpu].append(seats.get(cpu) or Seat(guest, Role.ANY))
        for nodes, page, size in taken.memory:
            if nodes is not None and len(nodes) == 1:
                (id_,) = nodes
                key = id_, self._smallest(id_) if page == ORDINARY else page * KIB
                self._known[key][guest] += size * MIB

    def _smallest(self, cell: int) -> int:
        pools = self._facts[cell].pages if cell in self._facts else ()
        return min((pool.size for pool in pools), default=4 * KIB)

    def mapped(self, room: CellRoom, pages: Mapping[int, Mapping[int, int]]) -> MappedCell:
        """A cell as it is mapped; `pages` as `pages_there` counts them."""
        return MappedCell(
            room.id,
            room.socket,
            tuple(tuple(self._cpu(cpu, core, room) for cpu in core) for core in room.cores),
            tuple(self._pages(room, pages)),
            _portions(self._floating[room.id]),
        )

    def _cpu(self, cpu: int, core: tuple[int, ...], room: CellRoom) -> MappedCpu:
        seats = tuple(self._seats.get(cpu, ()))
        if cpu in room.shared:
            return MappedCpu(cpu, Use.SHARED, seats)
        if seats:
            return MappedCpu(cpu, Use.TAKEN, seats)
        if owner := next((self._alone[other] for other in core if other in self._alone), ""):
            return MappedCpu(cpu, Use.KEPT, (Seat(owner, Role.SIBLING),))
        return MappedCpu(cpu, Use.FREE if cpu in room.dedicated else Use.HOST)

    def _pages(self, room: CellRoom, pages: Mapping[int, Mapping[int, int]]) -> Iterator[MappedPages]:
        huge = {size: count * size for size, counts in pages.items() if (count := counts.get(room.id, 0))}
        memory = self._facts[room.id].memory if room.id in self._facts else 0
        sizes = {self._smallest(room.id): max(0, memory - sum(huge.values())), **huge}
        for page, size in sorted(sizes.items()):
            bound, known = self._bound[room.id, page], self._known[room.id, page]
            free = max(0, room.pools.get(page // KIB, 0) * MIB - sum(bound.values()))
            others = max(0, size - free - sum(bound.values()) - sum(known.values()))
            if size:
                yield MappedPages(page, size, _portions(bound + known), others, free)


def _portions(of: Counter[str]) -> tuple[Portion, ...]:
    return tuple(Portion(guest, amount) for guest, amount in of.items() if amount)
