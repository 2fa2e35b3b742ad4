"""PCI Express expander buses: buses of a guest's NUMA cell, so that the guest sees which cell a device is near to.

A device of the host says by its name (alias) which cell it is for. Where a definition is written it is put on a port of
that cell's bus; libvirt itself puts nothing there on purpose.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.libvirt_xml.safe import Element

_NAME = re.compile(r"ua-cell(\d{1,4})(-.*)?", re.ASCII)
_LAST_SLOT = 31


def expander(cell: int) -> Element:
    """The bus of a guest's cell; libvirt numbers it."""
    target = node("target", node("node", str(cell)))
    return node(
        "controller", node("alias", name=f"ua-cell{cell}"), target, type="pci", model="pcie-expander-bus"
    )


def name_on(cell: int, address: str) -> str:
    """The alias of a device of the host (address, or UUID) that is for a guest's cell."""
    return f"ua-cell{cell}-{re.sub('[^0-9a-f]', '-', address)}"


def cell_of(device: Element) -> str | None:
    """The guest's cell that a device of the host is for, None for any."""
    match = _match(device)
    return match[1] if match is not None and match[2] else None


def place_on_expanders(root: Element) -> None:
    """Put each device that is for a cell on a port of that cell's bus, if it is not on one."""
    devices = root.find("devices")
    if devices is None or not (buses := _buses(devices)):
        return
    for bus in buses.values():
        if bus.get("index") is None:
            bus.set("index", str(_next_index(devices)))
    for device in devices.iterfind("hostdev"):
        its_bus = buses.get(cell_of(device) or "")
        if its_bus is not None and not _is_on(devices, device, its_bus):
            port = next(_free_ports(devices, its_bus), None)
            _plug(device, port if port is not None else _new_port(devices, its_bus))


def place_live(device: Element, live: Element) -> None:
    """Give a device that is for a cell a free port of that cell's bus in a running guest, if there is one."""
    devices = live.find("devices")
    bus = _buses(devices).get(cell_of(device) or "") if devices is not None else None
    if (
        devices is not None
        and bus is not None
        and (port := next(_free_ports(devices, bus), None)) is not None
    ):
        _plug(device, port)


def _match(element: Element) -> re.Match[str] | None:
    alias = element.find("alias")
    return None if alias is None else _NAME.fullmatch(alias.get("name", ""))


def _buses(devices: Element) -> dict[str, Element]:
    """The expander buses by cell."""
    found = devices.iterfind("controller[@type='pci'][@model='pcie-expander-bus']")
    return {match[1]: bus for bus in found if (match := _match(bus)) is not None and not match[2]}


def _is_on(devices: Element, device: Element, bus: Element) -> bool:
    place = device.find("address[@type='pci']")
    return place is not None and any(
        _number(port.get("index")) == _number(place.get("bus")) for port in _ports(devices, bus)
    )


def _ports(devices: Element, bus: Element) -> Iterator[Element]:
    for port in devices.iterfind("controller[@type='pci'][@model='pcie-root-port']"):
        place = port.find("address[@type='pci']")
        if place is not None and _number(place.get("bus")) == _number(bus.get("index")):
            yield port


def _free_ports(devices: Element, bus: Element) -> Iterator[Element]:
    taken = {_number(place.get("bus")) for place in devices.iterfind("*/address[@type='pci']")}
    return (port for port in _ports(devices, bus) if _number(port.get("index")) not in taken)


def _new_port(devices: Element, bus: Element) -> Element:
    places = (port.find("address") for port in _ports(devices, bus))
    taken = {_number(place.get("slot")) for place in places if place is not None}
    slot = next(slot for slot in range(_LAST_SLOT + 1) if slot not in taken)
    place = _address(bus.get("index"), slot)
    port = node("controller", place, type="pci", index=str(_next_index(devices)), model="pcie-root-port")
    devices.append(port)
    return port


def _plug(device: Element, port: Element) -> None:
    for place in device.findall("address"):
        device.remove(place)
    device.append(_address(port.get("index"), 0))


def _address(bus: str | None, slot: int) -> Element:
    number = f"0x{_number(bus):02x}"
    return node("address", type="pci", domain="0x0000", bus=number, slot=f"0x{slot:02x}", function="0x0")


def _next_index(devices: Element) -> int:
    """Indexes without a gap: libvirt would fill one with ports."""
    numbers = [_number(each.get("index")) for each in devices.iterfind("controller[@type='pci'][@index]")]
    return max(numbers, default=0) + 1


def _number(text: str | None) -> int:
    try:
        return int(text or "-1", 0)
    except ValueError:
        return -1
