"""How many more vms of a kind fit: host by host, for vms that stay leave each host's room to itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvmdecl.shortfall import Left
from kvmdecl.solver import Place, PlaceRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.solver import Group, HostRoom, PlaceAnswer, Solver, VmToPlace

MOST = 1000
"""More vms of a kind are not counted on one host."""


@dataclass(frozen=True, slots=True)
class HostCapacity:
    """How many more vms of a kind fit on a host.

    Attributes:
        host: its name.
        more: how many.
        cells: how many cells of them are in which of the host's cells, by its id; empty for vms bound to none.
        blocked: why there cannot be one more; empty if nobody counted so far.
    """

    host: str
    more: int
    cells: Mapping[int, int]
    blocked: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many more vms of a kind fit.

    Attributes:
        kind: `vms` or `profiles`, and the name of the first of them, as `vms/web-1`.
        there: how many there are.
        more: how many more fit, all hosts together.
        hosts: that may have them, in order.
    """

    kind: str
    there: int
    more: int
    hosts: tuple[HostCapacity, ...]


def capacity(request: PlaceRequest, vm: VmToPlace, solver: Solver) -> tuple[HostCapacity, ...]:
    """How many vms like `vm` fit on each of its candidates beside the request's residents, which stay.

    `vm` may be a member of the request's groups: then all of them would be.
    """
    counter = _Counter(request, solver)
    found = [counter.on(room, vm) for room in request.hosts if room.name in vm.candidates]
    for group in request.groups:
        if vm.name in group.members and not group.soft:
            found = _grouped(found, group, vm, request)
    return tuple(found)


class _Counter:
    """Counts on one host at a time, and on one of several that are alike."""

    def __init__(self, request: PlaceRequest, solver: Solver) -> None:
        self._solver = solver
        self._there: dict[str, list[VmToPlace]] = {}
        self._known: dict[object, HostCapacity] = {}
        for vm in request.residents:
            if vm.place is not None:
                self._there.setdefault(vm.place.host, []).append(vm)

    def on(self, room: HostRoom, vm: VmToPlace) -> HostCapacity:
        there = [each for each in self._there.get(room.name, ()) if each.shape is not None]
        key = (
            repr(replace(room, name="", groups={}, labels={})),
            tuple((each.shape, replace(each.place, host="")) for each in there if each.place),
            replace(vm, candidates=()),
        )
        if key not in self._known:
            self._known[key] = self._count(room, vm, there)
        return replace(self._known[key], host=room.name)

    def _count(self, room: HostRoom, vm: VmToPlace, there: list[VmToPlace]) -> HostCapacity:
        alone = PlaceRequest((), (room,), tuple(there))
        copies = _copies(vm, room.name, min(MOST, _most(room, vm, there)))
        answer = self._ask(alone, copies)
        placed = [copy for copy in copies if copy.name in answer.hosts]
        cells = Counter(cell.home for copy in placed for cell in _place(answer, copy).cells)
        blocked = ""
        if len(placed) < MOST:
            blocked = self._blocked(alone, room, vm, placed, answer)
        return HostCapacity(room.name, len(placed), dict(sorted(cells.items())), blocked)

    def _ask(self, alone: PlaceRequest, copies: tuple[VmToPlace, ...]) -> PlaceAnswer:
        return self._solver(replace(alone, vms=copies))

    def _blocked(
        self, alone: PlaceRequest, room: HostRoom, vm: VmToPlace, placed: list[VmToPlace], answer: PlaceAnswer
    ) -> str:
        """What the solver says of one more."""
        full = replace(
            room, used_memory=room.used_memory + sum(copy.memory for copy in placed if not copy.shape)
        )
        residents = [
            replace(one, place=answer.places.get(one.name, one.place)) for one in alone.residents
        ] + [replace(copy, place=_place(answer, copy)) for copy in placed if copy.shape]
        one = replace(vm, candidates=(room.name,))
        told = self._solver(PlaceRequest((one,), (full,), tuple(residents)))
        return told.refused.get(vm.name, {}).get(room.name, "")


def _place(answer: PlaceAnswer, vm: VmToPlace) -> Place:
    return answer.places.get(vm.name) or Place(answer.hosts[vm.name], ())


def _copies(vm: VmToPlace, host: str, count: int) -> tuple[VmToPlace, ...]:
    return tuple(replace(vm, name=f"{vm.name} {number}", candidates=(host,)) for number in range(count))


def _most(room: HostRoom, vm: VmToPlace, there: list[VmToPlace]) -> int:
    """How many at most, by numbers."""
    if vm.shape is None:
        return max(0, room.memory - room.used_memory) // vm.memory if vm.memory else MOST
    if vm.shape.spills:
        wanted = sum(len(cell.pinned) for cell in vm.shape.cells)
        memory = sum(cell.memory for cell in vm.shape.cells)
        cpus = sum(len(cell.dedicated) for cell in room.cells) // wanted if wanted else MOST
        return min(cpus, sum(sum(cell.pools.values()) for cell in room.cells) // max(1, memory))
    return Left(room, [(each, each.place) for each in there if each.place]).most(vm.shape)


def _grouped(
    found: list[HostCapacity], group: Group, vm: VmToPlace, request: PlaceRequest
) -> list[HostCapacity]:
    """Cut to what a group allows; hosts without its label are one place."""
    labels = {room.name: room.labels for room in request.hosts}

    def where(host: str) -> str:
        return host if group.scope == "host" else labels.get(host, {}).get(group.scope, "")

    there = Counter(
        where(each.place.host) for each in request.residents if each.place and each.name in group.members
    )
    if group.apart:
        left = Counter({where(each.host): group.most - there[where(each.host)] for each in found})
        words = f"at most {group.most} on one {group.scope}"
    else:
        best = Counter[str]()
        for each in found:
            best[where(each.host)] += each.more
        chosen = next(iter(there), None) or max(sorted(best), key=lambda place: best[place], default="")
        left = Counter({chosen: MOST * len(found)})
        words = f"together with others on one {group.scope}"
    cut: list[HostCapacity] = []
    for each in found:
        more = max(0, min(each.more, left[where(each.host)]))
        left[where(each.host)] -= more
        cut.append(
            each if more == each.more else replace(each, more=more, cells=_fewer(each, more), blocked=words)
        )
    return cut


def _fewer(found: HostCapacity, more: int) -> Mapping[int, int]:
    """Of vms that became fewer those in the first cells."""
    cells: dict[int, int] = {}
    left = more * (sum(found.cells.values()) // max(1, found.more))
    for cell, count in found.cells.items():
        cells[cell] = min(left, count)
        left -= cells[cell]
    return cells


def capacities(
    request: PlaceRequest,
    kinds: Mapping[str, tuple[str, int]],
    solver: Solver,
    limits: Mapping[str, Mapping[str, int]] = MappingProxyType({}),
) -> tuple[Capacity, ...]:
    """Of each kind, given with how many there are, by the name of the request's vm that is one more of it.

    `limits` are how many more vms of a kind a host has huge pages for, which requests do not say of ordinary vms.
    """
    found: list[Capacity] = []
    for vm in request.vms:
        kind, there = kinds[vm.name]
        hosts = tuple(_limited(host, limits.get(vm.name, {})) for host in capacity(request, vm, solver))
        found.append(Capacity(kind, there, sum(host.more for host in hosts), hosts))
    return tuple(found)


def _limited(found: HostCapacity, limits: Mapping[str, int]) -> HostCapacity:
    limit = limits.get(found.host, found.more)
    return (
        found if limit >= found.more else replace(found, more=limit, blocked="no huge pages for more of them")
    )
