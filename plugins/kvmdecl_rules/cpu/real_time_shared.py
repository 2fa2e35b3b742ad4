"""Real-time vCPUs run on CPUs that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        cpus = vm.spec.cpus
        if cpus.scheduler is None or cpus.scheduler.policy not in {"fifo", "rr"} or cpus.policy != "shared":
            continue
        alone = sum(pin.isdecimal() for pin in cpus.pinned.values())
        if alone < cpus.most:
            yield Finding(
                vm, "cpus.scheduler", f"{cpus.most - alone} vCPUs of {vm.name} are real-time on shared CPUs"
            )


RULE = Rule(
    code="cpu.real-time-shared",
    title="real-time vCPUs run on CPUs that they share",
    severity=Severity.WARNING,
    why=(
        "A thread of the policies fifo or rr gives way to none of the host's. On CPUs that the host and "
        "other guests use it stops them for as long as the guest computes."
    ),
    source="Linux, sched(7); libvirt, formatdomain, vcpusched",
    fix="give it CPUs for itself (`policy: dedicated`), or pin each vCPU to a CPU that nobody else has",
    bad="""\
vms:
  plc: {cpus: {count: 2, scheduler: {policy: fifo, priority: 1}}}
""",
    good="""\
vms:
  plc: {cpus: {count: 2, policy: dedicated, scheduler: {policy: fifo, priority: 1}}}
""",
    check=check,
)
