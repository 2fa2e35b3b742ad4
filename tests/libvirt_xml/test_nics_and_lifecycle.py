"""What a NIC may do, what follows when a guest stops, and what its operating system is used to."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree
from pydantic import ValidationError

from kvmdecl.cluster import ResolvedNic
from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.overlay import complete, overlay_device
from kvmdecl.manifest import Input, Nic, Vm
from kvmdecl.manifest.hostdevs import ScsiDevice
from kvmdecl.manifest.memory import MemoryModule
from kvmdecl.manifest.traffic import Vlan
from kvmdecl.plan import Impact
from kvmdecl.state import Kind, Origin
from tests.libvirt_xml.examples import declared, kept, nic, observed
from tests.libvirt_xml.test_on_libvirt import (
    DUMP,
    ROOT,
    define_each_over_the_last,
    host,
    start_and_find_nothing_to_do,
)
from tests.libvirt_xml.test_on_libvirt import declared as declared_on_host

__all__ = ["host"]

LIMITS = {"inbound": {"average": "10MiB", "peak": "20MiB", "burst": "1MiB"}, "outbound": "5MiB"}
FILTER = {"name": "clean-traffic", "parameters": {"IP": ["10.0.0.5", "10.0.0.6"], "MAC": "52:54:00:00:00:01"}}

SHARED = {"memory_keys": {"source": "memfd", "access": "shared"}}


def plugged(number: int = 1, **given: Any) -> ResolvedNic:
    """A NIC that is plugged into no network."""
    return nic(number, network=None, is_bridge=False, source="", **given)


GUESTS: dict[str, dict[str, Any]] = {
    "queues": {"nics": (nic(queues=4),)},
    "limits": {"nics": (nic(bandwidth=LIMITS),)},
    "a filter": {"nics": (nic(filter=FILTER),)},
    "a bare filter on a network": {"nics": (nic(filter="no-mac-spoofing", is_bridge=False, source="inner"),)},
    "an isolated port": {"nics": (nic(isolated=True),)},
    "trusted receive filters": {"nics": (nic(trust_guest_rx_filters=True),)},
    "everything at once": {
        "nics": (nic(queues=2, bandwidth=LIMITS, filter=FILTER, isolated=True, mtu=9000, boot_order=1),)
    },
    "a port of a kind, in a vlan": {
        "nics": (nic(portgroup="staff", vlan=42, is_bridge=False, source="inner"),)
    },
    "a trunk": {"nics": (nic(vlan={"tags": [5, 6], "native": 6}, is_bridge=False, source="inner"),)},
    "a device": {"nics": (plugged(device="eth0", bandwidth=LIMITS),)},
    "a device of its own": {"nics": (plugged(device="eth0", macvtap_mode="passthrough", vlan=3),)},
    "a function of a card": {
        "nics": (plugged(pci="0000:03:10.0", vlan=7), plugged(2, pci="0000:03:10.1", managed=False))
    },
    "a software switch": {
        "nics": (plugged(vhost_user={"path": "/srv/s", "reconnect": 5}, queues=2, mtu=1400),),
        **SHARED,
    },
    "a software switch that connects": {
        "nics": (plugged(vhost_user={"path": "/srv/t", "mode": "server"}, driver={"tx_queue_size": "512"}),),
        **SHARED,
    },
    "only QEMU": {"nics": (plugged(user="slirp", model="e1000"),)},
    "vdpa": {"nics": (plugged(vdpa="/dev/vhost-vdpa-0", queues=2),)},
    "a team": {
        "nics": (
            nic(team="fast", failover="persistent"),
            plugged(1, pci="0000:03:10.0", team="fast", failover="transient"),
        )
    },
    "offloads": {
        "nics": (
            nic(offloads={"host": {"csum": False, "tso4": False, "mrg_rxbuf": True}, "guest": {"ufo": True}}),
        )
    },
    "a driver": {
        "nics": (
            nic(
                driver={
                    "name": "qemu",
                    "tx_mode": "timer",
                    "rx_queue_size": "512",
                    "event_idx": False,
                    "packed": True,
                }
            ),
            nic(2, driver="vhost", rom=False, tap="web0", coalesce=8),
            nic(
                3,
                rom={"file": "/srv/rom", "bar": True},
                driver={"rss": True, "rss_hash_report": True, "page_per_vq": True},
            ),
        )
    },
    "restarted when powered off": {"on_poweroff": "restart", "on_crash": "coredump-restart"},
    "stopped when rebooted": {"on_reboot": "destroy", "on_crash": "preserve"},
    "local time": {"clock": "localtime"},
}
WINDOWS = {"type": "kvm", "os": "windows", "hyperv": True, "clock": "localtime", "cpu_model": "qemu64"}


@pytest.mark.parametrize("given", [*GUESTS.values(), WINDOWS], ids=[*GUESTS, "windows"])
def test_every_option_fits_libvirts_schema(against_schema, given):
    assert against_schema("domain", complete(declared(**given))) == []


INNER = {"is_bridge": False, "source": "inner"}
NOWHERE = {"network": None, "is_bridge": False, "source": ""}
PCI, DEVICE = NOWHERE | {"pci": "0000:03:10.0"}, NOWHERE | {"device": "eth0"}


@pytest.mark.parametrize(
    ("before", "after", "key", "impact", "calls"),
    [
        ({}, {"queues": 4}, "nics", Impact.NEXT_BOOT, []),
        ({}, {"trust_guest_rx_filters": True}, "nics", Impact.NEXT_BOOT, []),
        ({}, {"bandwidth": LIMITS}, "nics", Impact.LIVE, ["update-device"]),
        ({"bandwidth": LIMITS}, {}, "nics", Impact.LIVE, ["update-device"]),
        ({"bandwidth": LIMITS}, {"bandwidth": {"inbound": "1MiB"}}, "nics", Impact.LIVE, ["update-device"]),
        ({}, {"filter": FILTER}, "nics", Impact.LIVE, ["update-device"]),
        ({"filter": FILTER}, {"filter": "clean-traffic"}, "nics", Impact.LIVE, ["update-device"]),
        ({"isolated": True}, {}, "nics", Impact.LIVE, ["update-device"]),
        ({}, {"coalesce": 5}, "nics", Impact.LIVE, ["update-device"]),
        ({"coalesce": 5}, {}, "nics", Impact.LIVE, ["update-device"]),
        ({}, {"vlan": 5}, "nics", Impact.NEXT_BOOT, []),
        ({"portgroup": "a"} | INNER, {"portgroup": "b"} | INNER, "nics", Impact.LIVE, ["update-device"]),
        ({}, {"offloads": {"host": {"tso4": False}}}, "nics", Impact.NEXT_BOOT, []),
        ({"driver": "qemu"}, {}, "nics", Impact.NEXT_BOOT, []),
        ({}, {"rom": False}, "nics", Impact.NEXT_BOOT, []),
        ({}, {"tap": "web0"}, "nics", Impact.NEXT_BOOT, []),
        (PCI | {"vlan": 5}, PCI | {"vlan": 6}, "nics", Impact.NEXT_BOOT, []),
        (DEVICE, DEVICE | {"macvtap_mode": "vepa"}, "nics", Impact.NEXT_BOOT, []),
        (DEVICE, DEVICE | {"link": "down"}, "nics", Impact.LIVE, ["update-device"]),
        (PCI, DEVICE, "nics", Impact.NEXT_BOOT, []),
        (INNER, {}, "nics", Impact.LIVE, ["update-device"]),
    ],
)
def test_what_a_change_of_a_nic_does_to_a_running_guest(before, after, key, impact, calls):
    was = kept(declared(nics=(nic(**before),)))

    found = assess(
        declared(nics=(nic(**after),)), declared(nics=(nic(**before),)), observed(was, was), Origin()
    )

    assert {change.key for change in found.changes} == {key}
    assert {change.impact for change in found.changes} == {impact}
    assert [call.call for call in found.live] == calls


def test_a_live_update_takes_away_what_is_no_longer_declared_and_keeps_the_rest():
    def device(**given: Any) -> str:
        root = etree.fromstring(declared(nics=(nic(**given),)))
        return etree.tostring(root.find("devices/interface"), encoding="unicode")

    running = device(bandwidth=LIMITS, filter=FILTER, isolated=True, mtu=9000)

    after = etree.fromstring(overlay_device(running, device(filter="clean-traffic"), running))

    assert [child.tag for child in after] == ["mac", "source", "model", "mtu", "filterref", "link"]
    assert len(after.find("filterref")) == 0


@pytest.mark.parametrize(
    ("before", "after", "key", "impact", "calls"),
    [
        ({}, {"on_reboot": "destroy"}, "on_reboot", Impact.LIVE, [("set-lifecycle", "on_reboot destroy")]),
        ({"on_reboot": "destroy"}, {}, "on_reboot", Impact.LIVE, [("set-lifecycle", "on_reboot restart")]),
        ({}, {"on_crash": "restart"}, "on_crash", Impact.LIVE, [("set-lifecycle", "on_crash restart")]),
        ({}, {"clock": "localtime"}, "clock", Impact.NEXT_BOOT, []),
    ],
)
def test_what_a_change_of_the_lifecycle_does_to_a_running_guest(before, after, key, impact, calls):
    was = kept(declared(**before))

    found = assess(declared(**after), declared(**before), observed(was, was), Origin())

    assert [(change.key, change.impact) for change in found.changes] == [(key, impact)]
    assert [(call.call, call.argument) for call in found.live] == calls


def test_enlightenments_and_their_clock_come_and_go_at_the_next_boot():
    plain, windows = WINDOWS | {"hyperv": None}, WINDOWS
    was = kept(declared(**plain))

    found = assess(declared(**windows), declared(**plain), observed(was, was), Origin())

    assert {change.key for change in found.changes} == {"hyperv", "os"}
    assert {change.impact for change in found.changes} == {Impact.NEXT_BOOT}


def test_an_emulated_guest_is_offered_no_enlightenments():
    root = etree.fromstring(declared(**WINDOWS | {"type": "qemu"}))

    assert root.find("features/hyperv") is None
    assert root.find("clock").get("offset") == "localtime"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: Nic(network="lan", model="e1000", queues=2), "manifest.bad-nic"),
        (lambda: Nic(network="lan", model="e1000", trust_guest_rx_filters=True), "manifest.bad-nic"),
        (lambda: Nic(network="lan", bandwidth={"inbound": "100B"}), "manifest.bad-nic"),
        (
            lambda: Nic(network="lan", bandwidth={"inbound": {"average": "2MiB", "peak": "1MiB"}}),
            "manifest.bad-nic",
        ),
        (lambda: Vm(on_poweroff="restart", on_reboot="destroy"), "manifest.bad-lifecycle"),
        *(
            (lambda given=given: Nic(**given), "manifest.bad-nic")
            for given in (
                {},
                {"network": "lan", "device": "eth0"},
                {"pci": "0000:03:10.0", "filter": "clean-traffic"},
                {"pci": "0000:03:10.0", "driver": "qemu"},
                {"vhost_user": "/srv/s", "filter": "clean-traffic"},
                {"vhost_user": "/srv/s", "model": "e1000"},
                {"vhost_user": {"path": "/srv/s", "mode": "server", "reconnect": "3"}},
                {"user": "slirp", "bandwidth": {"inbound": "1MiB"}},
                {"device": "eth0", "portgroup": "a"},
                {"device": "eth0", "vlan": "5"},
                {"device": "eth0", "coalesce": "5"},
                {"network": "lan", "macvtap_mode": "vepa"},
                {"network": "lan", "model": "e1000", "driver": "qemu"},
                {"network": "lan", "model": "e1000", "offloads": {"host": {"csum": False}}},
                {"network": "lan", "driver": {"name": "vhost", "tx_mode": "timer"}},
                {"network": "lan", "driver": {"tx_queue_size": "512"}},
                {"network": "lan", "tap": "vnet3"},
                {"pci": "0000:03:10.0", "model": "e1000"},
                {"pci": "0000:03:10.0", "link": "down"},
                {"device": "eth0", "mtu": "9000"},
                {"vdpa": "/dev/vhost-vdpa-0", "mtu": "9000"},
            )
        ),
        *(
            (lambda given=given: Vlan(**given), "manifest.bad-vlan")
            for given in (
                {"tags": ["5", "5"]},
                {"tags": ["5", "6"], "trunk": False},
                {"tags": "5", "native": "6", "trunk": True},
                {"tags": "5", "native": "5"},
            )
        ),
        (lambda: Vm(nics=[{"vhost_user": "/srv/s"}]), "manifest.bad-nic"),
        (lambda: Nic(network="lan", filter="1st"), "string_pattern_mismatch"),
        (lambda: Vm(type="qemu", hyperv=True), "manifest.bad-hyperv"),
        *(
            (lambda given=given: Vm(hyperv=given), "manifest.bad-hyperv")
            for given in (
                {"enabled": False, "evmcs": True},
                {"vpindex": False},
                {"synic": False},
                {"vapic": False, "evmcs": True},
                {"stimer": False, "stimer_direct": True},
            )
        ),
        (lambda: Vm(type="qemu", timers={"kvmclock": True}), "manifest.bad-timers"),
        (lambda: Vm(disks={"data": {"size": "1GiB", "bus": "ide"}}), "manifest.bad-disk"),
        (lambda: Vm(cdroms={"cd": {"bus": "ide"}}), "manifest.bad-disk"),
        (lambda: Vm(cdroms={"cd": {"pool": "vms"}}), "manifest.bad-disk"),
        (lambda: Vm(blkio={"devices": {"/dev/sda": {}}}), "manifest.bad-blkio"),
        (lambda: Vm(memory={"pages": "2MiB", "allocation": "ondemand"}), "manifest.bad-memory"),
        (lambda: MemoryModule(size="8MiB", model="virtio-mem", block="1MiB"), "manifest.bad-memory"),
        (lambda: Input(type="evdev", path="/dev/input/event3", bus="usb"), "manifest.bad-input"),
        (lambda: ScsiDevice(adapter="scsi_host0", filtered=False), "manifest.bad-hostdev"),
    ],
)
def test_what_cannot_be_is_refused(make, code):
    with pytest.raises(ValidationError) as refused:
        make()

    assert code in {error["type"] for error in refused.value.errors()}


@pytest.mark.xdist_group("lab")
def test_every_option_reads_back_as_it_was_declared_and_goes_again(host):
    define_each_over_the_last(host, GUESTS)


@pytest.mark.xdist_group("lab")
def test_a_guest_for_windows_reads_back_as_it_was_declared(host):
    """As an emulated guest, for want of KVM: libvirt keeps what it is told and asks at the start."""
    text = declared_on_host(**WINDOWS).replace('type="kvm"', 'type="qemu"')

    seen = host.define(complete(text)).XMLDesc(DUMP)

    assert differences(text, text, seen, Kind.DOMAIN) == ()


@pytest.mark.xdist_group("lab")
@pytest.mark.parametrize("name", ["restarted when powered off", "stopped when rebooted", "local time"])
def test_a_guest_starts_and_then_needs_nothing(host, name):
    text = declared_on_host(disks=(ROOT,), nics=(), **GUESTS[name])

    start_and_find_nothing_to_do(host, text)
