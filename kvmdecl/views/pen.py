"""How lists, trees and tables are written: a head, and a text beside it that is wrapped there; columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

WIDTH = 80
_LONGEST_HEAD = 40


class Pen:
    """Writes, with colours or without."""

    def __init__(self, *, color: bool) -> None:
        self._color = color

    def told(self, head: str, text: str, style: str = "") -> Iterator[str]:
        """A text beside its head, or below a long one."""
        beside = len(head) <= _LONGEST_HEAD
        indent = " " * (len(head) if beside else 4)
        lines = textwrap.wrap(text, WIDTH - len(indent), break_on_hyphens=False) or [""]
        yield self.paint(head.rstrip(), style) + (head[len(head.rstrip()) :] + lines.pop(0) if beside else "")
        yield from (indent + line for line in lines)

    def paint(self, text: str, style: str) -> str:
        """A text in a colour, given as the numbers of an escape sequence; as it is if it is blank or has none."""
        return f"\x1b[{style}m{text}\x1b[0m" if self._color and style and text.strip() else text


def columns(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A line for each row, its cells below those of the others; all rows have as many."""
    table = [tuple(map(safe_text, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
