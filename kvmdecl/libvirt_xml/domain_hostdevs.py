"""Devices of the host in a vm, and what the guest shares with the host, as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.expanders import name_on
from kvmdecl.names import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.cluster import GivenDevice, ResolvedVm
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest.hostdevs import (
        HostDevice,
        Iommu,
        MediatedDevice,
        PciDevice,
        ScsiDevice,
        SharedMemory,
        Smartcard,
        UsbDevice,
    )


def host_devices(vm: ResolvedVm) -> Iterator[Element]:
    """Everything that is passed on from the host: what the manifest names, and what placement chose."""
    spec = vm.spec
    yield from map(_hostdev, spec.hostdevs)
    yield from map(_given, vm.given)
    for name, memory in spec.shared_memory.items():
        yield _shmem(name, memory)
    if spec.smartcard is not None:
        yield _smartcard(spec.smartcard)
    if spec.iommu is not None:
        yield _iommu(spec.iommu)


def _given(given: GivenDevice) -> Element:
    element, device = _hostdev(given.device), given.device
    place = (
        device.pci.address if device.pci is not None else device.mdev.uuid if device.mdev is not None else ""
    )
    if given.cell is not None:
        element.append(node("alias", name=name_on(given.cell, place)))
    return element


def _hostdev(device: HostDevice) -> Element:
    if device.usb is not None:
        return _usb(device.usb)
    if device.pci is not None:
        return _pci(device.pci)
    if device.mdev is not None:
        return _mdev(device.mdev)
    if device.scsi is not None:
        return _scsi(device.scsi)
    source = node("source", protocol="vhost", wwpn=device.scsi_host)
    return node("hostdev", source, mode="subsystem", type="scsi_host")


def _usb(device: UsbDevice) -> Element:
    source = node("source", startupPolicy=device.if_missing)
    if device.vendor is not None and device.product is not None:
        source.append(node("vendor", id=f"0x{device.vendor.lower()}"))
        source.append(node("product", id=f"0x{device.product.lower()}"))
    else:
        source.append(node("address", bus=str(device.bus), device=str(device.device)))
    return node("hostdev", source, mode="subsystem", type="usb")


def _pci(device: PciDevice) -> Element:
    domain, bus, rest = device.address.split(":")
    slot, _, function = rest.partition(".")
    address = node(
        "address", domain=f"0x{domain}", bus=f"0x{bus}", slot=f"0x{slot}", function=f"0x{function}"
    )
    shown = None if device.rom is None else _on(on=device.rom)
    has_rom = shown is not None or device.rom_file is not None
    rom = has_rom and node("rom", bar=shown, file=device.rom_file)
    managed = "yes" if device.managed else "no"
    return node("hostdev", node("source", address), rom, mode="subsystem", type="pci", managed=managed)


def _mdev(device: MediatedDevice) -> Element:
    display = None if device.display is None else _on(on=device.display)
    source = node("source", node("address", uuid=device.uuid))
    return node("hostdev", source, mode="subsystem", type="mdev", model="vfio-pci", display=display)


def _scsi(device: ScsiDevice) -> Element:
    address = node("address", bus=str(device.bus), target=str(device.target), unit=str(device.unit))
    return node(
        "hostdev",
        node("source", node("adapter", name=device.adapter), address),
        device.readonly and node("readonly"),
        device.shareable and node("shareable"),
        mode="subsystem",
        type="scsi",
        sgio=None if device.filtered is None else ("filtered" if device.filtered else "unfiltered"),
        rawio=None if device.raw_io is None else ("yes" if device.raw_io else "no"),
    )


def _on(*, on: bool) -> str:
    return "on" if on else "off"


def _shmem(name: str, memory: SharedMemory) -> Element:
    if memory.server is None:
        size = node("size", str((memory.size or 0) // KIB), unit="KiB")
        return node("shmem", node("model", type="ivshmem-plain"), size, name=name, role=memory.role)
    vectors = None if memory.vectors is None else str(memory.vectors)
    return node(
        "shmem",
        node("model", type="ivshmem-doorbell"),
        node("server", path=memory.server),
        vectors is not None and node("msi", vectors=vectors),
        name=name,
        role=memory.role,
    )


def _smartcard(card: Smartcard) -> Element:
    if card.mode == "host":
        return node("smartcard", mode="host")
    return node("smartcard", mode="passthrough", type="spicevmc")


def _iommu(iommu: Iommu) -> Element:
    switches = {
        "intremap": iommu.interrupt_remapping,
        "caching_mode": iommu.caching_mode,
        "eim": iommu.eim,
        "iotlb": iommu.iotlb,
    }
    said = {name: _on(on=on) for name, on in switches.items() if on is not None}
    driver = bool(said or iommu.address_bits) and node("driver", **said, aw_bits=iommu.address_bits)
    return node("iommu", driver, model=iommu.model)
