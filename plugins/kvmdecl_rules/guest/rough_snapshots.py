"""Snapshots catch a guest in the middle of a write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them; of a database another rule says more."""
    databases = {vm.name for vm in site.working("database")}
    for vm in site.saying("snapshots"):
        if vm.spec.snapshots is not None and not vm.spec.snapshots.quiesce and vm.name not in databases:
            asked = (Change("snapshots.quiesce", "true"),)
            yield Finding(vm, "snapshots", f"{vm.name} is not asked before its snapshots", proposal=asked)


RULE = Rule(
    code="guest.rough-snapshots",
    title="snapshots catch a guest in the middle of a write",
    severity=Severity.INFO,
    why=(
        "A snapshot that the guest does not know of is what a power cut leaves. With `quiesce` the guest "
        "agent freezes file systems, and its hooks flush databases, before it is taken."
    ),
    source="libvirt, virDomainSnapshotCreateXML, flag QUIESCE; QEMU guest agent, fsfreeze hooks",
    fix="add `quiesce: true`",
    bad="""\
vms:
  db: {disks: {data: 1GiB}, snapshots: {keep: 7}}
""",
    good="""\
vms:
  db: {disks: {data: 1GiB}, snapshots: {keep: 7, quiesce: true}}
""",
    check=check,
)
