"""Guests that share a disk do not see each other's writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, disk in site.disks(
        lambda disk: disk.shareable and disk.cache not in {None, "none", "directsync"}
    ):
        yield Finding(vm, f"{disk.key}.cache", f"{disk.name} of {vm.name} is shared and cached")


RULE = Rule(
    code="storage.shared-cache",
    title="guests that share a disk do not see each other's writes",
    severity=Severity.ERROR,
    why=(
        "A disk that several guests write must bypass the page cache of each host, or one reads what the "
        "other has overwritten. libvirt refuses other cache modes for shareable disks that migrate."
    ),
    source='libvirt, formatdomain, shareable ("cache mode should be none")',
    fix="say `cache: none`",
    bad="""\
vms:
  db: {disks: {quorum: {source: /dev/mapper/quorum, format: raw, shareable: true, cache: writeback}}}
""",
    good="""\
vms:
  db: {disks: {quorum: {source: /dev/mapper/quorum, format: raw, shareable: true, cache: none}}}
""",
    check=check,
)
