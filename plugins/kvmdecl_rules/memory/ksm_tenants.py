"""Pages of tenants may be merged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms if site.has_tenants else ():
        if vm.spec.memory.ksm and vm.spec.memory.pages is None:
            yield Finding(
                vm,
                "memory",
                f"the memory of {vm.name} may be merged with others'",
                change=Change("memory.ksm", "false"),
            )


RULE = Rule(
    code="memory.ksm-tenants",
    title="pages of tenants may be merged",
    severity=Severity.WARNING,
    why=(
        "Kernel samepage merging lets one guest find out by timing whether another holds a given page, "
        "and was the way into others' memory by Rowhammer. Guests that need not trust each other should "
        "not share pages."
    ),
    source=(
        "Linux kernel, Documentation/admin-guide/mm/ksm.rst; Bosman et al., Dedup Est Machina, IEEE S&P 2016"
    ),
    fix="say `memory: {size: ..., ksm: false}`",
    bad="""\
rules: {tenancy: shared}
vms:
  shop:
    cpus: {count: 1, shares: 1024, quota: 50000}
    memory: {size: 1GiB, hard_limit: 4GiB}
""",
    good="""\
rules: {tenancy: shared}
vms:
  shop:
    cpus: {count: 1, shares: 1024, quota: 50000}
    memory: {size: 1GiB, hard_limit: 4GiB, ksm: false}
""",
    check=check,
)
