"""Blanks between the words of a line become as wide as they are elsewhere in the file; columns stay columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from kvmdecl.layout.words import spliced
from kvmdecl.text import width
from kvmdecl.yaml_events import Token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.layout.words import Edit, Page

_USUAL = {":": 1, "{:": 1, ",": 1, "-": 1, "name": 1, "comment": 1}
"""How wide a gap is where as many of its kind say one thing as another; all others are nothing."""
_NAMES = frozenset({"alias", "anchor", "tag"})
_OPENERS = frozenset({"{", "["})
_CLOSERS = frozenset({"}", "]"})
_NEAR = 4
"""How many lines further something may stand below something else; one in between may be too long for its column."""
_FAR = 4
"""A comment that is further than that from the words before it was put where it is."""


@dataclass(slots=True, eq=False)
class _Gap:
    """Blanks, or none, before a word of a line or its comment.

    Attributes:
        kind: what it stands between; those of one kind should be as wide.
        owner: the block in which it can line something up; 0 if that can be whatever stands above or below.
        line: its number.
        start: where it begins.
        end: where it ends.
        column: of what comes after it, in cells of a terminal.
        movable: whether there is a word before it and one after it on its line.
        tab: it has a tab, which is as wide as somebody's editor says.
        lined_up: what comes after it stands below, or above, something of its kind.
    """

    kind: str
    owner: int
    line: int
    start: int
    end: int
    column: int
    movable: bool
    tab: bool
    lined_up: bool = False

    @property
    def width(self) -> int:
        return self.end - self.start


def even_gaps(page: Page) -> str:
    """The text with each kind of gap as wide as most of its kind are, but for those that line something up."""
    gaps = list(_Reader(page).gaps())
    _find_columns(gaps)
    votes: dict[str, Counter[int]] = {}
    for gap in gaps:
        if gap.movable and not gap.lined_up and not gap.tab:
            votes.setdefault(gap.kind, Counter())[gap.width] += 1
    usual = {gap.kind: _usual(gap.kind, votes.get(gap.kind, Counter())) for gap in gaps}
    return spliced(page.text, _edits(gaps, usual))


def _usual(kind: str, counts: Counter[int]) -> int:
    usual = _USUAL.get(kind, 0)
    most = max(counts, key=lambda width: (counts[width], width == usual, -width), default=usual)
    return most if kind == "," else max(most, usual)  # without a blank the others would be another word


def _edits(gaps: list[_Gap], usual: dict[str, int]) -> Iterator[Edit]:
    for _, of_line in groupby((gap for gap in gaps if gap.movable), key=lambda gap: gap.line):
        moved = 0
        for gap in of_line:
            wanted = usual[gap.kind]
            if gap.lined_up:  # it stays in its column as long as there is room
                wanted = max(_USUAL.get(gap.kind, 0), gap.width - moved)
            moved += wanted - gap.width
            if wanted != gap.width or gap.tab:
                yield gap.start, gap.end, " " * wanted


def _find_columns(gaps: list[_Gap]) -> None:
    rows: dict[tuple[str, int], dict[int, list[_Gap]]] = {}
    for gap in gaps:
        gap.lined_up = gap.kind == "comment" and gap.width > _FAR and not gap.tab
        if not gap.tab:
            rows.setdefault((gap.kind, gap.owner), {}).setdefault(gap.line, []).append(gap)
    for by_line in rows.values():
        near = list(by_line.values())
        if all(gap.width < 2 for row in near for gap in row):
            continue
        for number, row in enumerate(near):
            for below in near[number + 1 : number + 1 + _NEAR]:
                _line_up(row, below)


def _line_up(row: list[_Gap], below: list[_Gap]) -> None:
    columns = {gap.column: gap for gap in row}
    for gap in below:
        other = columns.get(gap.column)
        if other is not None and max(gap.width, other.width) > 1:
            gap.lined_up = other.lined_up = True


class _Reader:
    """Finds the gaps of a text."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._text = page.text
        self._lines = page.lines
        self._blocks: list[int] = []
        self._flow: list[str] = []
        self._count = 0

    def gaps(self) -> Iterator[_Gap]:
        """All of them, in order."""
        before = Token("", 0, 0)
        opened = False
        key, home = "", 0
        for token in self._page.words:
            if token.start == token.end:
                opened |= self._nest(token)
                continue
            if token.kind in _CLOSERS:
                self._flow.pop()
            if self._lines.of(before.end) != self._lines.of(token.start):
                if before.kind == ":" and not self._flow:
                    yield self._ending(before.end, home)
                yield from self._comments(before.end, token.start)
            elif not opened and before.kind and (kind := self._kind(key, before, token)):
                yield self._gap(kind, home if ":" in kind else 0, before.end, token.start)
            if token.kind in _OPENERS:
                self._flow.append(token.kind)
            key, before, opened = before.kind, token, False
            home = self._blocks[-1] if self._blocks and not self._flow else 0
        yield from self._comments(before.end, len(self._text))

    def _nest(self, token: Token) -> bool:
        """Whether a block begins here: how far its first word is from the sign before it is its indentation."""
        if token.kind == "end":
            self._blocks.pop()
        elif token.kind != "key":
            self._count += 1
            self._blocks.append(self._count)
            return True
        return False

    def _kind(self, key: str, before: Token, after: Token) -> str | None:
        """What is between two words; None if that is nobody's to change.

        Args:
            key: the kind of the word before both.
            before: the one before the gap.
            after: the one after it.
        """
        kinds = before.kind, after.kind
        if after.kind in {",", ":"} or after.kind in _CLOSERS:
            if before.kind in _NAMES or before.kind in {":", ",", "?"}:  # it might become a part of the name
                return None
            if before.kind in _OPENERS:
                return "".join(kinds) if after.kind in _CLOSERS else None
            return {"}": "{", "]": "["}.get(after.kind, f"before {after.kind}")
        if before.kind == ":":
            if not self._flow:
                return ":" if key and key != ":" else None
            return "{:" if key == "plain" else None
        if before.kind in {"anchor", "tag"}:
            return "name"
        return before.kind if before.kind in {"{", "[", ",", "-"} else None

    def _comments(self, start: int, end: int) -> Iterator[_Gap]:
        lines, text = self._lines, self._text
        for number in range(lines.of(start), lines.of(end) + 1):
            begin, stop = max(start, lines.starts[number]), min(end, lines.ends[number])
            blanks = len(text[begin:stop]) - len(text[begin:stop].lstrip(" \t"))
            if text[begin + blanks : begin + blanks + 1] == "#" and begin + blanks < stop:
                yield self._gap("comment", 0, begin, begin + blanks)

    def _ending(self, end: int, owner: int) -> _Gap:
        """After a key with its value below it: the others may stand in the column where it would have one."""
        number = self._lines.of(end)
        column = width(self._text[self._lines.starts[number] : end]) + 1
        return _Gap(":", owner, number, end, end, column, movable=False, tab=False)

    def _gap(self, kind: str, owner: int, start: int, end: int) -> _Gap:
        number = self._lines.of(start)
        begin = self._lines.starts[number]
        blanks = self._text[start:end]
        column = width(self._text[begin:end])
        return _Gap(
            kind, owner, number, start, end, column, bool(self._text[begin:start].strip()), "\t" in blanks
        )
