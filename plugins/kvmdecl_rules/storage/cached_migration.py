"""A disk on shared storage is cached, so the guest cannot migrate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, disk in site.disks(lambda disk: disk.cache not in {None, "none", "directsync"}):
        pool = site.pools.get(disk.pool)
        if pool is not None and pool.spec.type == "netfs":
            yield Finding(
                vm, f"{disk.key}.cache", f"{disk.name} of {vm.name} is cached, and {disk.pool} is shared"
            )


RULE = Rule(
    code="storage.cached-migration",
    title="a disk on shared storage is cached, so the guest cannot migrate",
    severity=Severity.WARNING,
    why=(
        "The host that a guest comes to may have old pages of the file in its cache. libvirt therefore "
        "refuses to migrate guests whose disks are on shared file systems unless they bypass it."
    ),
    source=(
        'libvirt, qemuMigrationSrcIsSafe ("Migration may lead to data corruption if disks use cache other '
        'than none or directsync")'
    ),
    fix="say `cache: none`",
    bad="""\
storage:
  shared: {type: netfs, path: /srv/shared, server: nas.example, export: /vms}
vms:
  db: {disks: {data: {size: 1GiB, pool: shared, cache: writeback}}}
""",
    good="""\
storage:
  shared: {type: netfs, path: /srv/shared, server: nas.example, export: /vms}
vms:
  db: {disks: {data: {size: 1GiB, pool: shared, cache: none}}}
""",
    check=check,
)
