"""A wide guest has one queue for all its packets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_WIDE = 8


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        for number, nic in enumerate(vm.nics) if vm.cpus >= _WIDE else ():
            if nic.spec.has_model and nic.spec.model == "virtio" and nic.spec.queues is None:
                told = f"NIC {number} of {vm.name} has one queue for {vm.cpus} vCPUs"
                yield Finding(vm, f"nics.{number}", told, proposal=(Change(f"nics.{number}.queues", "4"),))


RULE = Rule(
    code="network.one-queue",
    title="a wide guest has one queue for all its packets",
    severity=Severity.INFO,
    why=(
        "One pair of queues is served by one vCPU and one thread of the host. With eight vCPUs or more "
        "that thread is the limit."
    ),
    source="Red Hat, Virtualization Tuning and Optimization Guide, multi-queue virtio-net",
    fix="say `queues: 4` or so",
    bad="""\
vms:
  proxy: {cpus: 8, nics: [lan]}
""",
    good="""\
vms:
  proxy: {cpus: 8, nics: [{network: lan, queues: 4}]}
""",
    check=check,
    workloads=("web", "database", "latency"),
)
