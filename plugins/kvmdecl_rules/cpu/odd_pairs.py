"""Pairs of threads are asked for an odd number of vCPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("cpus.threads"):
        if vm.spec.cpus.threads == "require" and vm.spec.cpus.most % 2:
            yield Finding(vm, "cpus.threads", f"{vm.name} has {vm.spec.cpus.most} vCPUs, which are no pairs")


RULE = Rule(
    code="cpu.odd-pairs",
    title="pairs of threads are asked for an odd number of vCPUs",
    severity=Severity.WARNING,
    why=(
        "With `threads: require` vCPUs sit on the two threads of a core. An odd one leaves the other "
        "thread of its core to nobody or to somebody else, and the guest cannot be shown pairs."
    ),
    source="OpenStack Nova, CPU topologies (hw:cpu_thread_policy=require)",
    fix="ask for an even number of vCPUs, or for `threads: prefer`",
    bad="""\
vms:
  net: {cpus: {count: 3, policy: dedicated, threads: require}}
""",
    good="""\
vms:
  net: {cpus: {count: 4, policy: dedicated, threads: require}}
""",
    check=check,
)
