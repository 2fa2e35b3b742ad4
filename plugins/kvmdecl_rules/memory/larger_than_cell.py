"""A guest has more memory than a NUMA cell of its host and does not know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity, about_size, format_size
from kvmdecl_rules.cells import larger, several

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, host, largest in larger(site, lambda cell: cell.memory, lambda vm: vm.memory):
        told = f"{vm.name} has {format_size(vm.memory)}, and a cell of {host} {about_size(largest)}"
        yield Finding(vm, "memory", told, proposal=several(vm))


RULE = Rule(
    code="memory.larger-than-cell",
    title="a guest has more memory than a NUMA cell of its host and does not know it",
    severity=Severity.WARNING,
    why=(
        "Part of its memory is in another cell, and the guest, which sees one flat machine, cannot keep "
        "what belongs together in one place. How much of it is far away differs from start to start."
    ),
    source="Red Hat, Virtualization Tuning and Optimization Guide, NUMA; Linux kernel, numa_memory_policy.rst",
    fix="give it NUMA cells (`numa: {bind: true, cells: [{}, {}]}`), or less memory than a cell has",
    bad="""\
vms:
  db: {host: kvm-1, cpus: 2, memory: 12GiB}
""",
    good="""\
vms:
  db: {host: kvm-1, cpus: 2, memory: 12GiB, numa: {bind: true, cells: [{}, {}]}}
""",
    check=check,
    needs_hosts=True,
    machine={"cells": (("0-3", 8), ("4-7", 8))},
)
