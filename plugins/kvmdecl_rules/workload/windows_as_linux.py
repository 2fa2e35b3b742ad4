"""A guest for Windows is made for Linux."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("windows",)


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.working(*_FOR):
        if vm.spec.os.startswith("windows"):
            continue
        new = vm.spec.firmware.secure_boot and vm.spec.tpm is not None
        kept = [Change(f"{disk.key}.bus", disk.spec.bus) for disk in vm.disks]
        kept += [
            Change(f"nics.{n}.model", nic.spec.model) for n, nic in enumerate(vm.nics) if nic.spec.has_model
        ]
        changes = (Change("os", "windows-11" if new else "windows"), *kept)
        yield Finding(vm, "os", f"{vm.name} is made for {vm.spec.os}", proposal=changes)


RULE = Rule(
    code="workload.windows-as-linux",
    title="a guest for Windows is made for Linux",
    severity=Severity.WARNING,
    why=(
        "`os` decides what Windows needs and the manifest does not say: a clock in local time, and "
        "Hyper-V's enlightenments, without which it is slow and keeps the host busy while it idles. Disks "
        "and NICs are named as they are now, so that a guest that exists keeps them."
    ),
    source="libvirt, formatdomain, hyperv; this manual, docs/features.md (os profiles)",
    fix="say `os: windows`, or `os: windows-11` for one that has UEFI, Secure Boot and a TPM",
    bad="""\
rules: {workloads: {desk: windows}}
vms:
  desk: {disks: {data: {size: 10GiB, bus: virtio}}}
""",
    good="""\
rules: {workloads: {desk: windows}}
vms:
  desk: {os: windows, genid: auto, disks: {data: {size: 10GiB, bus: virtio}}}
""",
    check=check,
    workloads=_FOR,
)
