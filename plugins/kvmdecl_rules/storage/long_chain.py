"""So many snapshots that each read looks through a long chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_MOST = 31


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        if vm.spec.snapshots is not None and vm.spec.snapshots.keep > _MOST:
            yield Finding(vm, "snapshots.keep", f"{vm.name} keeps {vm.spec.snapshots.keep} snapshots")


RULE = Rule(
    code="storage.long-chain",
    title="so many snapshots that each read looks through a long chain",
    severity=Severity.WARNING,
    why=(
        "Each external snapshot is another file on top. A read that finds nothing in the uppermost asks "
        "the next one, and merging a long chain takes as long as copying the disk."
    ),
    source="QEMU, docs/interop/live-block-operations.rst",
    fix="keep fewer, or take backups that leave the host",
    bad="""\
vms:
  db: {disks: {data: 1GiB}, snapshots: {keep: 90}}
""",
    good="""\
vms:
  db: {disks: {data: 1GiB}, snapshots: {keep: 7}}
""",
    check=check,
)
