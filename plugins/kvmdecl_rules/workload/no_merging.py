"""A guest's pages may be merged and split again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("database", "latency", "gpu")


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.working(*_FOR):
        if vm.spec.memory.ksm:
            yield Finding(
                vm, "memory", f"pages of {vm.name} may be merged", proposal=(Change("memory.ksm", "false"),)
            )


RULE = Rule(
    code="workload.no-merging",
    title="a guest's pages may be merged and split again",
    severity=Severity.WARNING,
    why=(
        "A page that was merged with an equal one is copied back when the guest writes to it, which is a "
        "fault in the middle of its work; looking for such pages costs the host's CPUs time."
    ),
    source="Linux kernel, Documentation/admin-guide/mm/ksm.rst",
    fix="say `memory: {ksm: false}`",
    bad="""\
rules: {workloads: {db: database}}
vms:
  db: {memory: 2GiB}
""",
    good="""\
rules: {workloads: {db: database}}
vms:
  db: {memory: {size: 2GiB, ksm: false}}
""",
    check=check,
    workloads=_FOR,
)
