"""Who has which device, and what is free to be passed on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmdecl.devicemap import DeviceMap, Hold, MappedFunction, Owner, Verdict, devices_of
from kvmdecl.views.devices_json import render_devices_json
from kvmdecl.views.devices_svg import render_html
from kvmdecl.views.devices_text import render_devices
from tests.devices.machines import MACHINES, Machine, desktop, gpu_server, nic_server, without_iommu
from tests.devices.support import guest, network, passed, pool, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

FREE, MAYBE, TAKEN, HOST, NEVER = Verdict
VGPU = "3627463d-b7f0-4fea-b468-f1da537d301b"


def judged(machine: Machine, **state: object) -> dict[str, MappedFunction]:
    return {of.function.address: of for of in devices_of(snapshot("kvm-1", machine, **state)).functions}


@pytest.mark.parametrize(
    ("machine", "address", "verdict", "why"),
    [
        (gpu_server, "0000:19:00.0", FREE, ""),
        (gpu_server, "0000:16:02.0", NEVER, ""),  # a port
        (gpu_server, "0000:00:1f.0", NEVER, "part of the board"),
        (gpu_server, "0000:65:00.0", MAYBE, "/dev/nvme0n1 may be in use"),
        (gpu_server, "0000:03:00.0", HOST, "drm_card0: the host's only display"),
        (gpu_server, "0000:4b:00.0", HOST, "ens3f0: port of bridge br0"),
        (gpu_server, "0000:4b:00.1", FREE, ""),  # its cable is out
        (gpu_server, "0000:9b:00.0", HOST, "mediated devices are made of it"),
        (
            gpu_server,
            "0000:00:1f.2",
            HOST,
            "0000:00:1f.0 of its group: part of the board, and lpc_ich has it",
        ),
        (nic_server, "0000:3b:00.1", MAYBE, "ens1f1 has a link"),
        (nic_server, "0000:3b:02.0", FREE, ""),  # a link says nothing of what is made for guests
        (desktop, "0000:00:1f.3", HOST, "0000:00:1f.6 of its group: eno1: port of bridge br0"),
        (desktop, "0000:03:00.0", MAYBE, "0000:04:00.0 of its group: /dev/nvme0n1 may be in use"),
        (without_iommu, "0000:03:00.0", NEVER, "the IOMMU is off"),
    ],
)
def test_what_stands_against_a_function(machine: Callable[[], Machine], address, verdict, why):
    found = judged(machine())[address]
    assert (found.verdict, found.why) == (verdict, why)


def test_those_of_a_group_that_the_host_works_with_go_along():
    assert judged(desktop())["0000:02:00.0"].along == (
        "0000:01:00.0",
        "0000:01:00.1",
        "0000:01:00.2",
        "0000:02:00.1",
    )


@pytest.mark.parametrize(("active", "hold"), [(True, Hold.NOW), (False, Hold.WHEN_STARTED)])
def test_a_guest_has_it_or_takes_it_when_it_starts(active: bool, hold: Hold):
    found = judged(gpu_server(), domains=(guest("train", passed("0000:19:00.0"), active=active),))[
        "0000:19:00.0"
    ]
    assert (found.verdict, found.owners) == (TAKEN, (Owner("domain/train", hold),))


def test_who_has_a_function_has_its_group():
    found = judged(desktop(), domains=(guest("games", passed("0000:01:00.0")),))["0000:02:00.0"]
    assert (found.verdict, found.why) == (TAKEN, "0000:01:00.0 of its group: domain/games")


@pytest.mark.parametrize(
    "forward",
    [
        "<forward mode='hostdev'><pf dev='ens1f0'/></forward>",
        "<forward mode='hostdev'><address type='pci' domain='0' bus='0x3b' slot='0x02' function='0x1'/></forward>",
    ],
)
def test_a_network_has_the_virtual_functions_that_it_hands_out(forward: str):
    found = judged(nic_server(), networks=(network("fast", forward),))
    assert found["0000:3b:02.1"].owners == (Owner("network/fast", Hold.NOW),)
    assert found["0000:3b:00.0"].verdict in {TAKEN, HOST}


def test_the_card_of_taken_virtual_functions_is_taken():
    found = judged(nic_server(), domains=(guest("web", passed("0000:3b:02.3")),))["0000:3b:00.0"]
    assert (found.verdict, found.why) == (TAKEN, "its virtual functions are taken")


def test_a_card_takes_its_virtual_functions_along():
    card = nic_server()
    card.interface("0000:3b:00.0", "ens1f0", "down")
    found = judged(card)["0000:3b:00.0"]
    assert (found.verdict, found.why) == (MAYBE, "its virtual functions would go")


def test_a_disk_under_a_pool_is_the_hosts():
    found = judged(nic_server(), pools=(pool("vms", "<device path='/dev/nvme0n1p4'/>"),))["0000:02:00.0"]
    assert (found.verdict, found.why) == (HOST, "/dev/nvme0n1: pool vms")


@pytest.mark.parametrize(
    "source",
    [
        "<vendor id='0x0529'/><product id='0x0001'/>",
        "<address bus='1' device='4'/>",
    ],
)
def test_a_usb_device_is_known_by_what_it_is_and_by_where_it_is(source: str):
    hostdev = f"<hostdev mode='subsystem' type='usb'><source>{source}</source></hostdev>"
    devices = devices_of(snapshot("kvm-1", gpu_server(), domains=(guest("cad", hostdev),)))
    hub, dongle = devices.usb
    assert (hub.verdict, hub.device.is_hub) == (NEVER, True)
    assert (dongle.verdict, dongle.owners) == (TAKEN, (Owner("domain/cad", Hold.NOW),))
    controller = next(of for of in devices.functions if of.function.address == dongle.device.controller)
    assert (controller.verdict, controller.why) == (TAKEN, "USB devices on it are taken")


def test_a_mediated_device_is_known_by_its_uuid():
    hostdev = f"<hostdev mode='subsystem' type='mdev'><source><address uuid='{VGPU}'/></source></hostdev>"
    taken, free = devices_of(snapshot("kvm-1", gpu_server(), domains=(guest("cad", hostdev),))).mdevs
    assert (taken.mdev.uuid, taken.verdict) == (VGPU, TAKEN)
    assert free.verdict == FREE


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_each_function_stands_once_and_below_its_port(machine: Callable[[], Machine]):
    addresses = [of.function.address for of in devices_of(snapshot("kvm-1", machine())).functions]
    assert sorted(addresses) == sorted(machine().functions)
    assert all(
        addresses.index(function.below) < addresses.index(function.address)
        for function in machine().functions.values()
        if function.below
    )


def test_a_ring_of_ports_is_listed_all_the_same():
    ring = Machine()
    ring.port("0000:00:01.0", below="0000:00:02.0")
    ring.port("0000:00:02.0", below="0000:00:01.0")
    assert sorted(judged(ring)) == ["0000:00:01.0", "0000:00:02.0"]


WHOLE = [snapshot("kvm-1", machine()) for machine in MACHINES.values()]


@settings(max_examples=30)
@given(st.data())
def test_whatever_a_host_tells_is_shown(data: st.DataObject):
    """Each value of a device may be any text, and its parent any other device."""
    seen = data.draw(st.sampled_from(WHOLE))
    devices = list(seen.facts.devices)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(devices) - 1))
        device = devices[place]
        told = dict(device.properties)
        if told:
            told[data.draw(st.sampled_from(sorted(told)))] = data.draw(
                st.text(max_size=12) | st.sampled_from(OTHERS)
            )
        parent = data.draw(st.sampled_from([device.parent, *(other.name for other in devices)]))
        devices[place] = replace(device, parent=parent, properties=tuple(sorted(told.items())))
    found = devices_of(replace(seen, facts=replace(seen.facts, devices=tuple(devices))))
    pci = [dict(device.properties) for device in devices if device.capability == "pci"]
    addresses = {properties["address"] for properties in pci if "address" in properties}
    assert {of.function.address for of in found.functions} >= addresses - {""}
    for render in (render_devices_json, render_html, lambda shown: render_devices(shown, color=True)):
        assert render(DeviceMap("demo", (found,)))


OTHERS = ["-1", "9" * 30, "0000:00:1f.6", "0000:00:1f.6 0000:00:1f.6", "0x", "\ud800", "\u0661"]
