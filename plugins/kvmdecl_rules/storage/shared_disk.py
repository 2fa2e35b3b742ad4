"""Several guests write to one disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find the second guest that writes to a disk; guests that reserve it know of each other."""
    first: dict[object, str] = {}
    for vm, disk in site.disks(lambda disk: disk.shareable and not disk.readonly and not disk.reservations):
        source = disk.spec.source
        other = first.setdefault(source.path if source is not None else (disk.pool, disk.volume), vm.name)
        if other != vm.name:
            yield Finding(vm, disk.key, f"{vm.name} and {other} both write to {disk.name}")


RULE = Rule(
    code="storage.shared-disk",
    title="several guests write to one disk",
    severity=Severity.INFO,
    why=(
        "An ordinary file system keeps what it knows of the disk in memory. Two guests that mount it write "
        "over each other, and it is broken within minutes. A cluster file system (GFS2, OCFS2) or a "
        "database that was made for it (with reservations of its own) is needed, which nobody can see from "
        "here."
    ),
    source="libvirt, formatdomain, shareable; Red Hat, Configuring GFS2 file systems",
    fix=(
        "use a cluster file system on it and ignore this, say `readonly: true` in all guests but one, or share by NFS "
        "or virtiofs"
    ),
    bad="""\
vms:
  a: {disks: {data: {source: /dev/mapper/data, format: raw, shareable: true}}}
  b: {disks: {data: {source: /dev/mapper/data, format: raw, shareable: true}}}
""",
    good="""\
vms:
  a: {disks: {data: {source: /dev/mapper/data, format: raw, shareable: true}}}
  b: {disks: {data: {source: /dev/mapper/data, format: raw, shareable: true, readonly: true}}}
""",
    check=check,
)
