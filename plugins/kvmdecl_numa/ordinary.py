"""Vms that any CPUs and any memory of a host will do for, and that are kept apart or together."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmdecl.api import Load, spread_over

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmdecl.api import Group, HostRoom, VmToPlace


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

    def best(self, vm: VmToPlace, loads: Iterable[Load], later: Sequence[VmToPlace]) -> Load | None:
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

    def reason(self, vm: VmToPlace, load: Load) -> str:
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
    loads = {room.name: Load(room) for room in rooms}
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
    hosts, refused = spread_over(loads, [vm for vm in vms if not company.of(vm.name)])
    return found | hosts, why | refused
