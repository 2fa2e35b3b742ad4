"""Architectures of guests: what a family of processors decides where the manifest says nothing. A table.

Sources: libvirt's documentation of domains, qemuDomainDefAddDefaultDevices, qemuValidateDomainDef.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kvmdecl.amounts import MIB

Arch = Literal["x86_64", "i686", "aarch64", "armv7l", "ppc64", "ppc64le", "s390x", "riscv64"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """What guests of an architecture are by default.

    Attributes:
        machine: machine type.
        cpu: how a KVM guest sees the host's CPU.
        emulated_cpu: mode of an emulated guest's CPU; None to leave the choice to QEMU, which has no `max` for it.
        acpi: whether it has ACPI; on ARM the firmware brings it.
        apic: whether it has an APIC.
        is_pc: whether it is a PC, with all that PCs have of their own: timers, PS/2, System Management Mode.
        has_usb: whether libvirt gives every guest a USB controller.
        memory_unit: bytes that its memory is a multiple of; QEMU is given the next one (qemuDomainAlignMemorySizes).
        parts: values for keys of a vm's sections, or of each of their entries.
        lacks: keys of a vm that mean nothing to it, by path.
    """

    machine: str
    cpu: str = "host-model"
    emulated_cpu: str | None = "maximum"
    acpi: bool = False
    apic: bool = False
    is_pc: bool = False
    has_usb: bool = False
    memory_unit: int = MIB
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()


_PCS = ("x86_64", "i686")
_POWERS = ("ppc64", "ppc64le")
MODELS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("panic", "isa"): _PCS,
    ("panic", "hyperv"): _PCS,
    ("panic", "pseries"): _POWERS,
    ("panic", "s390"): ("s390x",),
    ("watchdog", "ib700"): _PCS,
    ("watchdog", "diag288"): ("s390x",),
    ("tpm", "tpm-spapr"): _POWERS,
}
"""The architectures that have a device of a model (qemuValidateDomainDeviceDefPanic and its neighbours)."""
HAVE_MODELS = frozenset(key for key, _ in MODELS)
_ON_PCS_ALONE = (
    *("features.apic", "features.vmport", "features.ioapic", "features.tseg", "features.msrs"),
    *("hyperv", "timers", "cpus.nested", "cpus.cache", "cpus.address_bits"),
)
_NO_SMBIOS = ("smbios.bios", "smbios.system", "smbios.board", "smbios.chassis", "smbios.oem", "smbios.mode")
_VIRT = {
    "cdroms": {"bus": "scsi"},
    "video": {"model": "virtio"},
    "inputs": {"bus": "virtio"},
    "tpm": {"model": "tpm-tis"},
    "panic": {"model": "pvpanic"},
}
_POWER = {"cdroms": {"bus": "scsi"}, "tpm": {"model": "tpm-spapr"}, "panic": {"model": "pseries"}}
_MAINFRAME = {
    "cdroms": {"bus": "scsi"},
    "video": {"model": "virtio"},
    "inputs": {"bus": "virtio"},
    "watchdog": {"model": "diag288"},
    "panic": {"model": "s390"},
}

_PC = Architecture("q35", acpi=True, apic=True, is_pc=True, has_usb=True, lacks=("features.gic",))
_PSERIES = Architecture(
    "pseries",
    emulated_cpu=None,
    has_usb=True,
    memory_unit=256 * MIB,
    parts=_POWER,
    lacks=(*_ON_PCS_ALONE, *_NO_SMBIOS, "features.gic", "features.acpi", "firmware.type", "iommu"),
)
ARCHITECTURES: Mapping[str, Architecture] = {
    "x86_64": _PC,
    "i686": _PC,
    "aarch64": Architecture(
        "virt",
        "host-passthrough",
        acpi=True,
        parts={**_VIRT, "firmware": {"type": "uefi"}},
        lacks=_ON_PCS_ALONE,
    ),
    "armv7l": Architecture(
        "virt",
        "host-passthrough",
        parts=_VIRT,
        lacks=(*_ON_PCS_ALONE, *_NO_SMBIOS, "features.acpi", "iommu"),
    ),
    "ppc64": _PSERIES,
    "ppc64le": _PSERIES,
    "s390x": Architecture(
        "s390-ccw-virtio",
        parts=_MAINFRAME,
        lacks=(
            *(*_ON_PCS_ALONE, *_NO_SMBIOS, "features.gic", "features.acpi", "firmware.type"),
            *("usb_redirections", "sound", "tpm", "iommu"),
        ),
    ),
    "riscv64": Architecture(
        "virt",
        "host-passthrough",
        emulated_cpu=None,
        parts=_VIRT,
        lacks=(*_ON_PCS_ALONE, *_NO_SMBIOS, "features.gic", "features.acpi", "iommu"),
    ),
}


def has_pci_express(arch: str, machine: str) -> bool:
    """Whether a machine begins with `pcie-root` (qemuDomainDefAddDefaultDevices)."""
    return "q35" in machine or (machine.split("-", maxsplit=1)[0] == "virt" and arch in _ON_PCI_EXPRESS)


_ON_PCI_EXPRESS = frozenset({"aarch64", "armv7l", "riscv64"})
