"""A guest with a GPU starts by BIOS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("gpu",)


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.working(*_FOR):
        if vm.spec.firmware.type == "bios" and vm.arch == "x86_64":
            told = f"{vm.name} starts by BIOS"
            yield Finding(vm, "firmware", told, proposal=(Change("firmware.type", "uefi"),))


RULE = Rule(
    code="workload.old-firmware",
    title="a guest with a GPU starts by BIOS",
    severity=Severity.WARNING,
    why=(
        "By BIOS the card needs VGA's old registers, of which a host has one set, and windows above 4GiB "
        "are set up by nobody. UEFI needs neither. A guest that was installed by BIOS stays with it."
    ),
    source="Linux kernel, vfio; OVMF, PCI 64-bit MMIO aperture",
    fix="say `firmware: uefi` for a new guest",
    bad="""\
rules: {workloads: {train: gpu}}
vms:
  train: {devices: [{pci: {vendor: 10de}}]}
""",
    good="""\
rules: {workloads: {train: gpu}}
vms:
  train: {firmware: uefi, devices: [{pci: {vendor: 10de}}]}
""",
    check=check,
    workloads=_FOR,
)
