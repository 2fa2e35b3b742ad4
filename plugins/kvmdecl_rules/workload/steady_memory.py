"""A guest's memory may shrink under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("database", "latency", "gpu")


def check(site: Site) -> Iterator[Finding]:
    """Find each of them; a database keeps its balloon, which tells how its memory is used."""
    for vm in site.working(*_FOR):
        memory = vm.spec.memory
        if memory.most > memory.size:
            told = f"{vm.name} has between {format_size(memory.size)} and {format_size(memory.most)}"
            yield Finding(vm, "memory.max", told, proposal=(Change("memory.max", None),))
    for vm in site.working("latency", "gpu"):
        if vm.spec.balloon.enabled:
            yield Finding(
                vm, "balloon", f"{vm.name} has a balloon", proposal=(Change("balloon.enabled", "false"),)
            )


RULE = Rule(
    code="workload.steady-memory",
    title="a guest's memory may shrink under it",
    severity=Severity.WARNING,
    why=(
        "A balloon takes from the caches that a guest was given its memory for, and inflating it stalls "
        "the guest. What a passed device may write to cannot be taken away at all."
    ),
    source="libvirt, formatdomain, memballoon; Red Hat, Optimizing RHEL for Real Time low latency operation",
    fix="leave `memory.max` out; where nothing may interrupt the guest also say `balloon: false`",
    bad="""\
rules: {workloads: {db: database}}
vms:
  db: {memory: {size: 2GiB, max: 4GiB}}
""",
    good="""\
rules: {workloads: {db: database}}
vms:
  db: {memory: {size: 4GiB}}
""",
    check=check,
    workloads=_FOR,
)
