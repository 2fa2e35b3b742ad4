"""A host merges the pages of tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for host in site.cluster.hosts if site.has_tenants else ():
        if host.ksm:
            yield Finding(host, "ksm", f"{host.name} is told how to merge pages of its tenants")


RULE = Rule(
    code="memory.ksm-shared-host",
    title="a host merges the pages of tenants",
    severity=Severity.WARNING,
    why=(
        "Where guests belong to people who need not trust each other, merging of equal pages lets each find "
        "out what the others hold. `ksm: false` of guests keeps theirs out; that the host is told how to "
        "merge means that somebody counts on it."
    ),
    source="Bosman et al., Dedup Est Machina, IEEE S&P 2016; Linux kernel, Documentation/admin-guide/mm/ksm.rst",
    fix="leave `ksm` of the host out, and switch KSM off there",
    bad="""\
rules: {tenancy: shared}
hosts:
  kvm-2: {uri: "qemu+tls://kvm-2.example/system", ksm: {pages_to_scan: 200}}
""",
    good="""\
rules: {tenancy: shared}
hosts:
  kvm-2: {uri: "qemu+tls://kvm-2.example/system"}
""",
    check=check,
)
