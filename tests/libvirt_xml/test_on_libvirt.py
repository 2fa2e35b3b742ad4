"""The rules against the daemon that they are about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import libvirt
import pytest
from lxml import etree

from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.fingerprint import fingerprint
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.overlay import attachable, complete, find_device, overlay
from kvmdecl.libvirt_xml.ports import SPARE_PORTS
from kvmdecl.manifest import Balloon, Firmware, Graphics, Numa, Pool, Watchdog
from kvmdecl.names import GIB, MIB
from kvmdecl.state import Kind, ObservedDomain, Origin, SeedContent
from tests.libvirt_xml.device_examples import DEVICES, is_taken, skip_unless_taken
from tests.libvirt_xml.examples import SEED, UUID, cdrom, disk, nic, vm
from tests.libvirt_xml.test_emit import NETWORKS, network

pytestmark = pytest.mark.xdist_group("lab")

POOLS = {"vms": Pool(path="/srv")}
ROOT = disk(volume="root.raw", format="raw")
DUMP = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE

WHOLE = {
    "total_bytes_sec": "10MiB",
    "total_bytes_sec_max": "20MiB",
    "total_bytes_sec_max_length": 5,
    "total_iops_sec": 100,
    "total_iops_sec_max": 200,
    "total_iops_sec_max_length": 10,
    "size_iops_sec": "4KiB",
}
PARTS = {
    f"{way}_{name}": value
    for way in ("read", "write")
    for name, value in {
        "bytes_sec": "10MiB",
        "bytes_sec_max": "20MiB",
        "bytes_sec_max_length": 5,
        "iops_sec": 100,
        "iops_sec_max": 200,
        "iops_sec_max_length": 10,
    }.items()
}

GUESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "a screen with vnc": {"graphics": Graphics(type="vnc")},
    "a screen with spice": {"graphics": Graphics(type="spice", listen="0.0.0.0", expose=True)},
    "nothing but cpus and memory": {
        "disks": (),
        "nics": (),
        "serial": False,
        "agent": False,
        "rng": False,
        "balloon": False,
    },
    "uefi": {"firmware": Firmware(type="uefi"), **SEED},
    "ignition": SEED | {"seed": SeedContent((("config.ign", "{}"),), plain=True)},
    "secure boot": {"firmware": Firmware(type="uefi", secure_boot=True)},
    "every bus": {
        "disks": (
            disk(boot_order=1, cache="none", discard="unmap"),
            disk("data", bus="scsi", boot_order=2),
            disk("logs", bus="sata"),
        )
    },
    "disks with every option of their driver": {
        "iothreads": 2,
        "disks": (
            disk(cache="none", io="native", discard="unmap", detect_zeroes="unmap", iothread=2, queues=2),
            disk("data", io="io_uring", copy_on_read=True, error_policy="enospace", iothread=1),
            disk("logs", bus="sata", rotation_rate=7200, io="threads"),
            disk(
                "docs",
                bus="scsi",
                readonly=True,
                wwn="5000c50015ea71aa",
                rotation_rate=1,
                read_error_policy="report",
            ),
            disk("both", format="raw", shareable=True, error_policy="stop", detect_zeroes="on"),
        ),
    },
    "disks with every limit": {
        "disks": (
            disk(iotune=WHOLE, copy_on_read=False),
            disk("data", iotune=PARTS, detect_zeroes="off"),
        ),
    },
    "drives": {"cdroms": (cdrom("cd", "installer.iso", 2), cdrom("empty")), **SEED},
    "the same drives the other way round": {"cdroms": (cdrom("cd"), cdrom("empty", "drivers.iso"))},
    "every model of nic": {
        "nics": tuple(
            nic(
                number, model=model, mtu=1400, link="down", boot_order=number, is_bridge=False, source="inner"
            )
            for number, model in enumerate(["virtio", "e1000e", "e1000", "rtl8139"], 1)
        )
    },
    "another chipset": {"machine": "pc", "watchdog": Watchdog(model="ib700", action="inject-nmi"), **SEED},
    "ports for devices to come": {"hotplug_ports": 3},
    **DEVICES,
    "every enlightenment": {
        "type": "kvm",
        "hyperv": {
            **dict.fromkeys(("reset", "reenlightenment", "evmcs", "avic", "stimer_direct"), True),
            "spinlocks": 4096,
            "vendor": "KVM Hv",
        },
    },
    "few enlightenments": {
        "type": "kvm",
        "hyperv": dict.fromkeys(("stimer", "synic", "tlbflush", "ipi", "vpindex", "runtime"), False),
    },
    "no enlightenments": {"type": "kvm", "hyperv": False},
    "a named cpu": {"cpu_model": "qemu64", "description": "two\r\nlines & <more>", "watchdog": Watchdog()},
    "a topology": {
        "max_cpus": 8,
        "cpu_keys": {
            "topology": {"sockets": "1", "dies": "2", "cores": "2", "threads": "2"},
            "features": {
                "aes": "require",
                "x2apic": "disable",
                "avx": "optional",
                "mmx": "force",
                "sse": "forbid",
            },
        },
    },
    "guests of its own": {"cpu_model": "Nehalem", "cpu_keys": {"nested": True}, "type": "kvm"},
    "no guests of its own": {"cpu_model": "host-model", "cpu_keys": {"nested": False}, "type": "kvm"},
    "a tuned cpu": {
        "cpu_keys": {
            "shares": 2048,
            "period": 100_000,
            "quota": 50_000,
            "emulator_period": 50_000,
            "emulator_quota": 20_000,
            "pins": {"0": "0", "1": "0-1"},
            "emulator_pin": "1",
        },
        "numa": Numa(nodeset="0", mode="preferred"),
    },
    "huge pages": {"memory_keys": {"pages": 2 * MIB, "access": "shared", "source": "memfd", "locked": True}},
    "memory in a file": {"memory_keys": {"source": "file", "access": "private", "ksm": False}},
    "limited memory": {
        "memory_keys": {
            "source": "anonymous",
            "hard_limit": GIB,
            "soft_limit": 512 * MIB,
            "swap_hard_limit": 2 * GIB,
        },
        "balloon": Balloon(free_page_reporting=True),
        "numa": Numa(nodeset="0"),
    },
    "huge pages in a file": {"memory_keys": {"pages": 2 * MIB, "source": "file"}},
}


@dataclass
class Host:
    connection: libvirt.virConnect

    def define(self, xml: str) -> libvirt.virDomain:
        return self.connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)

    def observe(self, domain: libvirt.virDomain) -> ObservedDomain:
        live = domain.XMLDesc(0) if domain.isActive() else None
        config = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        return ObservedDomain("web-1", UUID, config, live, bool(domain.isActive()), True, False, False)


def define_each_over_the_last(host: Host, guests: Mapping[str, Mapping[str, Any]]) -> None:
    """Each guest reads back as it was declared, also after all others, forwards and backwards."""
    before = declared()
    domain = host.define(complete(before))
    for name, given in [*guests.items(), *reversed(guests.items())]:
        after = declared(**given)

        domain = host.define(overlay(domain.XMLDesc(DUMP), after, before))

        assert differences(after, before, domain.XMLDesc(DUMP), Kind.DOMAIN) == (), name
        before = after


def start_and_find_nothing_to_do(host: Host, text: str) -> None:
    """A guest that was just started needs nothing, and waits for nothing."""
    domain = host.define(complete(text))

    domain.create()

    found = assess(text, text, host.observe(domain), Origin())
    assert (found.changes, found.live, found.pending) == ((), (), ())


@pytest.fixture
def host(clean_lab, lab_host) -> Iterator[Host]:
    connection = libvirt.open(lab_host.uri())
    for number in range(SPARE_PORTS + 1):
        (lab_host.folder / "srv" / f"late{number}.raw").write_bytes(b"\0" * 65536)
    root = lab_host.folder / "srv" / "root.raw"
    root.write_bytes(b"\0" * 65536)
    root.chmod(0o666)  # a guest without a label (`dac: none`) is not given its disk
    try:
        yield Host(connection)
    finally:
        for domain in [d for d in connection.listAllDomains() if d.UUIDString() == UUID]:
            if domain.isActive():
                domain.destroy()
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
        connection.close()


def declared(**given: Any) -> str:
    return domain_xml(vm(**given), POOLS)


@pytest.mark.parametrize("name", GUESTS)
def test_a_new_guest_reads_back_as_it_was_declared(host, name):
    skip_unless_taken(name)
    text = declared(**GUESTS[name])

    kept = host.define(complete(text)).XMLDesc(DUMP)

    assert differences(text, text, kept, Kind.DOMAIN) == ()


def test_a_guest_that_is_changed_over_and_over_reads_back_as_declared_each_time(host):
    before = declared()
    domain = host.define(complete(before))
    names = [name for name in GUESTS if is_taken(name)]
    for name in [*names, *reversed(names)]:
        after = declared(**GUESTS[name])

        domain = host.define(overlay(domain.XMLDesc(DUMP), after, before))

        assert differences(after, before, domain.XMLDesc(DUMP), Kind.DOMAIN) == (), name
        before = after


def test_defining_an_overlay_of_the_same_declaration_changes_nothing(host):
    text = declared(**GUESTS["every bus"])
    domain = host.define(complete(text))
    before = domain.XMLDesc(DUMP)

    assert host.define(overlay(before, text, text)).XMLDesc(DUMP) == before


def test_a_guest_that_was_just_started_needs_nothing(host):
    text = declared(disks=(ROOT,), nics=(), graphics=Graphics(type="vnc"), watchdog=Watchdog(), cpus=2)
    domain = host.define(complete(text))
    domain.create()

    found = assess(text, text, host.observe(domain), Origin())

    assert (found.changes, found.live, found.pending) == ((), (), ())


def test_a_guest_that_was_started_with_tuned_cpus_and_shared_memory_needs_nothing(host):
    text = declared(
        disks=(ROOT,),
        nics=(),
        cpus=2,
        max_cpus=4,
        cpu_keys={
            "topology": {"dies": "2", "threads": "2"},
            "features": {"aes": "disable"},
            "nested": False,
            "shares": 512,
            "pins": {"0": "0", "3": "0"},
            "emulator_pin": "0",
        },
        memory_keys={"source": "memfd", "access": "shared", "ksm": False},
        numa=Numa(nodeset="0", mode="preferred"),
        balloon=Balloon(free_page_reporting=True),
    )
    domain = host.define(complete(text))
    domain.create()

    found = assess(text, text, host.observe(domain), Origin())

    assert (found.changes, found.live, found.pending) == ((), (), ())


def test_a_new_guest_takes_as_many_devices_live_as_it_has_spare_ports(host):
    text = declared(disks=(ROOT,), nics=())
    domain = host.define(complete(text))
    domain.create()
    late = tuple(
        disk(f"late{number}", volume=f"late{number}.raw", format="raw") for number in range(SPARE_PORTS)
    )
    more = declared(disks=(ROOT, *late), nics=())

    calls = assess(more, text, host.observe(domain), Origin()).live
    for call in calls:
        domain.attachDeviceFlags(
            attachable(call.argument, domain.XMLDesc(0), domain.XMLDesc(DUMP)), libvirt.VIR_DOMAIN_AFFECT_LIVE
        )
    domain = host.define(overlay(domain.XMLDesc(DUMP), more, text, domain.XMLDesc(0)))

    assert [call.call for call in calls] == ["attach-device"] * SPARE_PORTS
    found = assess(more, more, host.observe(domain), Origin())
    assert (found.changes, found.live, found.pending) == ((), (), ())
    for number in range(SPARE_PORTS):
        assert place(domain.XMLDesc(0), f"late{number}") == place(domain.XMLDesc(DUMP), f"late{number}")


def place(definition: str, name: str) -> tuple[str | None, list[str]]:
    device = etree.fromstring(find_device(definition, f"disk[{name}]") or "<none/>")
    address = device.find("address")
    return device.find("target").get("dev"), [] if address is None else sorted(address.attrib.values())


def test_a_restart_of_libvirtd_leaves_fingerprint_and_comparison_as_they_were(make_lab):
    lab = make_lab(["kvm-1"])
    text = declared(**GUESTS["every model of nic"])
    seen = []
    for _ in range(2):
        connection = libvirt.open(lab.hosts["kvm-1"].uri())
        host = Host(connection)
        domain = connection.lookupByUUIDString(UUID) if seen else host.define(complete(text))
        seen.append(fingerprint(host.observe(domain)))
        assert differences(text, text, domain.XMLDesc(DUMP), Kind.DOMAIN) == ()
        connection.close()
        lab.restart("kvm-1")

    assert seen[0] == seen[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_new_network_reads_back_as_it_was_declared(host, name):
    text = network(NETWORKS[name])
    defined = host.connection.networkDefineXML(text)
    try:
        kept = defined.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)

        assert differences(text, text, kept, Kind.NETWORK) == ()
        again = host.connection.networkDefineXML(overlay(kept, text, text, kind=Kind.NETWORK))
        assert again.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE) == kept
    finally:
        defined.undefine()
