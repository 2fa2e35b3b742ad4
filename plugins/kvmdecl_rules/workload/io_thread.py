"""Disks share QEMU's main thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("database", "latency")


def check(site: Site) -> Iterator[Finding]:
    """Find each disk that could have one."""
    for vm in site.working(*_FOR):
        for disk in vm.disks:
            if disk.spec.bus != "virtio" or disk.spec.iothread is not None:
                continue
            change = (Change(f"{disk.key}.iothread", "1"),)
            first = () if vm.spec.iothreads else (Change("iothreads", "1"),)
            told = f"{disk.name} of {vm.name} is served by QEMU's main thread"
            yield Finding(vm, disk.key, told, proposal=first + change)


RULE = Rule(
    code="workload.io-thread",
    title="disks share QEMU's main thread",
    severity=Severity.WARNING,
    why=(
        "Without an I/O thread all requests of all disks run in the main thread, beside the monitor and "
        "every other device. With one the disk goes on while the others wait."
    ),
    source="libvirt, formatdomain, iothreads; QEMU, docs/devel/multiple-iothreads.txt",
    fix="add `iothreads: 1`, and `iothread: 1` to virtio disks",
    bad="""\
rules: {workloads: {db: database}}
vms:
  db: {disks: {data: {size: 20GiB, cache: none}}}
""",
    good="""\
rules: {workloads: {db: database}}
vms:
  db: {iothreads: 1, disks: {data: {size: 20GiB, cache: none, iothread: 1}}}
""",
    check=check,
    workloads=_FOR,
)
