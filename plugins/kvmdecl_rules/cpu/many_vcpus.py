"""More than 255 vCPUs without interrupt remapping."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        if vm.spec.cpus.most > 255 and vm.arch == "x86_64" and not (vm.spec.iommu and vm.spec.iommu.eim):
            yield Finding(vm, "cpus", f"{vm.name} may have {vm.spec.cpus.most} vCPUs")


RULE = Rule(
    code="cpu.many-vcpus",
    title="more than 255 vCPUs without interrupt remapping",
    severity=Severity.ERROR,
    why=(
        "APIC ids of vCPUs above 254 do not fit into the interrupts that devices send. Without an IOMMU "
        "that remaps them (with `eim`) QEMU does not start the guest, or the guest leaves those CPUs off."
    ),
    source="QEMU, docs/system/i386/microvm.rst and hw/i386/x86.c; libvirt, formatdomain, iommu driver eim",
    fix="add `features: {ioapic: qemu}` and `iommu: {model: intel, interrupt_remapping: true, eim: true}`",
    bad="""\
vms:
  big: {cpus: 256}
""",
    good="""\
vms:
  big:
    cpus: 256
    features: {ioapic: qemu}
    iommu: {model: intel, interrupt_remapping: true, eim: true}
""",
    check=check,
)
