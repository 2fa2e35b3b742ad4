"""VCPUs are pinned to CPUs, and memory may come from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("cpus.pins"):
        cpus = vm.spec.cpus
        if cpus.policy == "shared" and cpus.pins and vm.spec.numa is None:
            yield Finding(vm, "cpus.pins", f"{vm.name} has pinned vCPUs and memory from anywhere")


RULE = Rule(
    code="memory.far",
    title="vCPUs are pinned to CPUs, and memory may come from anywhere",
    severity=Severity.WARNING,
    why=(
        "The pins hold the vCPUs in one place; without `numa` the kernel takes the guest's memory from "
        "whichever NUMA cell has some when it is first touched. Half of the accesses may then cross the "
        "link between cells, for as long as the guest runs."
    ),
    source="Red Hat, Virtualization Tuning and Optimization Guide, NUMA; libvirt, formatdomain, numatune",
    fix='say which cells it is taken from (`numa: "0"`), or let placement do both (`policy: dedicated`)',
    bad="""\
vms:
  db: {host: kvm-1, cpus: {count: 2, pins: {0: "2", 1: "3"}}, memory: 4GiB}
""",
    good="""\
vms:
  db: {host: kvm-1, cpus: {count: 2, pins: {0: "2", 1: "3"}}, memory: 4GiB, numa: "0"}
""",
    check=check,
)
