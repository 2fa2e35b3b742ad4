"""A device may be far from the guest's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("gpu",)


def check(site: Site) -> Iterator[Finding]:
    """Find each device of a guest that is bound to cells."""
    for vm in site.working(*_FOR):
        for number, request in enumerate(vm.spec.devices) if vm.spec.is_bound else ():
            if request.numa == "preferred":
                told = f"{request.word} of {vm.name} is near only if that happens to be free"
                change = Change(f"devices.{number}.numa", "legacy")
                yield Finding(vm, f"devices.{number}", told, proposal=(change,))


RULE = Rule(
    code="workload.far-device",
    title="a device may be far from the guest's memory",
    severity=Severity.WARNING,
    why=(
        "What a card reads from and writes to memory of another socket crosses the link between them, which "
        "halves what it transfers. `legacy` asks for a cell that is near, or that nobody knows the place "
        "of."
    ),
    source="NVIDIA, GPUDirect and NUMA affinity; OpenStack Nova, hw:pci_numa_affinity_policy",
    fix="say `numa: legacy` (or `required`) of the device, and `numa: {bind: true}` of the guest",
    bad="""\
rules: {workloads: {train: gpu}}
vms:
  train: {host: kvm-1, numa: {bind: true}, devices: [{pci: {vendor: 10de}, numa: preferred}]}
""",
    good="""\
rules: {workloads: {train: gpu}}
vms:
  train: {host: kvm-1, numa: {bind: true}, devices: [{pci: {vendor: 10de}, numa: legacy}]}
""",
    check=check,
    workloads=_FOR,
)
