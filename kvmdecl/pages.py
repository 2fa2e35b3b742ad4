"""Huge pages: how many guests need, of which nodes of their host, and how many there are."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.manifest.cpus import numbers_of
from kvmdecl.settings import huge_pages, shares, split_page_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.cluster import ResolvedHost, ResolvedVm
    from kvmdecl.facts import HostFacts
    from kvmdecl.manifest import Vm

PagesByCell = dict[int, dict[int, int]]
"""Number of pages by their size in bytes and the id of the host's cell that they are in."""


@dataclass(frozen=True, slots=True)
class PageNeed:
    """Pages of one size that a vm needs, with the key that says so. `nodes` are all that they may be in, if not any."""

    key: str
    size: int
    count: int
    nodes: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class Shortage:
    """More pages needed than there are, in `nodes` if it is about these alone. `key` is that of the first need."""

    key: str
    size: int
    needed: int
    there: int
    nodes: frozenset[int] | None


def needs_of(vm: ResolvedVm) -> Iterator[PageNeed]:
    """The huge pages that a guest takes when it starts."""
    spec = vm.spec
    if spec.memory.pages is None and spec.numa is None and not spec.memory.modules:
        return  # as most
    everywhere = _bound(spec)
    parts = [
        (f"numa.cells.{cell.id}", cell.spec.pages, cell.memory, cell.spec.nodeset, cell.spec.mode)
        for cell in spec.cells
    ]
    parts = parts or [("memory", None, vm.max_memory, None, None)]
    for name, module in spec.memory.modules.items():
        if module.model != "nvdimm":
            parts.append((f"memory.modules.{name}", module.pages, module.size, module.nodeset, None))
    for key, own, size, nodeset, mode in parts:
        if page := own or spec.memory.pages:
            nodes = numbers_of(nodeset) if nodeset and mode != "preferred" else everywhere
            yield PageNeed(f"{key}.pages" if own else "memory.pages", page, size // page, nodes)


def nodes_of(spec: Vm) -> frozenset[int] | None:
    """The nodes of the host that a guest's memory is taken from, None where it may come from any."""
    if spec.numa is None:
        return None
    nodesets = [cell.nodeset or spec.numa.nodeset for cell in spec.numa.cells] or [spec.numa.nodeset]
    named = [numbers_of(nodeset) for nodeset in nodesets if nodeset is not None]
    return frozenset().union(*named) if len(named) == len(nodesets) else None


def _bound(spec: Vm) -> frozenset[int] | None:
    numa = spec.numa
    return numbers_of(numa.nodeset) if numa and numa.nodeset and numa.mode != "preferred" else None


def ordinary_memory(vm: ResolvedVm) -> int:
    """Bytes of a guest's memory that are not of huge pages."""
    return max(0, vm.memory - sum(need.size * need.count for need in needs_of(vm)))


def set_aside(host: ResolvedHost, facts: HostFacts) -> int:
    """Bytes of the host's memory that are huge pages: nothing else can use them."""
    return sum(size * sum(counts.values()) for size, counts in pages_there(host, facts).items())


def pages_there(host: ResolvedHost, facts: HostFacts) -> PagesByCell:
    """What the host has, or is going to have where the manifest says so."""
    found: PagesByCell = defaultdict(dict)
    for name, count in {**huge_pages(facts.cells), **shares(host.huge_pages, facts.cells)}.items():
        size, cell = split_page_name(name)
        found[size][cell] = count
    return dict(found)


def shortages(needs: Iterable[PageNeed], there: Mapping[int, Mapping[int, int]]) -> Iterator[Shortage]:
    """What there is too little of: on the whole host, and in each set of nodes that a need is bound to."""
    by_size: defaultdict[int, list[PageNeed]] = defaultdict(list)
    for need in needs:
        by_size[need.size].append(need)
    for size, of in sorted(by_size.items()):
        pages = there.get(size, {})
        for nodes in (None, *sorted({need.nodes for need in of if need.nodes is not None}, key=sorted)):
            wanting = [
                need for need in of if nodes is None or (need.nodes is not None and need.nodes <= nodes)
            ]
            needed = sum(need.count for need in wanting)
            have = sum(count for cell, count in pages.items() if nodes is None or cell in nodes)
            if needed > have:
                yield Shortage(wanting[0].key, size, needed, have, nodes)
                break
