"""A guest is wider than a NUMA cell of its host and does not know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity
from kvmdecl_rules.cells import larger, several

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, host, widest in larger(site, lambda cell: len(cell.cpus), lambda vm: vm.cpus):
        told = f"{vm.name} has {vm.cpus} vCPUs, and a cell of {host} has {widest} CPUs"
        yield Finding(vm, "cpus", told, proposal=several(vm))


RULE = Rule(
    code="cpu.wide-guest",
    title="a guest is wider than a NUMA cell of its host and does not know it",
    severity=Severity.WARNING,
    why=(
        "Its vCPUs run in several cells while its memory is taken from wherever there is some. The guest "
        "sees one flat machine, so its scheduler cannot keep threads near their memory, and every access "
        "may cross the link between the cells."
    ),
    source=(
        "Red Hat, Virtualization Tuning and Optimization Guide, chapter NUMA; Linux kernel, "
        "Documentation/admin-guide/mm/numa_memory_policy.rst"
    ),
    fix=("give it NUMA cells (`numa: {bind: true, cells: [{}, {}]}`), or no more vCPUs than a cell has CPUs"),
    bad="""\
vms:
  db: {host: kvm-1, cpus: 6, memory: 4GiB}
""",
    good="""\
vms:
  db: {host: kvm-1, cpus: 6, memory: 4GiB, numa: {bind: true, cells: [{}, {}]}}
""",
    check=check,
    needs_hosts=True,
    machine={"cells": (("0-3", 8), ("4-7", 8))},
)
