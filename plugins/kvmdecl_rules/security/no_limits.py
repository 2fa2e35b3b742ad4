"""A tenant may take all of a host's CPU, disk and network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms if site.has_tenants else ():
        cpus, limits = vm.spec.cpus, vm.spec.blkio
        lacks = [] if cpus.quota or cpus.global_quota or cpus.policy == "dedicated" else ["CPU"]
        if limits is None and any(not disk.spec.iotune.said for disk in vm.disks):
            lacks.append("disk")
        if any(nic.spec.bandwidth is None and nic.spec.pci is None for nic in vm.nics):
            lacks.append("network")
        if lacks:
            yield Finding(vm, "", f"{vm.name} has no limit of {', '.join(lacks)}")


RULE = Rule(
    code="security.no-limits",
    title="a tenant may take all of a host's CPU, disk and network",
    severity=Severity.WARNING,
    why="Without limits one guest that is busy, or means harm, makes all others of its host slow.",
    source="libvirt, formatdomain, cputune, iotune and bandwidth; OpenStack Nova, quota extra specs",
    fix="set `cpus.quota` or dedicated CPUs, `iotune` of disks and `bandwidth` of NICs",
    bad="""\
rules: {tenancy: shared, ignore: [network.spoofing]}
vms:
  shop: {memory: {size: 1GiB, ksm: false}, nics: [lan]}
""",
    good="""\
rules: {tenancy: shared, ignore: [network.spoofing]}
vms:
  shop:
    cpus: {count: 1, quota: 100000}
    memory: {size: 1GiB, ksm: false}
    nics: [{network: lan, bandwidth: {inbound: {average: 10MiB}, outbound: {average: 10MiB}}}]
""",
    check=check,
)
