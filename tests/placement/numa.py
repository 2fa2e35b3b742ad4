"""A host of two cells, and guests bound to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.facts import Cell, HostCpu, PagePool
from kvmdecl.names import GIB, KIB, MIB
from kvmdecl.solver import CellRoom, HostRoom
from tests.placement.support import facts

if TYPE_CHECKING:
    from kvmdecl.facts import HostFacts

# Cores 0 to 7, threads n and n + 8; cell 0 has cores 0 to 3.
CORES = tuple((core, core + 8) for core in range(8))
ROOM = HostRoom(
    "kvm-1",
    cpus=16,
    memory=64 * GIB,
    cells=(
        CellRoom(0, 0, CORES[:4], frozenset({1, 9, 2, 10, 3, 11}), frozenset({0, 8}), {4: 16384, 2048: 8192}),
        CellRoom(
            1, 1, CORES[4:], frozenset({5, 13, 6, 14, 7, 15}), frozenset({4, 12}), {4: 16384, 2048: 8192}
        ),
    ),
    distances=((10, 21), (21, 10)),
)


def two_cells() -> HostFacts:
    """The facts of such a host."""
    from dataclasses import replace

    cells = tuple(
        Cell(
            number,
            24 * GIB,
            tuple(
                HostCpu(cpu, number, 0, core[0], core)
                for core in CORES[number * 4 : number * 4 + 4]
                for cpu in core
            ),
            (PagePool(4 * KIB, 4 * 1024**2), PagePool(2 * MIB, 4096)),
            ((0, 10 if number == 0 else 21), (1, 21 if number == 0 else 10)),
        )
        for number in range(2)
    )
    return replace(facts(memory=48 * GIB), cells=cells)
