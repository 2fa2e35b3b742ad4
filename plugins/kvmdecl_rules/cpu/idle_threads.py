"""Half of the threads of its cores stay idle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        if vm.spec.cpus.threads == "isolate":
            yield Finding(
                vm, "cpus.threads", f"{vm.name} takes {2 * vm.cpus} threads for its {vm.cpus} vCPUs"
            )


RULE = Rule(
    code="cpu.idle-threads",
    title="half of the threads of its cores stay idle",
    severity=Severity.INFO,
    why=(
        "With `threads: isolate` nobody runs on the other threads of the guest's cores. That helps a "
        "guest that nothing may disturb, and takes twice as many CPUs."
    ),
    source="OpenStack Nova, CPU topologies (hw:cpu_thread_policy=isolate)",
    fix="say `threads: prefer`, or keep it where the guest's latency is worth the CPUs",
    bad="""\
vms:
  net: {cpus: {count: 4, policy: dedicated, threads: isolate}}
""",
    good="""\
vms:
  net: {cpus: {count: 4, policy: dedicated}}
""",
    check=check,
)
