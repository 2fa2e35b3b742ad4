"""A pool has promised more than it can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity, about_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import ObservedPool, ResolvedPool, Site


def check(site: Site) -> Iterator[Finding]:
    """Find pools, by what is in them and what the manifest adds."""
    for pool in site.cluster.pools:
        for host in pool.hosts[:1] if pool.spec.is_shared else pool.hosts:
            there = site.pool_on(host, pool.name)
            if there is None or not there.capacity:
                continue
            promised = sum(volume.capacity for volume in there.volumes) + _added(site, pool, host, there)
            if promised > pool.spec.overcommit * there.capacity:
                told = f"{pool.name} on {host} has {about_size(there.capacity)}, and disks are promised"
                yield Finding(pool, "", f"{told} {about_size(promised)}")


def _added(site: Site, pool: ResolvedPool, host: str, there: ObservedPool) -> int:
    """Bytes of the disks that are still to be made."""
    vms = site.vms if pool.spec.is_shared else site.vms_on.get(host, ())
    made = {volume.name for volume in there.volumes}
    return sum(
        disk.size or 0
        for vm in vms
        for disk in vm.disks
        if disk.pool == pool.name and disk.volume not in made
    )


RULE = Rule(
    code="storage.promised",
    title="a pool has promised more than it can hold",
    severity=Severity.WARNING,
    why=(
        "Thin disks take room as they are written. When a pool is full all guests on it stop at their next "
        "write, or see errors; the more has been promised, the sooner and the more at once. `overcommit` of "
        "a pool says how much is meant."
    ),
    source="libvirt, storage volumes (allocation and capacity); QEMU, docs/interop/qcow2.rst",
    fix="give the pool more room, put disks elsewhere, or say `overcommit: 5` of a pool that is watched",
    bad="""\
vms:
  a: {disks: {data: 300GiB}}
  b: {disks: {data: 100GiB}}
""",
    good="""\
vms:
  a: {disks: {data: 200GiB}}
  b: {disks: {data: 50GiB}}
""",
    check=check,
    needs_hosts=True,
    machine={"pools": {"vms": 100}},
)
