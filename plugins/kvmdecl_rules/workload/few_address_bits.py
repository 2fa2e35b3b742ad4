"""The address space of a guest may be too small for its GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("gpu",)


def check(site: Site) -> Iterator[Finding]:
    """Find each of them that leaves it to the hypervisor."""
    for vm in site.working(*_FOR):
        cpus = vm.spec.cpus
        if vm.type != "kvm" or cpus.address_bits is not None or cpus.model not in {None, "host-passthrough"}:
            continue
        changes = (Change("cpus.model", "host-passthrough"), Change("cpus.address_bits", "host"))
        told = f"{vm.name} has as many address bits as its QEMU happens to give it"
        yield Finding(vm, "cpus", told, proposal=changes)


RULE = Rule(
    code="workload.few-address-bits",
    title="the address space of a guest may be too small for its GPU",
    severity=Severity.WARNING,
    why=(
        "Cards for computing show all of their memory as one window of 64GiB and more. A guest whose CPU "
        "has few address bits finds no place for it, and its driver finds no card. Its device keeps it on "
        "hosts of its kind anyway, so it may as well see the host's own CPU."
    ),
    source="QEMU, host-phys-bits; NVIDIA, GPU pass-through on KVM (large BAR)",
    fix="say `cpus: {model: host-passthrough, address_bits: host}`",
    bad="""\
rules: {workloads: {train: gpu}}
vms:
  train: {devices: [{pci: {vendor: 10de}}]}
""",
    good="""\
rules: {workloads: {train: gpu}}
vms:
  train: {cpus: {count: 1, model: host-passthrough, address_bits: host}, devices: [{pci: {vendor: 10de}}]}
""",
    check=check,
    workloads=_FOR,
)
