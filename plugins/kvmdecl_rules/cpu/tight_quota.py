"""A CPU quota is so small that the guest stalls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("cpus.quota"):
        cpus = vm.spec.cpus
        period = cpus.period or 100_000
        if cpus.quota is not None and 0 < cpus.quota * 10 < period:
            percent = 100 * cpus.quota // period
            yield Finding(vm, "cpus.quota", f"each vCPU of {vm.name} may use {percent} % of a CPU")


RULE = Rule(
    code="cpu.tight-quota",
    title="a CPU quota is so small that the guest stalls",
    severity=Severity.WARNING,
    why=(
        "The guest gets its share at the beginning of each period and then waits for the next one. With "
        "less than a tenth of a CPU it stands still for most of each period: its clock jumps and its "
        "network times out."
    ),
    source="Linux kernel, Documentation/scheduler/sched-bwc.rst; libvirt, formatdomain, cputune quota",
    fix="raise `quota`, or use `shares`, which limit only while others want the CPU",
    bad="""\
vms:
  web: {cpus: {count: 1, period: 100000, quota: 5000}}
""",
    good="""\
vms:
  web: {cpus: {count: 1, period: 100000, quota: 50000}}
""",
    check=check,
)
