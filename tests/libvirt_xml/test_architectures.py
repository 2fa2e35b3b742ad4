"""Guests of every architecture: what it decides, what is refused there, and what libvirt makes of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import libvirt
import pytest
from lxml import etree
from pydantic import ValidationError

from kvmdecl.architectures import ARCHITECTURES
from kvmdecl.cluster import ResolvedVm
from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.manifest import Vm
from kvmdecl.manifest.guest_os import with_defaults
from kvmdecl.names import MIB
from kvmdecl.state import Kind
from tests.libvirt_xml.examples import SEED, vm
from tests.libvirt_xml.test_on_libvirt import DUMP, POOLS, ROOT, host, start_and_find_nothing_to_do

__all__ = ["host"]  # a fixture

OTHERS = [name for name, architecture in ARCHITECTURES.items() if not architecture.is_pc]
EMULATORS = {"armv7l": "arm", "ppc64le": "ppc64"}
GUESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "kvm": {"type": "kvm"},
    "a screen": {"graphics": "vnc"},
    "a seed": SEED,
    "a watchdog": {"watchdog": "reset"},
    "a host's cpu": {"cpu_model": "host-passthrough", "type": "kvm"},
    "usb": {"inputs": [{"type": "tablet", "bus": "usb"}]},
}


def guest(arch: str, **given: Any) -> ResolvedVm:
    sizes = {"memory": 256 * MIB, "max_memory": 512 * MIB}
    found = vm(arch=arch, firmware="bios", **sizes, **given)
    return replace(found, spec=with_defaults(found.spec))


def definition(arch: str, **given: Any) -> str:
    return domain_xml(guest(arch, **given), POOLS)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", GUESTS)
def test_a_definition_is_what_libvirts_schema_asks_for(against_schema, arch: str, name: str):
    assert against_schema("domain", complete(definition(arch, **GUESTS[name]))) == []


@pytest.mark.parametrize(
    ("arch", "machine", "features"),
    [
        ("x86_64", "q35", ["acpi", "apic"]),
        ("aarch64", "virt", ["acpi"]),
        ("ppc64le", "pseries", []),
        ("s390x", "s390-ccw-virtio", []),
        ("riscv64", "virt", []),
    ],
)
def test_an_architecture_decides_what_is_not_given(arch: str, machine: str, features: list[str]):
    spec = with_defaults(Vm(arch=arch))
    root = etree.fromstring(domain_xml(replace(vm(type="kvm"), spec=spec), POOLS))

    assert root.find("os/type").get("machine") == machine
    assert [feature.tag for feature in root.iterfind("features/*")] == features
    assert bool(root.findall("clock/timer")) == (arch == "x86_64")


def test_what_is_given_counts():
    spec = with_defaults(
        Vm(arch="aarch64", machine="virt-7.2", firmware="bios", cdroms={"cd": {"bus": "usb"}})
    )

    assert (spec.machine, spec.firmware.type, spec.cdroms["cd"].bus) == ("virt-7.2", "bios", "usb")


@pytest.mark.parametrize(
    ("arch", "given"),
    [
        ("aarch64", {"features": {"apic": True}}),
        ("aarch64", {"hyperv": True}),
        ("aarch64", {"cpus": {"model": "x86-64-v2"}}),
        ("s390x", {"sound": "ich9"}),
        ("s390x", {"tpm": "emulator"}),
        ("ppc64", {"firmware": "uefi"}),
        ("ppc64", {"memory": "300MiB"}),
        ("riscv64", {"timers": {"hpet": True}}),
        ("x86_64", {"features": {"gic": "3"}}),
        ("x86_64", {"panic": "s390"}),
        ("x86_64", {"watchdog": {"model": "diag288"}}),
        ("x86_64", {"tpm": {"model": "tpm-spapr"}}),
        ("aarch64", {"panic": "hyperv"}),
    ],
)
def test_what_an_architecture_does_not_have_is_refused(arch: str, given: dict[str, Any]):
    with pytest.raises(ValidationError) as refused:
        Vm(arch=arch, **given)

    assert [error["type"] for error in refused.value.errors()] == ["manifest.bad-arch"]


@pytest.mark.xdist_group("lab")
@pytest.mark.parametrize("arch", OTHERS)
def test_a_guest_of_another_architecture_reads_back_as_declared_starts_and_then_needs_nothing(
    host, arch: str
):
    if shutil.which(f"qemu-system-{EMULATORS.get(arch, arch)}") is None:
        pytest.skip(f"there is no emulator of {arch}")
    for name, given in GUESTS.items():
        text = definition(arch, **given | {"type": "qemu"})
        kept = host.connection.defineXMLFlags(complete(text), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        assert differences(text, text, kept.XMLDesc(DUMP), Kind.DOMAIN) == (), name

    start_and_find_nothing_to_do(host, definition(arch, disks=(ROOT,), nics=(), graphics="vnc"))
