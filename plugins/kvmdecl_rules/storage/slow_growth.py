"""A disk of a guest with dedicated CPUs grows while it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        if vm.spec.cpus.policy != "dedicated":
            continue
        for disk in vm.disks:
            spec = disk.spec
            made = disk.pool and not disk.image and disk.clone is None and spec.volume is None
            if made and spec.format == "qcow2" and spec.preallocation == "off":
                change = (Change(f"{disk.key}.preallocation", "metadata"),)
                yield Finding(
                    vm, disk.key, f"{disk.name} of {vm.name} grows as it is written", proposal=change
                )


RULE = Rule(
    code="storage.slow-growth",
    title="a disk of a guest with dedicated CPUs grows while it is written",
    severity=Severity.WARNING,
    why=(
        "A qcow2 file without preallocation allocates a cluster, and writes tables, the first time that "
        "each place is written. Guests that have CPUs for themselves for the sake of latency see pauses "
        "there."
    ),
    source="QEMU, docs/interop/qcow2.rst and the option preallocation of qemu-img",
    fix="say `preallocation: metadata` (or `falloc`), or `format: raw`",
    bad="""\
vms:
  db: {cpus: {count: 2, policy: dedicated}, disks: {data: 20GiB}}
""",
    good="""\
vms:
  db: {cpus: {count: 2, policy: dedicated}, disks: {data: {size: 20GiB, preallocation: metadata}}}
""",
    check=check,
)
