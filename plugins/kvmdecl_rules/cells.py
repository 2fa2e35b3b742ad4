"""Guests that are larger than a NUMA cell of their host, by what is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmdecl.api import Cell, ResolvedVm, Site


def larger(
    site: Site, has: Callable[[Cell], int], needs: Callable[[ResolvedVm], int]
) -> Iterator[tuple[ResolvedVm, str, int]]:
    """Each guest without cells of its own that needs more than any cell of its host has; the host, and the most.

    A host with one cell is its own cell: no guest of it is across two.
    """
    for name, vms in site.vms_on.items():
        rooms = [room for cell in site.facts[name].cells if (room := has(cell))] if name in site.facts else []
        if len(rooms) > 1:
            yield from ((vm, name, max(rooms)) for vm in vms if needs(vm) > max(rooms) and not vm.spec.cells)


def several(vm: ResolvedVm) -> tuple[Change, ...]:
    """What would follow the rule, for a guest that says nothing of cells."""
    return (Change("numa", "{bind: true, cells: [{}, {}]}"),) if vm.spec.numa is None else ()
