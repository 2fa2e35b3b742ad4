"""Disks on a version of NFS without leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for pool in site.cluster.pools:
        version = pool.spec.protocol_version
        if version is not None and version[:1] in {"2", "3"} and pool.spec.state == "active":
            yield Finding(pool, "protocol_version", f"{pool.name} is mounted by NFS {version}")


RULE = Rule(
    code="storage.old-nfs",
    title="disks on a version of NFS without leases",
    severity=Severity.WARNING,
    why=(
        "NFS 2 and 3 keep locks in a service beside them which forgets them when either side restarts. A "
        "guest that was started twice then writes to its disk twice."
    ),
    source="RFC 8881 (NFS 4.1), sections on locking; libvirt, lock manager documentation",
    fix='say `protocol_version: "4.2"`',
    bad="""\
storage:
  shared: {type: netfs, path: /srv/shared, server: nas.example, export: /vms, protocol_version: "3"}
vms:
  db: {disks: {data: {size: 1GiB, pool: shared}}}
""",
    good="""\
storage:
  shared: {type: netfs, path: /srv/shared, server: nas.example, export: /vms, protocol_version: "4.2"}
vms:
  db: {disks: {data: {size: 1GiB, pool: shared}}}
""",
    check=check,
)
