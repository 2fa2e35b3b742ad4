"""Disks of a fast guest share QEMU's main thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        if vm.spec.cpus.policy != "dedicated" or vm.spec.iothreads:
            continue
        if any(disk.spec.bus in {"virtio", "scsi"} for disk in vm.disks):
            yield Finding(vm, "disks", f"{vm.name} has dedicated CPUs and no I/O thread")


RULE = Rule(
    code="storage.one-thread",
    title="disks of a fast guest share QEMU's main thread",
    severity=Severity.INFO,
    why=(
        "Without an I/O thread all requests of all disks run in the main thread, beside the monitor and "
        "every other device."
    ),
    source="libvirt, formatdomain, iothreads; QEMU, docs/devel/multiple-iothreads.txt",
    fix="add `iothreads: 1` and `iothread: 1` for the disk",
    bad="""\
vms:
  db: {cpus: {count: 4, policy: dedicated}, disks: {data: {size: 1GiB, preallocation: falloc}}}
""",
    good="""\
vms:
  db:
    cpus: {count: 4, policy: dedicated}
    iothreads: 1
    disks: {data: {size: 1GiB, preallocation: falloc, iothread: 1}}
""",
    check=check,
)
