"""What makes text harmless in Markdown: in a code span a name can be no mention, link or HTML."""

from __future__ import annotations

import re

from kvmdecl.text import safe_text

_LONGEST = 160
_TICKS = re.compile("`+")


def code(text: str) -> str:
    """Text as a code span, shown as it is (CommonMark 0.31, section 6.1); GitHub links nothing inside of one."""
    shown = safe_text(text) or " "
    ticks = "`" * (longest_ticks(shown) + 1)
    space = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{space}{shown}{space}{ticks}"


def cell(text: str) -> str:
    """Markdown as a cell of a table, which a bar would end, also within code (GFM 0.29, section 4.10)."""
    return text.replace("|", "\\|")


def fenced(text: str) -> str:
    """Lines as a block of code that nothing in them can end."""
    fence = "`" * max(3, longest_ticks(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def longest_ticks(text: str) -> int:
    """How many backticks stand side by side at most."""
    return max(map(len, _TICKS.findall(text)), default=0)


def short(text: str) -> str:
    """The beginning of a long text, as long as it is shown."""
    shown = safe_text(text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."
