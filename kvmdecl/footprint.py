"""What a guest takes of its host, and what a host has for guests, in the units that a cluster manager counts in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmdecl.pages import needs_of, ordinary_memory, pages_there, set_aside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.cluster import ResolvedHost, ResolvedVm
    from kvmdecl.facts import HostFacts


@dataclass(frozen=True, slots=True)
class Footprint:
    """vCPUs, bytes of ordinary memory, and huge pages by their size in bytes."""

    cpus: int
    memory: int
    pages: Mapping[int, int] = field(default_factory=dict)


def footprint(vm: ResolvedVm) -> Footprint:
    """What a guest takes while it runs."""
    pages: Counter[int] = Counter()
    for need in needs_of(vm):
        pages[need.size] += need.count
    return Footprint(vm.cpus, ordinary_memory(vm), dict(sorted(pages.items())))


def room_of(host: ResolvedHost, facts: HostFacts) -> Footprint:
    """What a host has for guests: without its reserves, as many vCPUs as its `overcommit` says."""
    there = pages_there(host, facts)
    pages = {size: sum(counts.values()) for size, counts in sorted(there.items())}
    cpus = max(0, len(facts.cpus) - host.reserved_cpus)
    memory = max(0, facts.memory - host.reserved_memory - set_aside(host, facts))
    return Footprint(int(cpus * host.overcommit), memory, {size: n for size, n in pages.items() if n})
