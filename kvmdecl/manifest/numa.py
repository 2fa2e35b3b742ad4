"""`vms.NAME.numa`: the memory of the host that the guest's is taken from, and the NUMA cells that the guest sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section
from kvmdecl.manifest.base import wrong as _wrong
from kvmdecl.manifest.cpus import NumberSet, numbers_of
from kvmdecl.names import GIB, MIB, Bool, Integer, Size, format_size

if TYPE_CHECKING:
    from kvmdecl.manifest.cpus import Cpus
    from kvmdecl.manifest.memory import Memory

Mode = Literal["strict", "preferred", "interleave", "restrictive"]
PAGE_SIZES = (2 * MIB, GIB)
"""Huge pages of x86_64."""
LOCAL = 10
"""Distance of a cell to itself (ACPI, SLIT)."""


class NumaCell(Section):
    """A NUMA cell that the guest sees. Without `cpus` and `memory` all cells have the same share of them."""

    cpus: NumberSet | None = None
    """Numbers of its vCPUs (`"0-3"`), given for all cells or for none; as many as each other cell if not given."""
    memory: Size | None = None
    """Its memory, given for all cells or for none; as much as each other cell if not given."""
    nodeset: NumberSet | None = None
    """NUMA nodes of the host that its memory is taken from; as `numa.nodeset` says if not given."""
    mode: Mode | None = None
    """How, as for `numa.mode`; `strict` if not given."""
    pages: Size | None = None
    """Huge pages that its memory is made of; as `memory.pages` says if not given."""
    access: Literal["private", "shared"] | None = None
    """Whether other processes of the host may share its memory; as `memory.access` says if not given."""
    discard: Bool | None = None
    """Whether its memory is dropped, and not written to its file, when the guest ends."""
    distances: tuple[Annotated[Integer, Field(ge=LOCAL, le=254)], ...] = ()
    """How far it is to each cell, in their order (`[10, 21]`): 10 to itself, more to others. For all cells or none."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.mode is not None and self.nodeset is None:
            raise _wrong("numa", "there are no nodes to take its memory from", "add `nodeset`", "mode")
        _check_preferred(self.mode, self.nodeset)
        return self


def _check_preferred(mode: Mode | None, nodeset: str | None) -> None:
    if mode == "preferred" and not (nodeset or "").isdecimal():
        raise _wrong("numa", "only one node can be preferred", "name one, or use `strict`", "nodeset")


class Numa(Section):
    """Which memory of the host the guest's is taken from, and what the guest sees of that."""

    shorthand = "nodeset"

    nodeset: NumberSet | None = None
    """NUMA nodes of the host (`"0"`, `"0-1"`); any if not given."""
    mode: Mode | None = None
    """`strict`: from there or not at all; `preferred`: from there as long as it lasts; `interleave`: from each in turn;
    `restrictive`: the host's cgroups see to it. `strict` if not given."""
    cells: tuple[NumaCell, ...] = ()
    """NUMA cells that the guest sees (`[{nodeset: "0"}, {nodeset: "1"}]`); none if not given."""
    bind: Bool = False
    """Keep vCPUs and memory together in one cell of the host, and each of the guest's `cells` in another; placement
    chooses. A guest with dedicated vCPUs always is."""
    spill: Bool = False
    """Whether a cell of the guest may lie across several of the host's where it fits into none as a whole."""
    max_distance: Annotated[Integer, Field(ge=LOCAL, le=254)] | None = None
    """Greatest distance between the host's cells that `cells` lie in; any if not given."""
    expanders: Bool = False
    """Give each of the guest's `cells` PCI Express buses of its own, with the `devices` on them that are near it, so
    that the guest sees which cell they are near to."""

    @property
    def is_chosen(self) -> bool:
        """Whether somebody said which nodes of the host it uses."""
        return self.nodeset is not None or any(cell.nodeset is not None for cell in self.cells)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.said:
            hint = "add `bind: true`, `nodeset` or `cells`, or leave `numa` out"
            raise _wrong("numa", "it says nothing", hint)
        if self.bind and self.is_chosen:
            summary = "nodes are given, and placement shall choose them"
            raise _wrong("numa", summary, "leave `bind` or `nodeset` out", "bind")
        if self.mode is not None and self.nodeset is None:
            raise _wrong("numa", "there are no nodes to take memory from", "add `nodeset`", "mode")
        _check_preferred(self.mode, self.nodeset)
        for key in ("cpus", "memory", "distances"):
            given = [bool(getattr(cell, key)) for cell in self.cells]
            if any(given) and not all(given):
                hint = f"give all cells their `{key}`, or none"
                raise _wrong(
                    "numa", f"some cells have {key} and some have none", hint, "cells", given.index(False)
                )
        self._check_distances()
        self._check_restrictive()
        return self

    def _check_distances(self) -> None:
        """All of it: libvirtd 9.0 ends with a fault where it finds a mistake in them (virDomainNumaDefParseXML)."""
        for index, cell in enumerate(self.cells):
            at = ("cells", index, "distances")
            if not cell.distances:
                continue
            if len(cell.distances) != len(self.cells):
                summary = f"{len(cell.distances)} distances are given, and there are {len(self.cells)} cells"
                raise _wrong("numa", summary, "give one for each cell, in their order", *at)
            for other, distance in enumerate(cell.distances):
                if (other == index) != (distance == LOCAL):
                    summary = f"the distance from cell {index} to cell {other} cannot be {distance}"
                    raise _wrong("numa", summary, "write 10 to itself, and 11 to 254 to others", *at, other)

    def _check_restrictive(self) -> None:
        modes: list[tuple[str, tuple[str | int, ...]]] = [
            (cell.mode or "strict", ("cells", index)) for index, cell in enumerate(self.cells) if cell.nodeset
        ]
        if self.nodeset is not None:
            modes.append((self.mode or "strict", ("nodeset",)))
        restrictive = [mode == "restrictive" for mode, _ in modes]
        if any(restrictive) and not all(restrictive):
            summary = "`restrictive` goes with no other mode"
            raise _wrong("numa", summary, "use it for all, or for none", *modes[restrictive.index(False)][1])


@dataclass(frozen=True, slots=True)
class GuestCell:
    """A NUMA cell with nothing implicit left. `memory` in bytes; `spec` is what the manifest says."""

    id: int
    cpus: frozenset[int]
    memory: int
    spec: NumaCell


def guest_cells(numa: Numa | None, cpus: Cpus, memory: Memory) -> tuple[GuestCell, ...]:
    """The NUMA cells that the guest sees. Memory that is plugged in needs one: then there is one if none is given."""
    specs = numa.cells if numa is not None else ()
    if not specs and memory.hotplug_max is not None:
        specs = (NumaCell(),)
    if not specs:
        return ()
    each = cpus.most // len(specs)
    return tuple(
        GuestCell(
            number,
            numbers_of(spec.cpus or f"{number * each}-{(number + 1) * each - 1}"),
            spec.memory or memory.most // len(specs),
            spec,
        )
        for number, spec in enumerate(specs)
    )


def check_cells(numa: Numa, cpus: Cpus, memory: Memory) -> None:
    """Refuse cells that do not hold just the vCPUs and the memory that the guest has.

    libvirt gives vCPUs that no cell has to cell 0, and counts the memory of the cells for the guest's.

    Raises:
        PydanticCustomError: `manifest.bad-numa`.
    """
    cells = numa.cells
    if not cells:
        return
    if cells[0].cpus is None and cpus.most % len(cells):
        summary = f"{cpus.most} vCPUs cannot be shared evenly among {len(cells)} cells"
        raise _wrong("numa", summary, "give each cell its `cpus`", "numa", "cells")
    if cells[0].memory is None and memory.most % (len(cells) * MIB):
        summary = f"{format_size(memory.most)} cannot be shared evenly among {len(cells)} cells"
        raise _wrong("numa", summary, "give each cell its `memory`", "numa", "cells")
    _check_cpus(cells, cpus.most)
    _check_memory(guest_cells(numa, cpus, memory), memory)


def _check_cpus(cells: Sequence[NumaCell], most: int) -> None:
    owner: dict[int, int] = {}
    for index, cell in enumerate(cells):
        for number in sorted(numbers_of(cell.cpus)) if cell.cpus else ():
            if number >= most:
                summary = f"there is no vCPU {number}: they are numbered from 0 to {most - 1}"
                raise _wrong("numa", summary, "leave it out", "numa", "cells", index, "cpus")
            if owner.setdefault(number, index) != index:
                summary = f"vCPU {number} is in cell {owner[number]} already"
                raise _wrong("numa", summary, "put it into one cell", "numa", "cells", index, "cpus")
    if missing := sorted(set(range(most)) - set(owner)) if owner else []:
        summary = f"no cell has vCPU {missing[0]}"
        raise _wrong("numa", summary, "put each vCPU into a cell", "numa", "cells")


def _check_memory(cells: Sequence[GuestCell], memory: Memory) -> None:
    for cell in cells:
        pages = cell.spec.pages or memory.pages
        key = next((key for key in ("memory", "pages") if getattr(cell.spec, key) is not None), "")
        at = ("numa", "cells", cell.id, *((key,) if key else ()))
        if cell.memory % MIB:
            raise _wrong("numa", "its memory is not a whole number of MiB", "write `4GiB`", *at)
        if cell.spec.pages is not None and cell.spec.pages not in PAGE_SIZES:
            raise _wrong("numa", "there are no pages of this size", "write `2MiB` or `1GiB`", *at)
        if cell.spec.pages is not None and memory.source == "anonymous":
            raise _wrong("numa", "huge pages are never anonymous memory", "leave `memory.source` out", *at)
        if pages is not None and cell.memory % pages:
            what, page = format_size(cell.memory), format_size(pages)
            summary = f"{what} are not a whole number of pages of {page}"
            raise _wrong("numa", summary, "choose a multiple, or smaller pages", *at)
    if (total := sum(cell.memory for cell in cells)) != memory.most:
        summary = f"the cells have {format_size(total)}, and the guest has {format_size(memory.most)}"
        hint = f"share out {format_size(memory.most)}, or give the guest what its cells have"
        raise _wrong("numa", summary, hint, "numa", "cells")
