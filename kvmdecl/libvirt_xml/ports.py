"""PCIe root ports: the places for devices of a guest on PCI Express, which gets none while it runs.

By itself libvirt leaves one free. So a new guest gets more, and with `hotplug_ports` as many as it says, by names.
A device that comes takes any that is free; whenever the definition is written, ports are added in their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.architectures import has_pci_express
from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.expanders import cell_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.libvirt_xml.safe import Element

SPARE_PORTS = 4
"""PCIe root ports that a new guest on PCI Express has beyond its devices where the manifest does not say it."""
RESERVED = "ua-hotplug"
"""What the names (aliases) of reserved ports begin with."""

_PORTS = "controller[@type='pci'][@model='pcie-root-port']"


def reserved_ports(number: int) -> Iterator[Element]:
    """Ports that are reserved for devices to come; libvirt numbers them."""
    for place in range(1, number + 1):
        yield node("controller", node("alias", name=f"{RESERVED}{place}"), type="pci", model="pcie-root-port")


def free_port(element: Element) -> str | None:
    """A key that a reserved port shares with every port of a guest that has neither a device nor a name."""
    if element.get("model") != "pcie-root-port":
        return None
    is_one = is_reserved(element) if element.get("index") is None else not _name(element).startswith("ua-")
    return "free" if is_one and _is_free(element) else None


def is_reserved(element: Element) -> bool:
    """Whether a controller is a reserved port, declared or made."""
    return element.get("model") == "pcie-root-port" and _name(element).startswith(RESERVED)


def _name(element: Element) -> str:
    alias = element.find("alias")
    return "" if alias is None else alias.get("name", "")


def add_ports(root: Element) -> None:
    """Give a new guest the ports that its devices take, and others to spare."""
    devices, machine = root.find("devices"), root.find("os/type")
    if devices is None or machine is None:
        return
    if not has_pci_express(machine.get("arch", ""), machine.get("machine", "")):
        return
    if devices.find("controller[@type='pci'][@index]") is not None:
        return  # somebody laid the buses out
    reserved = _reserved(devices)
    devices.append(node("controller", type="pci", index="0", model="pcie-root"))  # else a port is number 0
    devices.extend(_new_ports(_needed(root) + (0 if reserved else SPARE_PORTS)))
    devices.extend(reserved)  # behind the others: libvirt takes the first that is free


def keep_ports_free(root: Element, declared: Element) -> None:
    """Add ports to the definition of a guest until as many are free as are declared to be reserved."""
    devices, wanted = root.find("devices"), declared.find("devices")
    reserved = len(_reserved(wanted)) if wanted is not None else 0
    if devices is not None and reserved:
        free = sum(map(_is_free, devices.iterfind(_PORTS)))
        devices.extend(_new_ports(_needed(root) + reserved - free))


def _reserved(devices: Element) -> list[Element]:
    return [port for port in devices.iterfind(_PORTS) if port.get("index") is None and is_reserved(port)]


def _new_ports(number: int) -> Iterator[Element]:
    for _ in range(number):
        yield node("controller", type="pci", model="pcie-root-port")


def _is_free(port: Element) -> bool:
    """Whether nothing is plugged into a port. libvirt gives one without a number the next that there is."""
    devices, index = port.getparent(), port.get("index")
    if devices is None or index is None:
        return True
    addresses = devices.iterfind("*/address[@type='pci']")
    return all(_number(address.get("bus", "0")) != _number(index) for address in addresses)


def _number(text: str) -> int | str:
    try:
        return int(text, 0)
    except ValueError:
        return text


# -- who takes a port (qemuDomainDeviceCalculatePCIConnectFlags) ---------------------------------------------

EXPRESS_NICS = ("virtio", "e1000e", "igb")
"""What models of NICs that are PCI Express devices begin with."""


def _needed(root: Element) -> int:
    """How many ports libvirt gives to devices that have no place yet, and to what it adds for them.

    Conventional devices take none: their bridge comes with a port of its own.
    """
    devices, machine = root.findall("devices/*"), root.find("os/type")
    is_pc = machine is not None and "q35" in machine.get("machine", "")
    new = [device for device in devices if device.find("address") is None and cell_of(device) is None]
    taken = sum(
        _takes_port(device) for device in new if not (is_pc and device.tag == "video")
    )  # on board there
    serves_channels = any(map(_is_on_virtio_serial, new)) and not _has(devices, "virtio-serial")
    return taken + serves_channels + (is_pc and not _has(devices, "usb"))


def _has(devices: list[Element], type_: str) -> bool:
    return any(device.tag == "controller" and device.get("type") == type_ for device in devices)


_WHERE = {"disk": ("target", "bus"), "interface": ("model", "type"), "video": ("model", "type")}
_WHERE |= {"channel": ("target", "type"), "console": ("target", "type")}
_ATTRIBUTE = {"input": "bus", "hostdev": "type", "controller": "type"}


def _word(device: Element) -> str:
    """What decides where a device of its kind goes: a disk's bus, a NIC's model."""
    tag = str(device.tag)
    if tag in _WHERE:
        child, name = _WHERE[tag]
        element = device.find(child)
        return "" if element is None else element.get(name, "")
    return device.get(_ATTRIBUTE.get(tag, "model"), "")


_ON_A_PORT = frozenset(
    {
        *(
            ("disk", "virtio"),
            ("input", "virtio"),
            ("rng", "virtio"),
            ("memballoon", "virtio"),
            ("video", "virtio"),
        ),
        *(("vsock", "virtio"), ("memory", "virtio-mem"), ("memory", "virtio-pmem"), ("crypto", "virtio")),
        *(("hostdev", "pci"), ("hostdev", "mdev"), ("hostdev", "scsi_host")),
        *(("controller", "scsi"), ("controller", "virtio-serial"), ("controller", "usb")),
    }
)


def _takes_port(device: Element) -> bool:
    tag, word = str(device.tag), _word(device)
    if tag == "interface":
        return device.get("type") == "hostdev" or word.startswith(EXPRESS_NICS)
    return tag == "filesystem" or (tag, word) in _ON_A_PORT


def _is_on_virtio_serial(device: Element) -> bool:
    return device.tag in {"channel", "console"} and _word(device) == "virtio"
