"""What guests take of a host, and what there is of it, while they move: by kind, as `turns` counts it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmdecl.pages import needs_of, ordinary_memory, pages_there, set_aside
from kvmdecl.rooms import load_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from kvmdecl.cluster import ResolvedHost, ResolvedVm
    from kvmdecl.state import HostSnapshot

ORDINARY = 0
"""The kind that is no huge page; those are by their size in bytes."""


def takes_of(vm: ResolvedVm) -> dict[int, int]:
    """Bytes of each kind that a guest takes while it runs."""
    found = Counter({ORDINARY: ordinary_memory(vm)})
    for need in needs_of(vm):
        found[need.size] += need.size * need.count
    return dict(found)


def room_of(host: ResolvedHost, snapshot: HostSnapshot, ours: Container[str]) -> dict[int, int]:
    """Bytes of each kind that a host has for the cluster's guests; others' guests, as they run now, have theirs."""
    facts = snapshot.facts
    others = (domain for domain in snapshot.state.domains if domain.active and domain.uuid not in ours)
    memory = facts.memory - host.reserved_memory - set_aside(host, facts) - sum(load_of(d)[1] for d in others)
    pages = {size: size * sum(counts.values()) for size, counts in pages_there(host, facts).items()}
    return {ORDINARY: memory, **pages}


def less(room: Mapping[int, int], taken: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """What is left of it; negative where there is too little."""
    found = Counter(room)
    for each in taken:
        found.subtract(each)
    return dict(found)


def fits(room: Mapping[int, int]) -> bool:
    """Whether there is no less than nothing of any kind."""
    return all(amount >= 0 for amount in room.values())
