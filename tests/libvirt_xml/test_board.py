"""What boots a guest and what confines it: definitions, changes, and how they fare on a real host."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree
from pydantic import ValidationError

from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.overlay import complete, overlay
from kvmdecl.manifest import Firmware, Vm
from kvmdecl.manifest.firmware import Features, LaunchSecurity, SecurityLabel, Smbios
from kvmdecl.names import KIB, MIB
from kvmdecl.plan import Impact
from kvmdecl.state import Origin
from tests.libvirt_xml.examples import declared, kept, observed
from tests.libvirt_xml.test_on_libvirt import (
    DUMP,
    ROOT,
    define_each_over_the_last,
    host,
    start_and_find_nothing_to_do,
)
from tests.libvirt_xml.test_on_libvirt import declared as declared_on_host

__all__ = ["host"]

OVMF = "/usr/share/OVMF/OVMF_CODE_4M.fd"
VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"

GUESTS: dict[str, dict[str, Any]] = {
    "firmware by path": {"firmware": Firmware(type="uefi", loader=OVMF, nvram_template=VARIABLES)},
    "variables by path": {
        "firmware": Firmware(type="uefi", loader=OVMF, nvram_template=VARIABLES, nvram="/srv/web-1.fd")
    },
    "secure firmware by path": {
        "firmware": Firmware(
            type="uefi", secure_boot=True, loader=OVMF.replace(".fd", ".ms.fd"), nvram_template=VARIABLES
        ),
        "features": {"tseg": 48 * MIB},
    },
    "a bios by path, with a menu": {
        "firmware": {
            "loader": "/usr/share/seabios/bios-256k.bin",
            "boot_menu": True,
            "boot_menu_timeout": "3000",
        }
    },
    "a kernel": {
        "kernel": {"path": "/srv/vmlinuz", "initrd": "/srv/initrd", "cmdline": "console=ttyS0 & <x>"}
    },
    "tables": {
        "smbios": {
            "bios": {"vendor": "Example", "version": "1", "date": "01/02/2026", "release": "1.2"},
            "system": {"manufacturer": "Example", "serial": "S-1", "family": "servers", "sku": "K"},
            "board": {"product": "B", "asset": "A-1", "location": "rack 7"},
            "chassis": {"asset": "A-2", "sku": "C"},
            "oem": ["app:role=db", "second"],
        }
    },
    "the host's tables": {"smbios": {"mode": "host"}},
    "switches": {
        "features": {
            "apic": False,
            "pmu": False,
            "kvm_hidden": True,
            "kvm_poll_control": True,
            "vmport": False,
            "vmcoreinfo": True,
            "msrs": "ignore",
        }
    },
    "timers": {
        "type": "kvm",
        "timers": {
            "hpet": True,
            "kvmclock": False,
            "tsc": {"frequency": "2400000000"},
            "rtc": {"track": "guest"},
            "pit": {"tick_policy": "discard"},
        },
    },
    "dedicated and remapped": {
        "type": "kvm",
        "cpu_model": "host-passthrough",
        "features": {"kvm_dedicated": True, "ioapic": "qemu"},
        "iommu": {
            "model": "intel",
            "interrupt_remapping": True,
            "eim": True,
            "caching_mode": True,
            "iotlb": False,
        },
    },
    "protected memory": {
        "type": "kvm",
        "firmware": "uefi",
        "launch_security": {
            "type": "sev",
            "cbitpos": "47",
            "reduced_phys_bits": "1",
            "session": "aGk=",
            "dh_cert": "aGk=",
        },
    },
    "a label of its own": {"security": {"dac": {"type": "static", "label": "+0:+0"}}},
    "a label that libvirt makes": {"security": {"dac": "dynamic"}},
    "no label": {"security": {"dac": "none"}},
    "groups, counters and weights": {
        "partition": "/machine/production",
        "perf": ["cpu_cycles", "page_faults"],
        "blkio": {
            "weight": "500",
            "devices": {"/dev/null": {"weight": "200", "read_bytes_sec": MIB, "write_iops_sec": "9"}},
        },
    },
}
NEEDS_MORE = frozenset(
    {
        "a kernel",
        "the host's tables",
        "timers",
        "dedicated and remapped",
        "protected memory",
        "groups, counters and weights",
    }
)
"""Guests that start only where there are a kernel, a host's SMBIOS, KVM, SEV or control groups."""


@pytest.mark.parametrize("name", GUESTS)
def test_every_option_fits_libvirts_schema(against_schema, name):
    assert against_schema("domain", complete(declared(**GUESTS[name]))) == []


@pytest.mark.xdist_group("lab")
def test_every_guest_reads_back_as_it_was_declared_also_after_all_others(host):
    # libvirt does not even define protected memory without SEV.
    define_each_over_the_last(
        host, {name: given for name, given in GUESTS.items() if name != "protected memory"}
    )


@pytest.mark.xdist_group("lab")
@pytest.mark.parametrize("name", sorted(set(GUESTS) - NEEDS_MORE))
def test_a_guest_that_was_just_started_needs_nothing(host, name):
    text = declared_on_host(disks=(ROOT,), nics=(), **GUESTS[name])

    start_and_find_nothing_to_do(host, text)


@pytest.mark.xdist_group("lab")
def test_variables_stay_where_they_are_when_the_firmware_is_another_file(host):
    named = declared_on_host(disks=(ROOT,), nics=(), **GUESTS["firmware by path"])
    other = named.replace(OVMF, OVMF.replace(".fd", ".ms.fd"))
    by_hand = complete(named).replace(f'"{VARIABLES}"/>', f'"{VARIABLES}">/srv/by-hand.fd</nvram>')
    domain = host.define(by_hand)

    chosen = declared_on_host(disks=(ROOT,), nics=(), firmware=Firmware(type="uefi"))
    for after, before in ((other, named), (chosen, other), (named, chosen)):
        domain = host.define(overlay(domain.XMLDesc(DUMP), after, before))

        assert etree.fromstring(domain.XMLDesc(DUMP)).findtext("os/nvram") == "/srv/by-hand.fd"


@pytest.mark.parametrize(
    ("before", "after", "key", "impact"),
    [
        ({}, GUESTS["a kernel"], "kernel", Impact.NEXT_BOOT),
        ({}, {"firmware": {"boot_menu": True}}, "firmware.boot_menu", Impact.NEXT_BOOT),
        ({}, {"smbios": {"system": {"serial": "1"}}}, "smbios", Impact.NEXT_BOOT),
        (
            {"smbios": {"system": {"serial": "1"}}},
            {"smbios": {"system": {"serial": "2"}}},
            "smbios",
            Impact.NEXT_BOOT,
        ),
        ({}, {"features": {"pmu": False}}, "features", Impact.NEXT_BOOT),
        ({}, {"features": {"acpi": False}}, "features", Impact.NEXT_BOOT),
        ({"firmware": "uefi"}, {"firmware": "uefi", "features": {"tseg": 8 * MIB}}, "f", Impact.NEXT_BOOT),
        ({"type": "kvm"}, {"type": "kvm", "timers": {"tsc": {"frequency": "5"}}}, "timers", Impact.NEXT_BOOT),
        ({"type": "kvm"}, {"type": "kvm", "timers": {"rtc": {"track": "wall"}}}, "timers", Impact.NEXT_BOOT),
        ({"type": "kvm"}, {"type": "kvm", "timers": {"hpet": True}}, "os", Impact.NEXT_BOOT),
        ({}, {"security": {"dac": "none"}}, "security", Impact.NEXT_BOOT),
        ({}, {"partition": "/machine/a"}, "partition", Impact.NEXT_BOOT),
        ({}, {"perf": ["cpu_clock"]}, "perf", Impact.NEXT_BOOT),
        ({}, {"blkio": {"devices": {"/dev/sda": {"weight": "500"}}}}, "blkio.devices", Impact.NEXT_BOOT),
        ({}, {"blkio": "500"}, "blkio.weight", Impact.LIVE),
        ({"blkio": "500"}, {"blkio": "600"}, "blkio.weight", Impact.LIVE),
        ({"blkio": "500"}, {}, "blkio.weight", Impact.NEXT_BOOT),
        ({}, {"iommu": "intel"}, "iommu", Impact.NEXT_BOOT),
        (GUESTS["firmware by path"], GUESTS["variables by path"], "firmware.nvram", Impact.DATA_LOSS),
    ],
)
def test_what_a_change_does_to_a_running_guest(before, after, key, impact):
    was = kept(declared(**before)).replace("</nvram>", "</nvram>")
    if "firmware by path" in GUESTS and before == GUESTS["firmware by path"]:
        was = was.replace(
            f'<nvram template="{VARIABLES}"/>', f'<nvram template="{VARIABLES}">/own.fd</nvram>'
        )

    found = assess(declared(**after), declared(**before), observed(was, was), Origin())

    assert found.changes
    assert {change.key.startswith(key) for change in found.changes} == {True}, found.changes
    assert {change.impact for change in found.changes} == {impact}
    assert [call.call for call in found.live] == (["set-block-weight"] if impact is Impact.LIVE else [])


def test_the_memory_of_an_emulated_guest_is_not_protected_in_a_rehearsal():
    text = declared(**GUESTS["protected memory"] | {"type": "qemu"})

    assert etree.fromstring(text).find("launchSecurity") is None


@pytest.mark.parametrize(
    ("given", "children"),
    [
        ("sev", {"policy": "0x0001"}),
        ("sev-snp", {"policy": "0x00030000"}),
        (
            {"type": "sev-snp", "policy": "0xb0000", "id_block": "aGk="},
            {"policy": "0xb0000", "idBlock": "aGk="},
        ),
        ("tdx", {}),
    ],
)
def test_a_policy_is_as_strict_as_its_maker_allows_unless_it_is_given(given, children):
    root = etree.fromstring(declared(type="kvm", firmware="uefi", launch_security=given))

    assert {child.tag: child.text for child in root.find("launchSecurity")} == children


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: Firmware(nvram=OVMF), "manifest.bad-firmware"),
        (lambda: Firmware(type="uefi", nvram_template=VARIABLES), "manifest.bad-firmware"),
        (lambda: Firmware(boot_menu_timeout="9"), "manifest.bad-firmware"),
        (lambda: Smbios(mode="host", oem=["x"]), "manifest.bad-smbios"),
        (lambda: Features(tseg=KIB), "manifest.bad-features"),
        (lambda: Vm(machine="pc", features={"tseg": MIB}), "manifest.bad-features"),
        (lambda: Vm(features={"kvm_dedicated": True}), "manifest.bad-features"),
        (lambda: Vm(timers={"hpet": {"tick_policy": "delay"}}), "manifest.bad-timers"),
        (lambda: Vm(timers={"pit": {"tick_policy": "catchup"}}), "manifest.bad-timers"),
        (lambda: Vm(timers={"tsc": {"track": "wall"}}), "manifest.bad-timers"),
        (lambda: Vm(timers={"rtc": {"frequency": "5"}}), "manifest.bad-timers"),
        (lambda: Vm(timers={"sundial": True}), "literal_error"),
        (lambda: LaunchSecurity(type="tdx", cbitpos="47"), "manifest.bad-launch-security"),
        (lambda: LaunchSecurity(type="sev", id_block="aGk="), "manifest.bad-launch-security"),
        (lambda: Vm(launch_security="sev"), "manifest.bad-launch-security"),
        (lambda: Vm(type="qemu", firmware="uefi", launch_security="sev"), "manifest.bad-launch-security"),
        (lambda: SecurityLabel(type="static"), "manifest.bad-security"),
        (lambda: SecurityLabel(type="none", base="x"), "manifest.bad-security"),
        (lambda: SecurityLabel(relabel=True), "manifest.bad-security"),
        (lambda: Vm(perf=["heartbeats"]), "literal_error"),
    ],
)
def test_what_cannot_be_is_refused(make, code):
    with pytest.raises(ValidationError) as refused:
        make()

    assert code in {error["type"] for error in refused.value.errors()}
