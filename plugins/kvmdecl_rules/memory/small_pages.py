"""A large guest is on small pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_LARGE = 32 * 1024**3


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        if vm.memory >= _LARGE and vm.spec.memory.pages is None:
            yield Finding(vm, "memory", f"{vm.name} has {format_size(vm.memory)} in pages of 4KiB")


RULE = Rule(
    code="memory.small-pages",
    title="a large guest is on small pages",
    severity=Severity.INFO,
    why=(
        "Sixteen gibibytes are four million pages of 4KiB. Each access that misses the page cache of the "
        "CPU walks two page tables, the guest's and the host's; huge pages make both short."
    ),
    source="Linux kernel, Documentation/admin-guide/mm/hugetlbpage.rst",
    fix="set huge pages aside on the hosts (`huge_pages: {2MiB: ...}`) and say `memory: {pages: 2MiB}`",
    bad="""\
vms:
  db: {memory: 64GiB}
""",
    good="""\
vms:
  db: {memory: {size: 64GiB, pages: 2MiB}}
""",
    check=check,
)
