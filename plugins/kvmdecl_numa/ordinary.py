"""Vms that any CPUs and any memory of a host will do for: where few of their group are, then where most is free."""

from __future__ import annotations

from collections import Counter
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl.api import about_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmdecl.api import Group, HostRoom, VmToPlace


class _Rank(NamedTuple):
    """How good a host is: the smallest is the best. It only grows while vms come."""

    siblings: int
    memory: float
    cpus: float
    name: str


class _Load:
    """What is used of a host."""

    def __init__(self, room: HostRoom) -> None:
        self.room = room
        self.memory = room.used_memory
        self.cpus = room.used_cpus
        self.groups = Counter(room.groups)

    def take(self, vm: VmToPlace) -> None:
        self.memory += vm.memory
        self.cpus += vm.cpus
        self.groups[vm.group] += 1

    @property
    def free(self) -> int:
        return self.room.memory - self.memory

    def rank(self, group: str) -> _Rank:
        memory, cpus = self.memory / max(1, self.room.memory), self.cpus / max(1, self.room.cpus)
        return _Rank(self.groups[group], memory, cpus, self.room.name)

    def reason(self, vm: VmToPlace) -> str:
        return f"{about_size(max(0, self.free))} of {about_size(self.room.memory)} free, {about_size(vm.memory)} wanted"


class Company:
    """Groups, and where their members are."""

    def __init__(self, groups: Iterable[Group], rooms: Iterable[HostRoom], where: Mapping[str, str]) -> None:
        self._rooms = {room.name: room for room in rooms}
        self._groups: dict[str, list[tuple[Group, Counter[str | None]]]] = {}
        for group in groups:
            there: Counter[str | None] = Counter()
            for name in group.members:
                self._groups.setdefault(name, []).append((group, there))
        for name, host in where.items():
            if host in self._rooms:
                self.join(name, self._rooms[host])

    def of(self, vm: str) -> bool:
        """Whether a vm is in a group."""
        return vm in self._groups

    def join(self, vm: str, room: HostRoom) -> None:
        """Tell where a vm is now."""
        for group, there in self._groups.get(vm, ()):
            there[_domain(group, room)] += 1

    def allows(self, vm: str, room: HostRoom) -> bool:
        """Whether its groups leave a vm there."""
        mine = self._groups.get(vm, ())
        return not any(_clash(group, there, room) for group, there in mine if not group.soft)

    def misses(self, vm: str, room: HostRoom) -> int:
        """How many of its soft groups would rather not have a vm there."""
        mine = self._groups.get(vm, ())
        return sum(_clash(group, there, room) for group, there in mine if group.soft)

    def best(self, vm: VmToPlace, loads: Iterable[_Load], later: Sequence[VmToPlace]) -> _Load | None:
        """Where a vm goes; the first of some that stay together goes where there is room for all of them."""
        with_it = {name for group, _ in self._groups[vm.name] if not group.apart for name in group.members}
        memory = vm.memory + sum(other.memory for other in later if other.name in with_it)
        fit = [load for load in loads if load.free >= vm.memory and self.allows(vm.name, load.room)]
        return min(
            fit,
            key=lambda load: (
                self.misses(vm.name, load.room),
                load.free < memory,
                load.rank(vm.group),
            ),
            default=None,
        )

    def reason(self, vm: VmToPlace, load: _Load) -> str:
        """Why a vm cannot be there."""
        for group, there in self._groups[vm.name]:
            if not group.soft and _clash(group, there, load.room):
                what = "a host" if group.scope == "host" else f"a {group.scope}"
                if not group.apart:
                    return f"not {what} that it could share with those it shall be together with"
                return f"no more than {group.most} of those that are kept apart on {what}"
        return load.reason(vm)


def _clash(group: Group, there: Counter[str | None], room: HostRoom) -> bool:
    domain = _domain(group, room)
    return there[domain] >= group.most if group.apart else bool(there) and not there[domain]


def _domain(group: Group, room: HostRoom) -> str | None:
    return room.name if group.scope == "host" else room.labels.get(group.scope)


def place_ordinary(
    vms: Sequence[VmToPlace], rooms: Sequence[HostRoom], company: Company
) -> tuple[dict[str, str], dict[str, Mapping[str, str]]]:
    """Hosts for vms, biggest first, and for each that fits nowhere why. No memory is promised twice.

    Those of a group come before the others, for they have less of a choice.
    """
    loads = {room.name: _Load(room) for room in rooms}
    members = sorted(
        (vm for vm in vms if company.of(vm.name)), key=lambda vm: (-vm.memory, len(vm.candidates), vm.name)
    )
    found: dict[str, str] = {}
    why: dict[str, Mapping[str, str]] = {}
    for number, vm in enumerate(members):
        choice = company.best(
            vm, [loads[name] for name in vm.candidates if name in loads], members[number + 1 :]
        )
        if choice is None:
            why[vm.name] = {name: company.reason(vm, loads[name]) for name in vm.candidates if name in loads}
        else:
            choice.take(vm)
            company.join(vm.name, choice.room)
            found[vm.name] = choice.room.name
    hosts, refused = _place_others([vm for vm in vms if not company.of(vm.name)], loads)
    return found | hosts, why | refused


def _place_others(
    vms: Iterable[VmToPlace], loads: dict[str, _Load]
) -> tuple[dict[str, str], dict[str, Mapping[str, str]]]:
    heaps: dict[tuple[str, int, tuple[str, ...]], list[_Rank]] = {}
    hosts: dict[str, str] = {}
    refused: dict[str, Mapping[str, str]] = {}
    for vm in sorted(vms, key=lambda vm: (-vm.memory, -vm.cpus, vm.name)):
        kind = vm.group, vm.memory, vm.candidates
        if kind not in heaps:
            heaps[kind] = [loads[name].rank(vm.group) for name in vm.candidates if name in loads]
            heapify(heaps[kind])
        load = _best(heaps[kind], loads, vm)
        if load is None:
            refused[vm.name] = {name: loads[name].reason(vm) for name in vm.candidates if name in loads}
        else:
            load.take(vm)
            hosts[vm.name] = load.room.name
    return hosts, refused


def _best(heap: list[_Rank], loads: dict[str, _Load], vm: VmToPlace) -> _Load | None:
    """The best host. One that comes up with an old rank is put back with its true one, a full one is dropped."""
    while heap:
        rank = heappop(heap)
        load = loads[rank.name]
        if vm.memory > load.free:
            continue
        true = load.rank(vm.group)
        heappush(heap, true)
        if true == rank:
            return load
    return None
