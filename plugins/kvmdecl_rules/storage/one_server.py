"""Guests that survive their host hang on one storage server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_ONE = frozenset({"netfs", "iscsi", "iscsi-direct"})
"""Types of pools that are on one server."""


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("ha"):
        for disk in vm.disks if vm.spec.is_ha else ():
            pool = site.pools.get(disk.pool)
            if pool is not None and pool.spec.type in _ONE:
                yield Finding(vm, disk.key, f"{disk.name} of {vm.name} is on {pool.spec.server} alone")


RULE = Rule(
    code="storage.one-server",
    title="guests that survive their host hang on one storage server",
    severity=Severity.INFO,
    why=(
        "An `ha` guest is started elsewhere when its host fails, and its disks are on one machine: when "
        "that fails all of them stop at once. Ceph (a pool of type `rbd`) keeps each block on several "
        "machines."
    ),
    source="Ceph, RBD and libvirt; libvirt, storage pools (type rbd)",
    fix="put its disks into a pool of type `rbd`, or make the server itself survive",
    bad="""\
storage:
  nas: {type: netfs, path: /srv/nas, server: nas.example, export: /vms}
vms:
  db: {disks: {data: {size: 1GiB, pool: nas, cache: none}}, ha: true}
""",
    good="""\
storage:
  ceph: {type: rbd, source: vms, servers: [ceph-1.example, ceph-2.example, ceph-3.example]}
vms:
  db: {disks: {data: {size: 1GiB, pool: ceph, format: raw}}, ha: true}
""",
    check=check,
)
