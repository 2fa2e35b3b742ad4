"""Numbers that a host's kernel goes by, each by its name: huge pages by size and cell (`2MiB.0`), and those of KSM."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.facts import Cell

HUGE_PAGES = "huge-pages"
KSM = "ksm"
KSM_NUMBERS = ("merge_across_nodes", "pages_to_scan", "sleep_millisecs")
"""What libvirt can set of KSM (virNodeSetMemoryParameters, with `shm_` before each); not whether it runs."""
KSM_COUNTERS = ("full_scans", "pages_shared")
"""What is read of it besides (virNodeGetMemoryParameters)."""


# As `names.format_size` writes them; that imports pydantic, which reading a host does not need.
_UNITS = {"GiB": 1024**3, "MiB": 1024**2, "KiB": 1024}


def page_name(size: int, cell: int) -> str:
    """The name of a number of huge pages: size in bytes, a power of two, and id of the cell."""
    unit = next(unit for unit, bytes_ in _UNITS.items() if size >= bytes_)
    return f"{size // _UNITS[unit]}{unit}.{cell}"


def split_page_name(name: str) -> tuple[int, int]:
    """Size in bytes, and id of the cell. Raises ValueError or KeyError for another name."""
    size, _, cell = name.rpartition(".")
    return int(size[:-3]) * _UNITS[size[-3:]], int(cell)


def huge_pages(cells: Iterable[Cell]) -> dict[str, int]:
    """How many huge pages each cell has, by their names. The smallest pages of a cell are its ordinary memory."""
    return {
        page_name(pool.size, cell.id): pool.count
        for cell in cells
        for pool in sorted(cell.pages, key=lambda pool: pool.size)[1:]
    }


def shares(wanted: Iterable[tuple[int, int | None, int]], cells: Iterable[Cell]) -> dict[str, int]:
    """What `ResolvedHost.huge_pages` comes to for each cell of a host.

    Pages for all cells together are divided evenly among the cells that have such pages and memory; what is left over
    goes to the first of them.
    """
    counts: dict[str, int] = {}
    there = list(cells)
    for size, cell, count in wanted:
        able = [c.id for c in there if c.memory and any(pool.size == size for pool in c.pages)]
        if cell is not None:
            counts[page_name(size, cell)] = count
            continue
        for number, of in enumerate(able):
            counts[page_name(size, of)] = count // len(able) + (number < count % len(able))
    return counts


def note_of(values: Mapping[str, int]) -> str:
    """Numbers as a ledger keeps them."""
    return " ".join(f"{name}={number}" for name, number in sorted(values.items()))


def read_note(text: str) -> dict[str, int]:
    """Numbers from a ledger; what makes no sense is left out."""
    pairs = (part.partition("=") for part in text.split())
    return {name: int(number) for name, _, number in pairs if number.isascii() and number.isdecimal()}
