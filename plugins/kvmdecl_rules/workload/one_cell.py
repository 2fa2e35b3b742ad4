"""A guest that fits into a NUMA cell may lie across several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("database", "gpu")


def check(site: Site) -> Iterator[Finding]:
    """Find each of them; those that are larger than a cell are told by other rules."""
    for vm in site.working(*_FOR):
        facts = site.facts.get(vm.host or "")
        if facts is None or vm.spec.is_bound or vm.spec.numa is not None or vm.spec.cpus.pins:
            continue
        cells = [cell for cell in facts.cells if cell.cpus and cell.memory]
        if len(cells) > 1 and any(vm.cpus <= len(cell.cpus) and vm.memory <= cell.memory for cell in cells):
            told = f"{vm.name} may be in all {len(cells)} cells of {vm.host}"
            yield Finding(vm, "", told, proposal=(Change("numa", "{bind: true}"),))


RULE = Rule(
    code="workload.one-cell",
    title="a guest that fits into a NUMA cell may lie across several",
    severity=Severity.WARNING,
    why=(
        "Without a word about NUMA the kernel takes its memory from wherever there is some, and its vCPUs "
        "run in all cells: half of the accesses cross the link between cells."
    ),
    source="Red Hat, Virtualization Tuning and Optimization Guide, NUMA; libvirt, formatdomain, numatune",
    fix="say `numa: {bind: true}`: placement chooses the cell",
    bad="""\
rules: {workloads: {db: database}}
vms:
  db: {host: kvm-1, cpus: 2, memory: 4GiB}
""",
    good="""\
rules: {workloads: {db: database}}
vms:
  db: {host: kvm-1, cpus: 2, memory: 4GiB, numa: {bind: true}}
""",
    check=check,
    needs_hosts=True,
    machine={"cells": (("0-3", 8), ("4-7", 8))},
    workloads=_FOR,
)
