"""What is a slip in every style: blanks at ends of lines, line ends of two kinds, too many empty lines."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from kvmdecl.layout.words import Page, header

if TYPE_CHECKING:
    from kvmdecl.layout.words import Lines
    from kvmdecl.yaml_events import Token

_EMPTY_LINES = 2
"""How many empty lines in a row say something to somebody."""
_BREAKS = re.compile("\r\n|\n|\r")


def without_slips(page: Page) -> str:
    """The text with one kind of line ends, none missing at its end, and without blanks that nobody sees."""
    if (text := _one_line_end(page.text)) != page.text:
        page = Page(text)
    lines = page.lines
    inside = {number for token in page.words for number in _inner_lines(token, lines)}
    kept: list[str] = []
    empty = 0
    for number, (start, end, after) in enumerate(
        zip(lines.starts, lines.ends, [*lines.starts[1:], len(text)], strict=True)
    ):
        line = text[start:end] if number in inside else text[start:end].rstrip(" \t")
        empty = empty + 1 if not line and number not in inside else 0
        if empty <= (_EMPTY_LINES if kept else 0):
            kept.append(line + text[end:after])
    last = next(token for token in reversed(page.words) if token.end > token.start)
    return _ended("".join(kept), text, last)


def _inner_lines(token: Token, lines: Lines) -> range:
    """The lines of which the ends are a part of a text of several lines, or may be."""
    is_block = token.kind == "block"
    return range(lines.of(token.start) + is_block, lines.of(token.end) + is_block)


def _one_line_end(text: str) -> str:
    """With the kind of line end that most lines have."""
    kinds = Counter(_BREAKS.findall(text))
    if len(kinds) < 2:
        return text
    usual = max(kinds, key=lambda kind: (kinds[kind], kind == "\n"))
    return _BREAKS.sub(usual, text)


def _ended(result: str, text: str, last: Token) -> str:
    """With one line end after the last line, unless more or none of them are a part of what is said there."""
    if last.kind == "block":
        head = header(text, last)
        if "+" in head or (last.end == len(text) and "-" not in head):
            return result
    line_end = _BREAKS.search(text)
    return result.rstrip("\r\n") + (line_end.group() if line_end is not None else "\n")
