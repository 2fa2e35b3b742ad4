"""What libvirt says of node devices -> mediated devices, USB, SCSI."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmdecl.facts import DomainSupport, HostFacts
from kvmdecl.libvirt_xml.capabilities import parse_node_device
from kvmdecl.nodedevs import (
    Mdev,
    MdevType,
    ScsiDevice,
    UsbDevice,
    Use,
    mdev_types,
    mdevs,
    scsi_devices,
    usb_devices,
)
from tests.devices.machines import gpu_server
from tests.placement.support import facts

GPU = "0000:9b:00.0"


def _facts(*xml: str) -> HostFacts:
    return replace(facts(), devices=tuple(map(parse_node_device, xml)))


def test_types_of_mediated_devices_say_who_makes_how_many():
    assert mdev_types(gpu_server().facts()) == (
        MdevType(GPU, "nvidia-563", "NVIDIA-563", "vfio-pci", 7),
        MdevType(GPU, "nvidia-564", "NVIDIA-564", "vfio-pci", 3),
    )


def test_a_mediated_device_is_there_or_only_defined():
    assert mdevs(gpu_server().facts()) == (
        Mdev("3627463d-b7f0-4fea-b468-f1da537d301b", "nvidia-563", GPU, 90),
        Mdev("d069d019-36ea-4111-8f0a-8c9a70e21366", "nvidia-563", GPU, active=False),
    )


@pytest.mark.parametrize(
    "name",
    ["mdev_3627463d_b7f0_4fea_b468_f1da537d301b", "mdev_3627463d_b7f0_4fea_b468_f1da537d301b_0000_00_02_0"],
)
def test_the_uuid_of_a_mediated_device_is_in_its_name_if_nowhere_else(name):
    xml = f"<device><name>{name}</name><parent>computer</parent><capability type='mdev'/></device>"
    assert [mdev.uuid for mdev in mdevs(_facts(xml))] == ["3627463d-b7f0-4fea-b468-f1da537d301b"]


def test_channels_and_crypto_of_a_mainframe_make_mediated_devices_too():
    channel = """<device><name>css_0_0_fffe</name><parent>computer</parent><capability type='css'>
      <cssid>0x0</cssid><ssid>0x0</ssid><devno>0xfffe</devno>
      <channel_dev_addr><cssid>0x0</cssid><ssid>0x0</ssid><devno>0x0815</devno></channel_dev_addr>
      <capability type='mdev_types'><type id='vfio_ccw-io'><name>I/O subchannel</name>
      <deviceAPI>vfio-ccw</deviceAPI><availableInstances>1</availableInstances></type></capability>
      </capability></device>"""
    crypto = """<device><name>ap_matrix</name><parent>computer</parent><capability type='ap_matrix'>
      <capability type='mdev_types'><type id='vfio_ap-passthrough'><deviceAPI>vfio-ap</deviceAPI>
      <availableInstances>65536</availableInstances></type></capability></capability></device>"""
    made = _facts(channel, crypto)
    assert mdev_types(made) == (
        MdevType("ap_matrix", "vfio_ap-passthrough", "", "vfio-ap", 65536),
        MdevType("css_0_0_fffe", "vfio_ccw-io", "I/O subchannel", "vfio-ccw", 1),
    )
    assert dict(made.devices[0].properties)["channel_devno"] == "0x0815"


@pytest.mark.parametrize(
    "capability",
    [
        "<capability type='ccw'><cssid>0x0</cssid><ssid>0x0</ssid><devno>0x10000</devno></capability>",
        "<capability type='ap_card'><ap-adapter>0x07</ap-adapter></capability>",
        "<capability type='ap_queue'><ap-adapter>0x07</ap-adapter><ap-domain>0x0038</ap-domain></capability>",
        "<capability type='vdpa'><chardev>/dev/vhost-vdpa-0</chardev></capability>",
        "<capability type='system'><hardware><serial>1</serial></hardware></capability>",
        "<capability type='what-a-later-libvirt-has'><a><b/></a></capability>",
        "",
    ],
)
def test_a_device_of_any_other_kind_is_kept_as_it_is(capability):
    (device,) = _facts(f"<device><name>one</name>{capability}</device>").devices
    assert (device.name, device.capability) == ("one", capability.partition("'")[2].partition("'")[0])


def test_usb_devices_are_told_from_hubs():
    hub, dongle = usb_devices(gpu_server().facts())
    assert (hub.title, hub.is_hub) == ("A maker 2.0 root hub", True)
    assert dongle == UsbDevice("0529", "0001", 1, 4, "A maker License dongle", controller="0000:00:14.0")


def test_a_disk_is_found_at_its_place_on_the_adapter():
    assert scsi_devices(gpu_server().facts()) == (ScsiDevice(0, 0, 0, 0, "disk", (Use("disk", "/dev/sda"),)),)


def test_a_fibre_channel_adapter_tells_its_names():
    xml = """<device><name>scsi_host12</name><capability type='scsi_host'><host>12</host>
      <capability type='fc_host'><wwnn>2000f4e9d4eb02c9</wwnn><wwpn>2001f4e9d4eb02c9</wwpn></capability>
      <capability type='vport_ops'><max_vports>254</max_vports></capability></capability></device>"""
    (adapter,) = _facts(xml).devices
    assert dict(adapter.properties) == {
        "host": "12", "max_vports": "254", "wwnn": "2000f4e9d4eb02c9", "wwpn": "2001f4e9d4eb02c9",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("backends", "vfio"), [([], None), ([()], False), ([("vfio",)], True), ([(), ("default", "vfio")], True)]
)
def test_whether_guests_can_have_devices_is_told_by_domain_capabilities(backends, vfio):
    path = "devices/hostdev/pciBackend"
    told = tuple(DomainSupport("x86_64", "kvm", "q35", 288, ((path, names),), ()) for names in backends)
    assert replace(facts(), domain_support=told).vfio is vfio
