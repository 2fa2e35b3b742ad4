"""What guests of a shape take, in numbers: counted once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kvmdecl.api import Shape


class CellWant(NamedTuple):
    """What a cell of a guest takes of a cell of a host.

    Attributes:
        isolated: CPUs on cores of their own.
        pairs: pairs of threads of one core.
        threads: CPUs in all, those of QEMU's own threads included.
        floating: vCPUs that float.
        memory: MiB.
        overhead: MiB of the smallest pages beside that.
        needs_pairs: whether it has to be a cell whose cores have several threads.
    """

    isolated: int
    pairs: int
    threads: int
    floating: int
    memory: int = 0
    overhead: int = 0
    needs_pairs: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Want:
    """A shape in numbers.

    Attributes:
        shape: itself.
        cells: what each of its cells takes.
        bearing: the same for the cell that also bears QEMU's own threads.
        extras: how many of those threads have a CPU for themselves.
        memory: MiB of all cells.
    """

    shape: Shape
    cells: tuple[CellWant, ...]
    bearing: tuple[CellWant, ...]
    extras: int
    memory: int

    @classmethod
    def of(cls, shape: Shape) -> Want:
        """Count what a shape takes."""
        extras = shape.io_threads + (shape.emulator == "isolate")
        cells = tuple(
            cpus_of(shape, len(cell.pinned), len(cell.floating))._replace(
                memory=cell.memory,
                overhead=0 if number else shape.overhead,
                needs_pairs=shape.threads == "require" and bool(cell.pinned),
            )
            for number, cell in enumerate(shape.cells)
        )
        bearing = tuple(cell._replace(threads=cell.threads + extras) for cell in cells) if extras else cells
        return cls(shape, cells, bearing, extras, sum(cell.memory for cell in cells))


def cpus_of(shape: Shape, pinned: int, floating: int) -> CellWant:
    """The CPUs that so many vCPUs of a shape take in one cell of a host."""
    return CellWant(
        pinned if shape.threads == "isolate" else 0,
        pinned // 2 if shape.threads == "require" else 0,
        pinned,
        floating,
    )
