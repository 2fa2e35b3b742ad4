"""Snapshots of a database are not consistent to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("database",)


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.working(*_FOR):
        if vm.spec.snapshots is not None and not vm.spec.snapshots.quiesce:
            asked = (Change("snapshots.quiesce", "true"),)
            yield Finding(vm, "snapshots", f"{vm.name} is not asked before its snapshots", proposal=asked)


RULE = Rule(
    code="workload.torn-snapshots",
    title="snapshots of a database are not consistent to it",
    severity=Severity.WARNING,
    why=(
        "A snapshot that the guest does not know of is what a power cut leaves: transactions of several disks may be "
        "torn apart, and what was not flushed is missing. With `quiesce` the guest agent freezes file systems, and "
        "its hooks flush the database, before the snapshot is taken."
    ),
    source="libvirt, virDomainSnapshotCreateXML, flag QUIESCE; QEMU guest agent, fsfreeze hooks",
    fix="add `quiesce: true`, and the database's hook to the guest agent (fsfreeze-hook.d)",
    bad="""\
rules: {workloads: {db: database}}
vms:
  db: {disks: {data: 1GiB}, snapshots: {keep: 7}}
""",
    good="""\
rules: {workloads: {db: database}}
vms:
  db: {disks: {data: 1GiB}, snapshots: {keep: 7, quiesce: true}}
""",
    check=check,
    workloads=_FOR,
)
