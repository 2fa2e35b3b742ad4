"""A host's node devices by what they are: who stands below whom, mediated devices, USB, SCSI. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.facts import HostFacts, NodeDevice

_UUID = re.compile(r"[0-9a-f]{8}(?:[_-][0-9a-f]{4}){3}[_-][0-9a-f]{12}", re.ASCII)
_HUB = "9"  # class of a USB interface


@dataclass(frozen=True, slots=True)
class Use:
    """What a host does with a device, through what its driver makes of it.

    Attributes:
        kind: `network` for a network interface, `disk` for a block device, `display` for a screen or GPU.
        name: the host's name for it, such as `eth0` or `/dev/nvme0n1`.
        purpose: what is known to depend on it, such as `port of bridge br0`; empty where nobody knows of anything.
        link: of a network interface: `up`, `down` or another of libvirt's words; empty if not told.
        speed: of its link, in Mbit/s; 0 if not told.
    """

    kind: Literal["network", "disk", "display"]
    name: str
    purpose: str = ""
    link: str = ""
    speed: int = 0


@dataclass(frozen=True, slots=True)
class MdevType:
    """A type of mediated devices that a device of the host can make (capability `mdev_types`).

    Attributes:
        parent: PCI address of that device, or the name of its node device (`css_0_0_0052`, `ap_matrix`).
        id: such as `nvidia-63`.
        title: in words, as the driver has it.
        api: as what QEMU takes it: `vfio-pci`, `vfio-ccw` or `vfio-ap`.
        available: how many more can be made now.
    """

    parent: str
    id: str
    title: str = ""
    api: str = ""
    available: int = 0


@dataclass(frozen=True, slots=True)
class Mdev:
    """A mediated device (capability `mdev`); `parent` as that of its type.

    One that is not `active` is only defined: it is there once it was started (virNodeDeviceCreate).
    """

    uuid: str
    type: str
    parent: str
    group: int | None = None
    active: bool = True


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """A USB device (capability `usb_device`). `vendor` and `product` are four hexadecimal digits, as lsusb has them.

    `bus` and `device` are its numbers; plugged in again it has another `device`. `controller` is the PCI address of
    what it is plugged into, by way of whatever hubs; empty if not told.
    """

    vendor: str
    product: str
    bus: int
    device: int
    title: str = ""
    is_hub: bool = False
    uses: tuple[Use, ...] = ()
    controller: str = ""


@dataclass(frozen=True, slots=True)
class ScsiDevice:
    """A logical unit on a SCSI adapter of the host (capability `scsi`). `adapter` is its number: 0 is `scsi_host0`.

    `kind` is libvirt's word for it, such as `disk` or `cdrom`.
    """

    adapter: int
    bus: int
    target: int
    unit: int
    kind: str = ""
    uses: tuple[Use, ...] = ()


class NodeDevices:
    """A host's node devices, looked up by name and by their parents."""

    def __init__(self, facts: HostFacts) -> None:
        self._all = facts.devices
        self._by_name: Mapping[str, NodeDevice] = {device.name: device for device in facts.devices}
        self._children: dict[str, list[NodeDevice]] = {}
        for device in facts.devices:
            self._children.setdefault(device.parent, []).append(device)
        self._in_use = dict(facts.in_use)

    def of(self, capability: str) -> Iterator[tuple[NodeDevice, dict[str, str]]]:
        """The devices of a kind, each with its properties."""
        return ((device, dict(device.properties)) for device in self._all if device.capability == capability)

    def address_of(self, name: str) -> str:
        """The PCI address of the device of this name, empty if it is none or has none."""
        device = self._by_name.get(name)
        if device is None or device.capability != "pci":
            return ""
        return dict(device.properties).get("address", "")

    def function_above(self, device: NodeDevice) -> str:
        """The PCI address of the nearest function above a device, empty if there is none."""
        name, seen = device.parent, {device.name}
        while name in self._by_name and name not in seen:
            if address := self.address_of(name):
                return address
            seen.add(name)
            name = self._by_name[name].parent
        return ""

    def below(self, device: NodeDevice) -> Iterator[NodeDevice]:
        """What the host's drivers make of a device, from the top down; not the PCI functions behind a bridge."""
        left, seen = [device.name], {device.name}
        while left:
            for child in self._children.get(left.pop(), ()):
                if child.capability != "pci" and child.name not in seen:  # a host may answer with a ring
                    seen.add(child.name)
                    left.append(child.name)
                    yield child

    def uses(self, device: NodeDevice) -> tuple[Use, ...]:
        """What the host does with a device, by name."""
        found = (use for child in self.below(device) if (use := self._use(child)) is not None)
        return tuple(sorted(found, key=lambda use: (use.kind, use.name)))

    def _use(self, device: NodeDevice) -> Use | None:
        facts = dict(device.properties)
        if device.capability == "net":
            name, speed = facts.get("interface", device.name), number_in(facts, "speed")
            return Use("network", name, self._in_use.get(name, ""), facts.get("link", ""), speed or 0)
        if device.capability == "storage":
            name = facts.get("block", device.name)
            return Use("disk", name, self._in_use.get(name, ""))
        if device.capability == "drm" and facts.get("type") == "primary":
            return Use("display", device.name, self._in_use.get(device.name, ""))
        return None


def mdev_types(facts: HostFacts) -> tuple[MdevType, ...]:
    """The types of mediated devices that a host's devices can make, by parent and id."""
    there = NodeDevices(facts)
    found = [
        MdevType(
            there.address_of(device.name) or device.name,
            id_,
            properties.get(f"mdev_type.{id_}.name", ""),
            properties.get(f"mdev_type.{id_}.api", ""),
            number_in(properties, f"mdev_type.{id_}.available") or 0,
        )
        for device in facts.devices
        for properties in [dict(device.properties)]
        for id_ in properties.get("mdev_types", "").split()
    ]
    return tuple(sorted(found, key=lambda type_: (type_.parent, type_.id)))


def mdevs(facts: HostFacts) -> tuple[Mdev, ...]:
    """The mediated devices of a host, by UUID; those that are only defined, too."""
    there = NodeDevices(facts)
    found = []
    for device, properties in there.of("mdev"):
        told = properties.get("uuid", "").lower() or _uuid_in(device.name)
        found.append(
            Mdev(
                told,
                properties.get("type", ""),
                there.address_of(device.parent) or device.parent,
                number_in(properties, "iommu_group"),
                # Told by libvirt's path in sysfs. Facts from before it was read tell it by the group.
                active="active" in properties or "iommu_group" in properties,
            )
        )
    return tuple(sorted(found, key=lambda mdev: (mdev.uuid, mdev.parent)))


def usb_devices(facts: HostFacts) -> tuple[UsbDevice, ...]:
    """The USB devices of a host, by bus and number; hubs, too."""
    there = NodeDevices(facts)
    found = []
    for device, properties in there.of("usb_device"):
        parts = [dict(part.properties) for part in there.below(device) if part.capability == "usb"]
        found.append(
            UsbDevice(
                hex_digits(properties.get("vendor", ""), 4),
                hex_digits(properties.get("product", ""), 4),
                number_in(properties, "bus") or 0,
                number_in(properties, "device") or 0,
                title_of(properties),
                any(part.get("class") == _HUB for part in parts),
                there.uses(device),
                there.function_above(device),
            )
        )
    return tuple(sorted(found, key=lambda usb: (usb.bus, usb.device)))


def scsi_devices(facts: HostFacts) -> tuple[ScsiDevice, ...]:
    """The SCSI devices of a host, by their place."""
    there = NodeDevices(facts)
    found = [
        ScsiDevice(
            number_in(properties, "host") or 0,
            number_in(properties, "bus") or 0,
            number_in(properties, "target") or 0,
            number_in(properties, "lun") or 0,
            properties.get("type", ""),
            there.uses(device),
        )
        for device, properties in there.of("scsi")
    ]
    return tuple(sorted(found, key=lambda unit: (unit.adapter, unit.bus, unit.target, unit.unit)))


# -- properties ----------------------------------------------------------------------------------------------


def number_in(properties: Mapping[str, str], key: str) -> int | None:
    """A number among a device's properties; None if it is not there, or is none."""
    text = properties.get(key, "")
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else None


def hex_digits(text: str, count: int) -> str:
    """`0x8086` -> `8086`; empty if not told."""
    digits = text.removeprefix("0x").lower()
    return digits.zfill(count) if digits else ""


def title_of(properties: Mapping[str, str]) -> str:
    """Vendor and product of a device in words, as far as the host knows any; else the product's number."""
    vendor, product = properties.get("vendor_name", ""), properties.get("product_name", "")
    if vendor and not product:
        product = hex_digits(properties.get("product", ""), 4)
    return " ".join(filter(None, (vendor, product)))


def _uuid_in(name: str) -> str:
    """It is part of the name that libvirt gives a mediated device; from 8.1 on the parent is, too."""
    match = _UUID.search(name)
    return match[0].replace("_", "-") if match else ""
