"""Devices for a guest whose cells have homes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmdecl.api import DeviceDemand, PciDevice, Shape
    from kvmdecl_numa.rooms import HostLeft

    Chosen = tuple[tuple[PciDevice, ...], ...]

_STRICTEST_FIRST = ("required", "socket", "legacy", "preferred")


def choose(host: HostLeft, shape: Shape, homes: Iterable[int]) -> Chosen | None:
    """Free devices for each demand of a guest, None if there are not enough. An IOMMU group is one guest's."""
    if not shape.devices:
        return ()
    cells = {host.cells[home].cell.id for home in homes}
    sockets = {host.by_id[cell].cell.socket for cell in cells} - {None}
    chosen: dict[int, tuple[PciDevice, ...]] = {}
    used: set[str] = set()
    for number in sorted(
        range(len(shape.devices)), key=lambda n: _STRICTEST_FIRST.index(shape.devices[n].policy)
    ):
        demand = shape.devices[number]
        free = _within_reach(host, demand, cells, sockets)
        found = _best([device for device in free if device.address not in used], demand.count, cells)
        if len(found) < demand.count:
            return None
        chosen[number] = tuple(found)
        used.update(device.address for device in found)
    return tuple(chosen[number] for number in range(len(shape.devices)))


def _within_reach(
    host: HostLeft, demand: DeviceDemand, cells: set[int], sockets: set[int | None]
) -> Iterable[PciDevice]:
    for device in host.devices.get(demand.model, ()):
        if device.iommu_group in host.owners:
            continue
        near = device.cell in cells
        home = None if device.cell is None else host.by_id.get(device.cell)
        match demand.policy:
            case "required":
                suits = near
            case "socket":
                suits = home is not None and home.cell.socket in sockets
            case "legacy":
                suits = near or device.cell is None
            case _:
                suits = True
        if suits:
            yield device


def _best(free: list[PciDevice], count: int, cells: set[int]) -> list[PciDevice]:
    """Near ones first, then those of which nobody knows where they are; few IOMMU groups rather than many."""
    sizes: dict[int, int] = {}
    for device in free:
        sizes[device.iommu_group] = sizes.get(device.iommu_group, 0) + 1

    def worth(device: PciDevice) -> tuple[bool, bool, int, int, str]:
        size = sizes[device.iommu_group]
        return (
            device.cell not in cells,
            device.cell is not None,
            size if count == 1 else -min(size, count),
            device.iommu_group,
            device.address,
        )

    return sorted(free, key=worth)[:count]
