"""What the guest deletes stays allocated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        for disk in vm.disks:
            spec = disk.spec
            if (
                disk.pool
                and spec.format == "qcow2"
                and spec.discard is None
                and spec.preallocation in {"off", "metadata"}
            ):
                unmap = (Change(f"{disk.key}.discard", "unmap"),)
                yield Finding(vm, disk.key, f"{disk.name} of {vm.name} never shrinks", proposal=unmap)


RULE = Rule(
    code="storage.never-shrinks",
    title="what the guest deletes stays allocated",
    severity=Severity.INFO,
    why=(
        "Without `discard: unmap` a thin disk only grows: blocks that the guest's file system freed stay "
        "in the file, and in backups of it."
    ),
    source="libvirt, formatdomain, driver discard",
    fix="add `discard: unmap`, and run fstrim in the guest",
    bad="""\
vms:
  web: {disks: {data: 20GiB}}
""",
    good="""\
vms:
  web: {disks: {data: {size: 20GiB, discard: unmap}}}
""",
    check=check,
    workloads=("web", "database", "latency", "gpu", "windows", "vdi"),
)
