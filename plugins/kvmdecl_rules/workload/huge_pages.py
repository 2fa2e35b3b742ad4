"""A guest that uses much memory is on small pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity, format_size, room_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import ResolvedVm, Site


_FOR = ("database", "latency", "gpu")


_LEAST = 4 * 1024**3
_SIZES = (1024**3, 2 * 1024**2)


def check(site: Site) -> Iterator[Finding]:
    """Find each of them; pages are proposed where some host has set enough of them aside."""
    for vm in site.working(*_FOR):
        memory = vm.spec.memory
        cells = vm.spec.numa.cells if vm.spec.numa is not None else ()
        if memory.pages is not None or memory.most < _LEAST or any(cell.pages for cell in cells):
            continue
        told = f"{vm.name} has {format_size(memory.most)} in pages of 4KiB"
        page = next((size for size in _SIZES if memory.most % size == 0 and _are_there(site, vm, size)), None)
        if page is not None:
            yield Finding(vm, "memory", told, proposal=(Change("memory.pages", format_size(page)),))
        else:
            hint = f"no host sets enough aside: say `huge_pages: {{2MiB: {memory.most // _SIZES[1]}}}` of one first"
            yield Finding(vm, "memory", told, hint)


def _are_there(site: Site, vm: ResolvedVm, size: int) -> bool:
    for host in site.cluster.hosts:
        if vm.spec.host not in {None, host.name}:
            continue
        facts = site.facts.get(host.name)
        if facts is not None:
            there = room_of(host, facts).pages.get(size, 0)
        else:
            there = sum(count for of, _, count in host.huge_pages if of == size)
        if there * size >= vm.spec.memory.most:
            return True
    return False


RULE = Rule(
    code="workload.huge-pages",
    title="a guest that uses much memory is on small pages",
    severity=Severity.WARNING,
    why=(
        "Each access that misses the CPU's cache of addresses walks two page tables, the guest's and the "
        "host's. Huge pages make both short, are never swapped, and are set aside before somebody else "
        "takes them."
    ),
    source="Linux kernel, admin-guide/mm/hugetlbpage.rst; PostgreSQL, Linux huge pages; DPDK, system requirements",
    fix="set huge pages aside on the hosts (`huge_pages: {2MiB: ...}`) and say `memory: {pages: 2MiB}`",
    bad="""\
rules: {workloads: {db: database}}
vms:
  db: {memory: 8GiB}
""",
    good="""\
rules: {workloads: {db: database}}
vms:
  db: {memory: {size: 8GiB, pages: 2MiB}}
""",
    check=check,
    workloads=_FOR,
)
