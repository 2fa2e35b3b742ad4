"""A solver that tries everything: for small clusters, and to hold others against."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import permutations
from typing import TYPE_CHECKING

from kvmdecl.solver import CellPlace, Place, PlaceAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.solver import CellRoom, Group, HostRoom, PlaceRequest, Shape, VmToPlace

Choice = tuple[str, tuple[tuple[int, int], ...]]
"""A host, and for each cell of the guest the host's cell and the size of its pages."""


def exact(request: PlaceRequest) -> PlaceAnswer:
    """A place for each vm in turn that fits beside those before it, however they have to make room."""
    chosen: dict[str, Choice] = {}
    taken: list[VmToPlace] = []
    refused: dict[str, dict[str, str]] = {}
    for vm in request.vms:
        found = _all_of(request, [*taken, vm])
        if found is None:
            refused[vm.name] = dict.fromkeys(vm.candidates, "no room")
        else:
            taken.append(vm)
            chosen = found
    vms = {vm.name: vm for vm in (*request.residents, *taken)}
    residents = {vm.name: vm.place for vm in request.residents if vm.place is not None}
    places = {
        name: Place(host, tuple(_place(vms[name].shape, cells)))
        for name, (host, cells) in chosen.items()
        if name not in residents and vms[name].shape is not None
    }
    hosts = {vm.name: chosen[vm.name][0] for vm in taken}
    return PlaceAnswer(hosts, refused, places | residents)


def _place(shape: Shape | None, cells: tuple[tuple[int, int], ...]) -> Iterator[CellPlace]:
    """Only cells and memory: which CPU is whose does not matter here."""
    for demand, (cell, page) in zip(shape.cells if shape else (), cells, strict=True):
        floating = ((cell, len(demand.floating)),) if demand.floating else ()
        yield CellPlace(cell, ((cell, page, demand.memory),), (), floating)


def _all_of(request: PlaceRequest, vms: list[VmToPlace]) -> dict[str, Choice] | None:
    settled = {vm.name: _as_chosen(vm.place) for vm in request.residents if vm.place is not None}
    state = _State(request, {vm.name: vm for vm in (*request.residents, *vms)}, settled)
    order = sorted(vms, key=lambda vm: (len(vm.candidates), vm.shape is None, -vm.cpus, vm.group, vm.name))
    return _search(state, order) if state.holds() and _enough(request, vms) else None


def _enough(request: PlaceRequest, vms: list[VmToPlace]) -> bool:
    """Whether there are CPUs and memory for all of them somewhere: a quick no."""
    cells = [cell for room in request.hosts for cell in room.cells]
    wanted = [cell for vm in vms if vm.shape for cell in vm.shape.cells]
    cpus = sum(len(cell.pinned) for cell in wanted) <= sum(len(cell.dedicated) for cell in cells)
    return cpus and sum(cell.memory for cell in wanted) <= sum(sum(cell.pools.values()) for cell in cells)


def _as_chosen(place: Place) -> Choice:
    return place.host, tuple(
        (cell.home, next((page for _, page, _ in cell.memory), 4)) for cell in place.cells
    )


def _search(state: _State, vms: list[VmToPlace], before: VmToPlace | None = None) -> dict[str, Choice] | None:
    if not vms:
        return dict(state.chosen)
    vm = vms[0]
    for choice in state.choices(vm):
        # Of vms alike the later one never comes first: that was tried.
        if before is not None and _alike(before, vm, state.request) and choice < state.chosen[before.name]:
            continue
        state.chosen[vm.name] = choice
        if state.holds(choice[0]) and (found := _search(state, vms[1:], vm)) is not None:
            return found
        del state.chosen[vm.name]
    return None


def _alike(one: VmToPlace, other: VmToPlace, request: PlaceRequest) -> bool:
    tied = any({one.name, other.name} & group.members for group in request.groups)
    return not tied and replace(one, name="", group="") == replace(other, name="", group="")


@dataclass
class _State:
    request: PlaceRequest
    vms: dict[str, VmToPlace]
    chosen: dict[str, Choice] = field(default_factory=dict)

    def choices(self, vm: VmToPlace) -> Iterator[Choice]:
        for room in self.request.hosts:
            if room.name in vm.candidates:
                yield from ((room.name, cells) for cells in _homes(vm.shape, room))

    def holds(self, host: str | None = None) -> bool:
        rooms = [room for room in self.request.hosts if host in {None, room.name}]
        return all(map(self._fits, rooms)) and all(map(self._kept, self.request.groups))

    def _fits(self, room: HostRoom) -> bool:
        there = [(self.vms[name], cells) for name, (host, cells) in self.chosen.items() if host == room.name]
        settled = {vm.name for vm in self.request.residents}
        new = sum(vm.memory for vm, _ in there if vm.shape is None and vm.name not in settled)
        if new and room.used_memory + new > room.memory:
            return False
        labels = all(room.labels.get(k) == v for vm, _ in there if vm.shape for k, v in vm.shape.labels)
        return labels and all(_cell_fits(room, cell, there) for cell in room.cells)

    def _kept(self, group: Group) -> bool:
        labels = {room.name: room.labels for room in self.request.hosts}
        hosts = [self.chosen[name][0] for name in group.members if name in self.chosen]
        scopes = Counter(
            host if group.scope == "host" else labels[host].get(group.scope, host) for host in hosts
        )
        return max(scopes.values(), default=0) <= group.most if group.apart else len(scopes) <= 1


def _homes(shape: Shape | None, room: HostRoom) -> Iterator[tuple[tuple[int, int], ...]]:
    if shape is None:
        yield ()
        return
    places = {cell.id: place for place, cell in enumerate(room.cells)}
    for cells in permutations(room.cells, len(shape.cells)):
        far = max((room.distances[places[a.id]][places[b.id]] for a in cells for b in cells), default=0)
        if shape.reach is None or far <= shape.reach:
            yield from _pages(shape, cells)


def _pages(shape: Shape, cells: tuple[CellRoom, ...]) -> Iterator[tuple[tuple[int, int], ...]]:
    if not cells:
        yield ()
        return
    sizes = sorted(cells[0].pools)
    by_word = {"small": sizes[:1], "large": sizes[1:], "any": sizes}
    for page in by_word[shape.pages] if isinstance(shape.pages, str) else [shape.pages]:
        for others in _pages(shape, cells[1:]):
            yield ((cells[0].id, page), *others)


def _cell_fits(
    room: HostRoom, cell: CellRoom, there: list[tuple[VmToPlace, tuple[tuple[int, int], ...]]]
) -> bool:
    """By counts, which for cores of one and two threads is the same as by CPUs."""
    floating, threads, pairs, isolated, pools = 0, 0, 0, 0, Counter(cell.pools)
    for vm, homes in there:
        for number, (home, page) in enumerate(homes):
            if home != cell.id or vm.shape is None:
                continue
            demand, shape = vm.shape.cells[number], vm.shape
            if demand.memory * 1024 % page or page not in cell.pools:
                return False
            pools[page] -= demand.memory
            pools[min(cell.pools)] -= shape.overhead if number == 0 else 0
            threads += ((shape.emulator == "isolate") + shape.io_threads) if number == 0 else 0
            floating += len(demand.floating)
            if len(demand.floating) > len(cell.shared):
                return False
            pinned = len(demand.pinned)
            isolated += pinned if shape.threads == "isolate" else 0
            pairs += pinned // 2 if shape.threads == "require" else 0
            threads += pinned if shape.threads != "isolate" else 0
    all_, whole, solo = _cores(cell.cores, cell.dedicated)
    on_whole = max(0, isolated - solo)
    return (
        min(pools.values(), default=0) >= 0
        and floating <= int(room.overcommit * len(cell.shared))
        and on_whole + pairs <= whole
        and threads + isolated + on_whole <= all_
    )


@cache
def _cores(cores: tuple[tuple[int, ...], ...], dedicated: frozenset[int]) -> tuple[int, int, int]:
    """CPUs to be had, cores of two of them, and cores that have but one thread."""
    free = [[cpu for cpu in core if cpu in dedicated] for core in cores]
    whole = sum(len(cpus) == 2 for cpus in free)
    solo = sum(len(cpus) == len(core) == 1 for cpus, core in zip(free, cores, strict=True))
    return sum(map(len, free)), whole, solo
