"""Guests start with their host, and their pool does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    late = {pool.name for pool in site.cluster.pools if not pool.spec.autostart}
    missing = {
        network.name for network in site.cluster.networks if network.uuid and not network.spec.autostart
    }
    for vm in site.vms if late or missing else ():
        if not vm.spec.autostart or vm.state != "running":
            continue
        for disk in vm.disks:
            if disk.pool in late:
                yield Finding(vm, disk.key, f"{vm.name} starts with its host, and pool {disk.pool} does not")
        for number, nic in enumerate(vm.nics):
            if nic.network in missing:
                yield Finding(
                    vm,
                    f"nics.{number}",
                    f"{vm.name} starts with its host, and network {nic.network} does not",
                )


RULE = Rule(
    code="operations.late-pool",
    title="guests start with their host, and their pool does not",
    severity=Severity.WARNING,
    why=(
        "At boot libvirt starts what is marked for it. A guest whose pool or network is not there yet "
        "fails, and stays down."
    ),
    source="libvirt, virStoragePoolSetAutostart, virNetworkSetAutostart",
    fix="leave `autostart` of the pool or network out",
    bad="""\
storage:
  slow: {path: /srv/slow, autostart: false}
vms:
  web: {disks: {data: {size: 1GiB, pool: slow}}}
""",
    good="""\
storage:
  slow: {path: /srv/slow}
vms:
  web: {disks: {data: {size: 1GiB, pool: slow}}}
""",
    check=check,
)
