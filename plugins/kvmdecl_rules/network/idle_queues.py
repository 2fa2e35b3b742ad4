"""A NIC has more queues than the guest has vCPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, number, nic in site.nics(lambda nic: nic.queues is not None):
        if (nic.spec.queues or 0) > vm.max_cpus:
            key = f"nics.{number}.queues"
            yield Finding(
                vm, key, f"NIC {number} of {vm.name} has {nic.spec.queues} queues for {vm.max_cpus} vCPUs"
            )


RULE = Rule(
    code="network.idle-queues",
    title="a NIC has more queues than the guest has vCPUs",
    severity=Severity.WARNING,
    why=(
        "The guest's driver uses at most one pair of queues for each vCPU. The others take memory and "
        "file handles on the host and never carry a packet."
    ),
    source="libvirt, formatdomain, driver queues; Linux, virtio_net",
    fix="set `queues` to the number of vCPUs, or less",
    bad="""\
vms:
  web: {cpus: 2, nics: [{network: lan, queues: 8}]}
""",
    good="""\
vms:
  web: {cpus: 2, nics: [{network: lan, queues: 2}]}
""",
    check=check,
)
