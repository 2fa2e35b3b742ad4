"""Biggest vm first, each to the host with the fewest of its siblings, then with the most free memory."""

from __future__ import annotations

from collections import Counter
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from kvmdecl.api import PlaceAnswer, about_size

if TYPE_CHECKING:
    from kvmdecl.api import HostRoom, PlaceRequest, VmToPlace

    # Siblings there, used share of memory, used share of CPUs, name: the smallest is the best.
    Rank = tuple[int, float, float, str]


def spread(request: PlaceRequest) -> PlaceAnswer:
    """Place every vm that fits. Memory is never promised twice; CPUs are shared, and only break ties."""
    loads = {room.name: _Load(room) for room in request.hosts}
    families = _families(request)
    queues: dict[tuple[str, int, tuple[str, ...]], _Queue] = {}
    hosts: dict[str, str] = {}
    refused: dict[str, dict[str, str]] = {}
    for vm in sorted(request.vms, key=lambda vm: (-vm.memory, -vm.cpus, vm.name)):
        kind = (vm.group if vm.group in families else "", vm.memory, vm.candidates)
        queue = queues.get(kind) or queues.setdefault(kind, _Queue(kind, loads))
        load = queue.best()
        if load is None:
            refused[vm.name] = {name: loads[name].reason(vm) for name in vm.candidates}
        else:
            load.take(vm)
            hosts[vm.name] = load.room.name
    return PlaceAnswer(hosts, refused)


def _families(request: PlaceRequest) -> set[str]:
    """The groups with siblings to keep apart. All other vms are of one kind, which makes many vms cheap."""
    settled = {group for room in request.hosts for group in room.groups}
    members = Counter(vm.group for vm in request.vms)
    return {group for group, number in members.items() if number > 1 or group in settled}


class _Load:
    """What is used of a host so far."""

    def __init__(self, room: HostRoom) -> None:
        self.room = room
        self.memory = room.used_memory
        self.cpus = room.used_cpus
        self.groups = Counter(room.groups)

    def take(self, vm: VmToPlace) -> None:
        self.memory += vm.memory
        self.cpus += vm.cpus
        self.groups[vm.group] += 1

    def has_room(self, memory: int) -> bool:
        return self.memory + memory <= self.room.memory

    def rank(self, group: str) -> Rank:
        used_memory = self.memory / max(1, self.room.memory)
        used_cpus = self.cpus / max(1, self.room.cpus)
        return self.groups[group], used_memory, used_cpus, self.room.name

    def reason(self, vm: VmToPlace) -> str:
        free = max(0, self.room.memory - self.memory)
        return f"{about_size(free)} of {about_size(self.room.memory)} free, {about_size(vm.memory)} wanted"


class _Queue:
    """The hosts for vms of one kind, best first.

    Loads only grow, and so do ranks: an old rank is never worse than the true one. A host that comes up with
    an old rank is put back with its true one, and one without room is dropped for good.
    """

    def __init__(self, kind: tuple[str, int, tuple[str, ...]], loads: dict[str, _Load]) -> None:
        self._group, self._memory, candidates = kind
        self._loads = loads
        self._heap: list[Rank] = [loads[name].rank(self._group) for name in candidates]
        heapify(self._heap)

    def best(self) -> _Load | None:
        while self._heap:
            rank = heappop(self._heap)
            load = self._loads[rank[-1]]
            if not load.has_room(self._memory):
                continue
            true = load.rank(self._group)
            heappush(self._heap, true)
            if true == rank:
                return load
        return None
