"""Devices for a guest whose cells have homes: a matching of all that it wants with all that is free."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from kvmdecl.api import DeviceDemand, PciDevice, Shape
    from kvmdecl_numa.rooms import HostLeft

    Chosen = tuple[tuple[PciDevice, ...], ...]

_STRICTEST_FIRST = ("required", "socket", "legacy", "preferred")
_MOST_TRIES = 2_000  # devices that are tried one after the other where some exclude others


def choose(host: HostLeft, shape: Shape, homes: Collection[int]) -> Chosen | None:
    """Free devices for each demand of a guest, None if there are not enough. An IOMMU group is one guest's.

    What one demand could have another may need, so they are looked at together. What is liked decides only which
    devices are tried first.
    """
    if not shape.devices:
        return ()
    open_ = [list(open_to(host, demand, homes)) for demand in shape.devices]
    if any(len(free) < demand.count for free, demand in zip(open_, shape.devices, strict=True)):
        return None
    ordered = _in_order_of_liking(host, shape, open_, homes)
    numbers = sorted(range(len(ordered)), key=lambda n: _STRICTEST_FIRST.index(shape.devices[n].policy))
    slots = [number for number in numbers for _ in range(shape.devices[number].count)]
    found = _matched(slots, ordered)
    if found is not None and _excluded(found):
        found = _beside_each_other(slots, ordered)
    if found is None:
        return None
    given = sorted(zip(slots, found, strict=True), key=lambda each: (each[0], each[1].address))
    return tuple(tuple(d for slot, d in given if slot == number) for number in range(len(ordered)))


def open_to(host: HostLeft, demand: DeviceDemand, homes: Collection[int]) -> Iterator[PciDevice]:
    """The devices that a demand may have."""
    near = _nearness(host, homes)
    for device in host.devices.get(demand.model, ()):
        if host.is_free(device) and (not homes or near(device, demand.policy)):
            yield device


def _nearness(host: HostLeft, homes: Collection[int]) -> Callable[[PciDevice, str], bool]:
    cells = {host.cells[home].cell.id for home in homes}
    sockets = {host.cells[home].cell.socket for home in homes} - {None}

    def near(device: PciDevice, policy: str) -> bool:
        inside = device.cell in cells
        home = None if device.cell is None else host.by_id.get(device.cell)
        match policy:
            case "required":
                return inside
            case "socket":
                return home is not None and home.cell.socket in sockets
            case "legacy":
                return inside or device.cell is None
        return True

    return near


# -- what is liked ---------------------------------------------------------------------------------------------


def _in_order_of_liking(
    host: HostLeft, shape: Shape, open_: Sequence[list[PciDevice]], homes: Collection[int]
) -> list[list[PciDevice]]:
    """The devices of each demand: near ones first, then those of which nobody knows where they are.

    Of these such that nothing else is lost with them, few IOMMU groups rather than many, and as the demand says.
    """
    cells = {host.cells[home].cell.id for home in homes}
    switch = _best_switch(shape.devices, open_)
    ordered = []
    for demand, free in zip(shape.devices, open_, strict=True):
        sizes = Counter(device.iommu_group for device in free)
        below = Counter[str]()

        def worth(
            device: PciDevice, demand: DeviceDemand = demand, sizes: Counter[int] = sizes
        ) -> tuple[bool | int | str, ...]:
            size = sizes[device.iommu_group]
            return (
                demand.near == "same_switch" and device.switch != switch,
                device.cell not in cells,
                device.cell is not None,
                len(device.excludes),
                len(device.models),
                size if demand.count == 1 else -min(size, demand.count),
                device.iommu_group,
                device.address,
            )

        best = sorted(free, key=worth)
        if demand.near == "distinct":
            best = [device for _, device in sorted(_rounds(best, below), key=lambda each: each[0])]
        ordered.append(best)
    return ordered


def _best_switch(demands: Sequence[DeviceDemand], open_: Sequence[list[PciDevice]]) -> str:
    """The switch below which most of what shall be below one is free; of such the one with the least beside it."""
    there: dict[str, list[int]] = {}
    for demand, free in zip(demands, open_, strict=True):
        if demand.near == "same_switch":
            for switch, count in Counter(device.switch for device in free if device.switch).items():
                met = there.setdefault(switch, [0, 0])
                met[0] += min(count, demand.count)
                met[1] += count
    return min(there, key=lambda switch: (-there[switch][0], there[switch][1], switch), default="")


def _rounds(devices: Sequence[PciDevice], below: Counter[str]) -> Iterator[tuple[int, PciDevice]]:
    """One of each switch comes before the second of any; one that is below none is as if it had its own."""
    for device in devices:
        yield below[device.switch] if device.switch else 0, device
        below[device.switch] += 1


# -- who gets which --------------------------------------------------------------------------------------------


def _matched(slots: Sequence[int], ordered: Sequence[Sequence[PciDevice]]) -> list[PciDevice] | None:
    """A device for each slot, no two the same, None if there is no such way (Kuhn's augmenting paths)."""
    holder: dict[str, int] = {}
    given: dict[int, PciDevice] = {}

    def seat(slot: int, tried: set[str]) -> bool:
        wanted = ordered[slots[slot]]
        free = next((device for device in wanted if device.address not in holder), None)
        for device in wanted if free is None else (free,):
            if device.address in tried:
                continue
            tried.add(device.address)
            if free is not None or seat(holder[device.address], tried):
                holder[device.address] = slot
                given[slot] = device
                return True
        return False

    if not all(seat(slot, set()) for slot in range(len(slots))):
        return None
    return [given[slot] for slot in range(len(slots))]


def _excluded(found: Sequence[PciDevice]) -> bool:
    """Whether one of the devices excludes another."""
    addresses = {device.address for device in found}
    return any(not device.excludes.isdisjoint(addresses) for device in found)


def _beside_each_other(
    slots: Sequence[int], ordered: Sequence[Sequence[PciDevice]]
) -> list[PciDevice] | None:
    """As `_matched`, with none that excludes another: few do, so they are tried one after the other."""
    shut = _excluders(ordered)
    tries = _MOST_TRIES
    mine: list[PciDevice] = []
    order = sorted(range(len(slots)), key=lambda slot: (len(ordered[slots[slot]]), slots[slot]))

    def extend(depth: int) -> bool:
        nonlocal tries
        if depth == len(order):
            return True
        for device in ordered[slots[order[depth]]]:
            tries -= 1
            if tries < 0:
                return False
            taken = {other.address for other in mine}
            if device.address in taken or not shut.get(device.address, frozenset()).isdisjoint(taken):
                continue
            mine.append(device)
            if extend(depth + 1):
                return True
            mine.pop()
        return False

    if not extend(0):
        return None
    given = dict(zip(order, mine, strict=True))
    return [given[slot] for slot in range(len(slots))]


def _excluders(ordered: Sequence[Sequence[PciDevice]]) -> Mapping[str, frozenset[str]]:
    """Who excludes whom, told from both sides."""
    found: dict[str, set[str]] = {}
    for device in chain.from_iterable(ordered):
        for other in device.excludes:
            found.setdefault(device.address, set()).add(other)
            found.setdefault(other, set()).add(device.address)
    return {address: frozenset(others) for address, others in found.items()}
