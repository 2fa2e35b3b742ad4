"""How much of a whole cluster guests take: what orders of placing them go by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmdecl_numa.packing import Packing
    from kvmdecl_numa.wants import Want

_TINY = 1e-9  # a guest that takes nothing that is counted


class Sizes:
    """The share of each guest: of the CPUs to be had alone, of those to be shared, and of memory, together."""

    def __init__(self, packing: Packing) -> None:
        cells = [left.cell for host in packing.hosts for left in host.cells]
        floats = sum(left.most_floating for host in packing.hosts for left in host.cells)
        self._cpus = sum(len(cell.dedicated) for cell in cells) or 1
        self._floating = floats or 1
        self._memory = sum(sum(cell.pools.values()) for cell in cells) or 1
        by_want = {id(want): self._of(want) for want in packing.wants}
        self._sizes = [by_want[id(want)] for want in packing.wants]
        self._tie = 0.25 * sum(self._sizes) / max(1, len(self._sizes))

    def __getitem__(self, number: int) -> float:
        return self._sizes[number]

    def total(self, numbers: Iterable[int]) -> float:
        """The share of several guests; one large guest weighs less than many small ones that take as much."""
        return sum(self._sizes[number] + self._tie for number in numbers)

    def _of(self, want: Want) -> float:
        threads = sum(cell.threads + cell.isolated for cell in want.cells) + want.extras
        floating = sum(cell.floating for cell in want.cells)
        memory = want.memory + want.shape.overhead + want.shape.memory
        return threads / self._cpus + floating / self._floating + memory / self._memory + _TINY
