"""Vms that any CPUs and any memory of a host will do for: where few of their group are, then where most is free.

Memory is never promised twice; CPUs are shared, and only break ties.
"""

from __future__ import annotations

from collections import Counter
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl.names import about_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmdecl.solver import HostRoom, VmToPlace


class Rank(NamedTuple):
    """How good a host is for a vm: the smallest is the best. It only grows while vms come."""

    siblings: int
    memory: float
    cpus: float
    name: str


class Load:
    """What is used of a host so far.

    Attributes:
        room: the host.
        memory: bytes, and `cpus` virtual CPUs, of all vms there.
    """

    def __init__(self, room: HostRoom) -> None:
        self.room = room
        self.memory = room.used_memory
        self.cpus = room.used_cpus
        self._groups = Counter(room.groups)

    def take(self, vm: VmToPlace) -> None:
        """Put a vm there."""
        self.memory += vm.memory
        self.cpus += vm.cpus
        self._groups[vm.group] += 1

    @property
    def free(self) -> int:
        """Bytes that are left; less than none on a host that is too full."""
        return self.room.memory - self.memory

    def rank(self, group: str) -> Rank:
        """How good it is for a vm of a group."""
        memory, cpus = self.memory / max(1, self.room.memory), self.cpus / max(1, self.room.cpus)
        return Rank(self._groups[group], memory, cpus, self.room.name)

    def reason(self, vm: VmToPlace) -> str:
        """Why a vm does not fit."""
        return f"{about_size(max(0, self.free))} of {about_size(self.room.memory)} free, {about_size(vm.memory)} wanted"


def spread_over(
    loads: Mapping[str, Load], vms: Sequence[VmToPlace]
) -> tuple[dict[str, str], dict[str, Mapping[str, str]]]:
    """Hosts for vms, biggest first, and for each that fits nowhere why. `loads` are the hosts by name, and grow."""
    families = _families(loads.values(), vms)
    heaps: dict[tuple[str, int, tuple[str, ...]], list[Rank]] = {}
    hosts: dict[str, str] = {}
    refused: dict[str, Mapping[str, str]] = {}
    for vm in sorted(vms, key=lambda vm: (-vm.memory, -vm.cpus, vm.name)):
        kind = vm.group if vm.group in families else "", vm.memory, vm.candidates
        if kind not in heaps:
            heaps[kind] = [loads[name].rank(kind[0]) for name in vm.candidates if name in loads]
            heapify(heaps[kind])
        load = _best(heaps[kind], loads, kind[0], vm.memory)
        if load is None:
            refused[vm.name] = {name: loads[name].reason(vm) for name in vm.candidates if name in loads}
        else:
            load.take(vm)
            hosts[vm.name] = load.room.name
    return hosts, refused


def _families(loads: Iterable[Load], vms: Iterable[VmToPlace]) -> set[str]:
    """The groups with siblings to keep apart. All other vms are of one kind, which makes many vms cheap."""
    settled = {group for load in loads for group in load.room.groups}
    members = Counter(vm.group for vm in vms)
    return {group for group, number in members.items() if number > 1 or group in settled}


def _best(heap: list[Rank], loads: Mapping[str, Load], group: str, memory: int) -> Load | None:
    """The best host. One that comes up with an old rank is put back with its true one, a full one is dropped."""
    while heap:
        rank = heappop(heap)
        load = loads[rank.name]
        if memory > load.free:
            continue
        true = load.rank(group)
        heappush(heap, true)
        if true == rank:
            return load
    return None
