"""Devices of the host, shared memory, IOMMUs: definitions, changes, and how they fare on a real host."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.manifest import Vm
from kvmdecl.manifest.hostdevs import HostDevice, Iommu, PciDevice, SharedMemory, UsbDevice
from kvmdecl.names import KIB, MIB
from kvmdecl.plan import Impact
from kvmdecl.state import Origin
from tests.libvirt_xml.examples import declared, kept, observed
from tests.libvirt_xml.test_on_libvirt import (
    ROOT,
    define_each_over_the_last,
    host,
    start_and_find_nothing_to_do,
)
from tests.libvirt_xml.test_on_libvirt import declared as declared_on_host

__all__ = ["host"]

MOUSE = {"usb": {"vendor": "046d", "product": "c52b", "if_missing": "optional"}}
CARD = {"pci": {"address": "0000:41:00.0", "rom": True, "rom_file": "/srv/rom.bin"}}

GUESTS: dict[str, dict[str, Any]] = {
    "a usb device by its kind": {"hostdevs": [MOUSE]},
    "usb devices by their place": {"hostdevs": [{"usb": {"bus": "1", "device": n}} for n in ("3", "4")]},
    "pci devices": {"hostdevs": [CARD, {"pci": {"address": "0000:41:00.1", "managed": False, "rom": False}}]},
    "a vgpu": {"hostdevs": [{"mdev": {"uuid": "c2177883-f1bb-47f0-914d-32a22e3a8804", "display": False}}]},
    "scsi devices": {
        "hostdevs": [
            {"scsi": {"adapter": "scsi_host0", "unit": "1", "readonly": True, "filtered": True}},
            {"scsi": {"adapter": "scsi_host0", "unit": "2", "shareable": True, "raw_io": False}},
            {"scsi_host": "naa.5001405df3e54061"},
        ]
    },
    "shared memory": {"shared_memory": {"ring": {"size": 4 * MIB, "role": "master"}, "plain": MIB}},
    "shared memory with bells": {"shared_memory": {"bell": {"server": "/run/ivshmem.sock", "vectors": "4"}}},
    "a reader of smart cards": {"smartcard": "spice", "graphics": {"type": "spice"}},
    "the host's reader": {"smartcard": "host"},
    "an iommu of virtio": {"iommu": "virtio"},
    "an iommu of intel": {
        "iommu": {"model": "intel", "caching_mode": True, "iotlb": True, "address_bits": "48"}
    },
    "devices of the host's console": {
        "inputs": [
            {"type": "passthrough", "path": "/dev/input/event1"},
            {"type": "passthrough", "path": "/dev/input/event2"},
            {"type": "evdev", "path": "/dev/input/event3", "grab": "all", "repeat": True},
        ]
    },
}
STARTS = frozenset({"a reader of smart cards", "an iommu of virtio", "an iommu of intel"})
"""Guests that need nothing of the host."""


@pytest.mark.parametrize("name", GUESTS)
def test_every_device_fits_libvirts_schema(against_schema, name):
    assert against_schema("domain", complete(declared(**GUESTS[name]))) == []


@pytest.mark.xdist_group("lab")
def test_every_guest_reads_back_as_it_was_declared_also_after_all_others(host):
    define_each_over_the_last(host, GUESTS)


@pytest.mark.xdist_group("lab")
@pytest.mark.parametrize("name", sorted(STARTS))
def test_a_guest_that_was_just_started_needs_nothing(host, name):
    text = declared_on_host(disks=(ROOT,), nics=(), **GUESTS[name])

    start_and_find_nothing_to_do(host, text)


@pytest.mark.parametrize(
    ("before", "after", "key", "impact", "calls"),
    [
        ({}, {"hostdevs": [MOUSE]}, "hostdevs", Impact.LIVE, ["attach-device"]),
        ({"hostdevs": [MOUSE, CARD]}, {"hostdevs": [CARD]}, "hostdevs", Impact.LIVE, ["detach-device"]),
        (
            {"hostdevs": [CARD]},
            {"hostdevs": [{"pci": {"address": "0000:41:00.0"}}]},
            "hostdevs",
            Impact.NEXT_BOOT,
            [],
        ),
        (
            {},
            {"shared_memory": {"ring": MIB}},
            "shared_memory",
            Impact.NEXT_BOOT,
            [],
        ),  # a q35 guest has no bridge
        ({"shared_memory": {"ring": MIB}}, {}, "shared_memory", Impact.LIVE, ["detach-device"]),
        (
            {"shared_memory": {"ring": MIB}},
            {"shared_memory": {"ring": 2 * MIB}},
            "shared_memory",
            Impact.NEXT_BOOT,
            [],
        ),
        ({}, {"smartcard": "host"}, "smartcard", Impact.NEXT_BOOT, []),
        ({}, {"iommu": "virtio"}, "iommu", Impact.NEXT_BOOT, []),
        ({}, GUESTS["devices of the host's console"], "inputs", Impact.NEXT_BOOT, []),
    ],
)
def test_what_a_change_does_to_a_running_guest(before, after, key, impact, calls):
    was = kept(declared(**before))

    found = assess(declared(**after), declared(**before), observed(was, was), Origin())

    assert {change.key for change in found.changes} == {key}
    assert {change.impact for change in found.changes} == {impact}
    assert [call.call for call in found.live] == calls


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (HostDevice, "manifest.bad-hostdev"),
        (lambda: HostDevice(**MOUSE, **CARD), "manifest.bad-hostdev"),
        (UsbDevice, "manifest.bad-hostdev"),
        (lambda: UsbDevice(vendor="046d"), "manifest.bad-hostdev"),
        (lambda: UsbDevice(vendor="046d", product="c52b", bus="1", device="2"), "manifest.bad-hostdev"),
        (lambda: UsbDevice(bus="1", device="2", if_missing="optional"), "manifest.bad-hostdev"),
        (lambda: PciDevice(address="0000:41:00.0", rom=False, rom_file="/srv/x"), "manifest.bad-hostdev"),
        (lambda: PciDevice(address="41:00.0"), "manifest.bad-value"),
        (lambda: Vm(hostdevs=[MOUSE, MOUSE]), "manifest.bad-hostdev"),
        (SharedMemory, "manifest.bad-shared-memory"),
        (lambda: SharedMemory(size=3 * MIB), "manifest.bad-shared-memory"),
        (lambda: SharedMemory(size=KIB), "manifest.bad-shared-memory"),
        (lambda: SharedMemory(size=MIB, vectors="2"), "manifest.bad-shared-memory"),
        (lambda: Iommu(model="virtio", iotlb=True), "manifest.bad-iommu"),
        (lambda: Iommu(model="intel", eim=True), "manifest.bad-iommu"),
        (lambda: Vm(machine="pc", iommu="intel"), "manifest.bad-iommu"),
        (lambda: Vm(iommu={"model": "intel", "interrupt_remapping": True}), "manifest.bad-iommu"),
        (lambda: Vm(smartcard="spice"), "manifest.bad-smartcard"),
        (lambda: Vm(inputs=[{"type": "evdev"}]), "manifest.bad-input"),
        (lambda: Vm(inputs=[{"type": "mouse", "path": "/dev/input/event1"}]), "manifest.bad-input"),
        (lambda: Vm(inputs=[{"type": "passthrough", "path": "/dev/x", "grab": "all"}]), "manifest.bad-input"),
    ],
)
def test_what_cannot_be_is_refused(make, code):
    with pytest.raises(ValidationError) as refused:
        make()

    assert code in {error["type"] for error in refused.value.errors()}
