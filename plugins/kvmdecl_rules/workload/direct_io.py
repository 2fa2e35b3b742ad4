"""The host keeps a second cache of what a guest caches itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import ResolvedDisk, Site


_FOR = ("database", "latency")


def check(site: Site) -> Iterator[Finding]:
    """Find each disk on the host that leaves its cache to QEMU's default."""
    for vm in site.working(*_FOR):
        for disk in vm.disks:
            if disk.spec.cache is not None or not (where := _where(site, disk)):
                continue
            changes: tuple[Change, ...] = (Change(f"{disk.key}.cache", "none"),)
            if disk.spec.io is None and where == "allocated":
                changes += (Change(f"{disk.key}.io", "native"),)
            yield Finding(
                vm, disk.key, f"{disk.name} of {vm.name} goes through the host's cache", proposal=changes
            )


def _where(site: Site, disk: ResolvedDisk) -> str:
    """`allocated`, where nothing has to be allocated while it is written; `growing`; empty if it is not on the host."""
    pool, source = site.pools.get(disk.pool), disk.spec.source
    if source is not None:
        return (
            "allocated"
            if source.path and source.path.startswith("/dev/")
            else "growing"
            if source.path
            else ""
        )
    if pool is None or pool.spec.traits.holds not in {"files", "devices"}:
        return ""
    whole = pool.spec.traits.holds == "devices" or disk.spec.preallocation in {"falloc", "full"}
    return "allocated" if whole else "growing"


RULE = Rule(
    code="workload.direct-io",
    title="the host keeps a second cache of what a guest caches itself",
    severity=Severity.WARNING,
    why=(
        "Such a guest keeps what it needs in its own memory. The host's page cache keeps it again, is written "
        "back when it suits the host, and makes flushes wait for others'. Direct I/O is steadier, and "
        "leaves the memory to guests."
    ),
    source="QEMU, docs/system/qemu-block-drivers.rst.inc (cache modes); Red Hat, Virtualization Tuning Guide",
    fix="say `cache: none`, and `io: native` on devices and on files that are wholly allocated",
    bad="""\
rules: {workloads: {db: database}}
vms:
  db: {disks: {data: 20GiB}}
""",
    good="""\
rules: {workloads: {db: database}}
vms:
  db: {disks: {data: {size: 20GiB, cache: none}}}
""",
    check=check,
    workloads=_FOR,
)
