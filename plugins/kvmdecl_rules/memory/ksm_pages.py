"""Merging of pages is left on for a guest on huge pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        if vm.spec.memory.pages is not None and vm.spec.memory.ksm:
            yield Finding(
                vm,
                "memory.pages",
                f"pages of {vm.name} are looked at in vain",
                change=Change("memory.ksm", "false"),
            )


RULE = Rule(
    code="memory.ksm-pages",
    title="merging of pages is left on for a guest on huge pages",
    severity=Severity.INFO,
    why=(
        "The kernel merges ordinary pages only. For a guest on huge pages the scanner's work is lost, and "
        "where transparent huge pages are split to be merged the guest gets slower."
    ),
    source="Linux kernel, Documentation/admin-guide/mm/ksm.rst",
    fix="say `ksm: false` for it",
    bad="""\
vms:
  db: {memory: {size: 4GiB, pages: 2MiB}}
""",
    good="""\
vms:
  db: {memory: {size: 4GiB, pages: 2MiB, ksm: false}}
""",
    check=check,
    workloads=("web", "database", "latency", "gpu", "windows", "vdi"),
)
