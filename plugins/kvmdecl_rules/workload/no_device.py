"""A guest for computing on a GPU has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("gpu",)


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.working(*_FOR):
        if not vm.spec.devices and not vm.spec.hostdevs:
            yield Finding(vm, "", f"{vm.name} has no device of its host")


RULE = Rule(
    code="workload.no-device",
    title="a guest for computing on a GPU has none",
    severity=Severity.WARNING,
    why=("Nothing of what is proposed for such guests helps one without a device of its host."),
    source="libvirt, formatdomain, hostdev; this manual, docs/devices.md",
    fix="say `devices: [gpu]`, with `gpu` among `devices` at the top; `kvmdecl devices` lists what hosts have",
    bad="""\
rules: {workloads: {train: gpu}}
vms:
  train: {firmware: uefi}
""",
    good="""\
rules: {workloads: {train: gpu}}
vms:
  train: {firmware: uefi, devices: [{pci: {vendor: 10de}}]}
""",
    check=check,
    workloads=_FOR,
)
