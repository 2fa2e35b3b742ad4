"""Devices for a guest that exists: those of its definition, and others near it for what it asks for beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from kvmdecl.solver import DeviceDemand, HostRoom, PciDevice, Place, Shape

_EMPTY: frozenset[str] = frozenset()


def completed(
    place: Place,
    shape: Shape,
    room: HostRoom,
    own: Mapping[int, str],
    mine: Collection[str],
    taken: Collection[str],
) -> tuple[tuple[str, ...], ...] | None:
    """The addresses of devices for each demand, as many as possible of those that it has; None if there are not enough.

    Args:
        place: where the guest is, without devices.
        shape: what it wants.
        room: its host.
        own: number of a demand -> the device that is certainly its own.
        mine: devices that the guest has by its definition.
        taken: devices of others.
    """
    free = _free(room, taken)
    open_ = [_suiting(demand, free, place, room) for demand in shape.devices]
    ordered = [
        sorted(devices, key=lambda device: _worth(device, place, own.get(number, ""), mine))
        for number, devices in enumerate(open_)
    ]
    slots = [number for number, demand in enumerate(shape.devices) for _ in range(demand.count)]
    found = _matched(slots, ordered)
    if found is None or any(
        not device.excludes.isdisjoint(other.address for other in found) for device in found
    ):
        return None
    given = sorted(zip(slots, (device.address for device in found), strict=True))
    return tuple(tuple(a for slot, a in given if slot == number) for number in range(len(shape.devices)))


def _free(room: HostRoom, taken: Collection[str]) -> list[PciDevice]:
    others = [device for device in room.devices if device.address in taken]
    groups = {device.iommu_group for device in others}
    shut = _EMPTY.union(*(device.excludes for device in others)).union(taken)
    return [
        device
        for device in room.devices
        if device.address not in shut
        and device.iommu_group not in groups
        and device.excludes.isdisjoint(taken)
    ]


def _suiting(
    demand: DeviceDemand, free: Sequence[PciDevice], place: Place, room: HostRoom
) -> list[PciDevice]:
    homes = {cell.home for cell in place.cells}
    sockets = {cell.id: cell.socket for cell in room.cells}
    near = {sockets.get(home) for home in homes} - {None}

    def is_near(cell: int | None) -> bool:
        match demand.policy:
            case "required":
                return cell in homes
            case "socket":
                return cell is not None and sockets.get(cell) in near
            case "legacy":
                return cell is None or cell in homes
        return True

    return [d for d in free if demand.model in d.models and (not homes or is_near(d.cell))]


def _worth(device: PciDevice, place: Place, own: str, mine: Collection[str]) -> tuple[object, ...]:
    homes = {cell.home for cell in place.cells}
    return (
        device.address != own,
        device.address not in mine,
        device.cell not in homes,
        device.cell is not None,
        len(device.excludes),
        len(device.models),
        device.address,
    )


def _matched(slots: Sequence[int], ordered: Sequence[Sequence[PciDevice]]) -> list[PciDevice] | None:
    """A device for each slot, no two the same: who has one gives it away only for another one (Kuhn)."""
    holder: dict[str, int] = {}
    given: dict[int, PciDevice] = {}

    def seat(slot: int, tried: set[str]) -> bool:
        for device in ordered[slots[slot]]:
            if device.address in tried:
                continue
            tried.add(device.address)
            other = holder.get(device.address)
            if other is None or seat(other, tried):
                holder[device.address], given[slot] = slot, device
                return True
        return False

    if not all(seat(slot, set()) for slot in range(len(slots))):
        return None
    return [given[slot] for slot in range(len(slots))]
