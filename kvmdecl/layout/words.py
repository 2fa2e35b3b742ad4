"""A text as its words and what stands between them."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from kvmdecl.yaml_events import Token, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    Edit = tuple[int, int, str]

LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line for libyaml, which reads YAML 1.1."""
_COMMENT = re.compile("#[^\n\r\x85\u2028\u2029]*")
_HEAD = re.compile("[|>][-+0-9]*")


class Lines:
    """Where the lines of a text begin and end."""

    def __init__(self, text: str) -> None:
        ends = [(found.start(), found.end()) for found in LINE_END.finditer(text)]
        self.starts = [0, *(end for _, end in ends)]
        self.ends = [*(start for start, _ in ends), len(text)]
        """Where the text of each line ends: before its line end."""

    def __len__(self) -> int:
        return len(self.starts)

    def of(self, at: int) -> int:
        """The number of the line, from 0, of an offset."""
        return bisect_right(self.starts, at) - 1


class Page:
    """A text with its words. A text in block style among them ends with its last line that says something."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = Lines(text)
        self.words = [token if token.kind != "block" else _block(text, token) for token in tokens(text)]

    def comments(self) -> list[str]:
        """All comments, in order, without blanks at their ends."""
        ends = [0, *(token.end for token in self.words)]
        starts = [*(token.start for token in self.words), len(self.text)]
        between = (self.text[end:start] for end, start in zip(ends, starts, strict=True))
        return [found.rstrip() for blanks in between if "#" in blanks for found in _COMMENT.findall(blanks)]


def header(text: str, token: Token) -> str:
    """What a text in block style begins with: `|`, `>-` or `|2+`."""
    found = _HEAD.match(text, token.start)
    return found.group() if found is not None else ""


def _block(text: str, token: Token) -> Token:
    """Without the empty lines after it that libyaml takes along: they are a part of it with `+` alone."""
    said = text[token.start : token.end]
    lines = Lines(said)
    body = [said[start:end] for start, end in zip(lines.starts, lines.ends, strict=True)]
    last = len(body) - 1
    if "+" in header(text, token):
        last -= not body[last]  # it ends where the next line begins
        return Token("block", token.start, token.start + lines.ends[last])
    column = 0 if re.search("[0-9]", header(text, token)) else _least_indent(body)
    while last and not body[last].strip(" ") and len(body[last]) <= column:  # more blanks than that are text
        last -= 1
    return Token("block", token.start, token.start + lines.ends[last])


def said_column(text: str, token: Token, outer: int) -> int:
    """The column in which a text in block style begins, where `outer` is that of the block that it stands in."""
    if number := re.search("[0-9]", header(text, token)):
        return outer + int(number.group())
    return _least_indent(LINE_END.split(text[token.start : token.end]))


def _least_indent(body: list[str]) -> int:
    return min((indent_of(line) for line in body[1:] if line.strip(" ")), default=0)


def indent_of(line: str) -> int:
    """How many spaces a line begins with."""
    return len(line) - len(line.lstrip(" "))


def spliced(text: str, edits: Iterable[Edit]) -> str:
    """The text with other characters in some places, which do not overlap."""
    pieces: list[str] = []
    at = 0
    for start, end, new in sorted(edits):
        pieces += [text[at:start], new]
        at = end
    return "".join([*pieces, text[at:]])
