"""Indentation that differs from that of the rest of its file becomes as the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from kvmdecl.layout.words import indent_of, said_column, spliced
from kvmdecl.yaml_events import Token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.layout.words import Edit, Lines, Page

_USUAL = 2
"""Columns by which a block is indented where as many say one thing as another."""
_NOWHERE = Token("", -1, -1)


@dataclass(slots=True, eq=False)
class _Block:
    """A mapping or list in block style.

    Attributes:
        kind: `map` or `seq`.
        above: what it stands in.
        way: how it is indented; None if nothing tells how it should be: the outermost, and after `?`.
        start: of its first word.
        column: in which its lines begin.
        offset: by how many columns it is indented.
        beside: it begins on the line of the `-` before it.
        implied: its items stand in the column of the key that they are below, which YAML does not count as a level.
        shift: by how many columns it moves to the right.
    """

    kind: str
    above: _Block | None
    way: str | None
    start: int
    column: int
    offset: int
    beside: bool = False
    implied: bool = False
    shift: int = 0


@dataclass(slots=True)
class _Outline:
    """The blocks in order, what each line with words begins and ends in, and the texts of several lines."""

    blocks: list[_Block] = field(default_factory=list)
    first: dict[int, _Block | None] = field(default_factory=dict)
    last: dict[int, _Block | None] = field(default_factory=dict)
    texts: list[Token] = field(default_factory=list)


def even_indents(page: Page) -> str:
    """The text with each kind of block indented as most of its kind are."""
    text, lines = page.text, page.lines
    outline = _Reader(page).outline
    votes: dict[str, Counter[int]] = {}
    for block in outline.blocks:
        if block.way is not None:
            votes.setdefault(block.way, Counter())[block.offset] += 1
    if all(len(counts) == 1 for counts in votes.values()):
        return text
    usual = {way: _usual(counts) for way, counts in votes.items()}
    for block in outline.blocks:
        wanted = usual[block.way] if block.way is not None else block.offset
        block.shift = (block.above.shift if block.above is not None else 0) + wanted - block.offset
    return spliced(text, _edits(text, lines, outline))


def _usual(counts: Counter[int]) -> int:
    return max(counts, key=lambda offset: (counts[offset], offset == _USUAL, -offset))


class _Reader:
    """Walks the words of a text once and notes which blocks there are."""

    def __init__(self, page: Page) -> None:
        self.text, self.lines = page.text, page.lines
        self.outline = _Outline()
        self._stack: list[_Block] = []
        self._sign = _NOWHERE
        flow = 0
        for token in page.words:
            flow += (token.kind in {"{", "["}) - (token.kind in {"}", "]"})
            if not flow:
                self._follow(token)
            if token.start < token.end:
                self._note(token)

    def _follow(self, token: Token) -> None:
        kind, stack = token.kind, self._stack
        if kind in {"block-map", "block-seq"}:
            self._open(token)
            return
        if stack and stack[-1].implied and kind in {"end", "key", "?", ":"}:
            stack.pop()
        if kind == "end":
            stack.pop()
        elif kind == "-" and stack[-1].kind == "map":
            above = stack[-1]
            self._push(_Block("seq", above, "seq in map", token.start, above.column, 0, implied=True))
        if kind in {"-", "?"} or (kind == ":" and self._begins_line(token)):
            self._sign = token

    def _open(self, token: Token) -> None:
        lines, sign = self.lines, self._sign
        above = self._stack[-1] if self._stack else None
        number = lines.of(token.start)
        column = token.start - lines.starts[number]
        beside = sign is not _NOWHERE and lines.of(sign.start) == number
        kind = token.kind.removeprefix("block-")
        way: str | None = f"{kind} in {above.kind}" if above is not None else None
        if beside:
            way = "after -" if sign.kind == "-" else None
        offset = column - above.column if above is not None else 0
        self._push(_Block(kind, above, way, token.start, column, offset, beside))

    def _push(self, block: _Block) -> None:
        self._stack.append(block)
        self.outline.blocks.append(block)

    def _note(self, token: Token) -> None:
        block = self._stack[-1] if self._stack else None
        number, end = self.lines.of(token.start), self.lines.of(token.end)
        self.outline.first.setdefault(number, block)
        if end > number:
            self.outline.texts.append(token)
            self.outline.first |= dict.fromkeys(range(number + 1, end + 1), block)
        self.outline.last[end] = block

    def _begins_line(self, token: Token) -> bool:
        return not self.text[self.lines.starts[self.lines.of(token.start)] : token.start].strip(" ")


def _edits(text: str, lines: Lines, outline: _Outline) -> Iterator[Edit]:
    for block in outline.blocks:
        if block.beside and block.above is not None:
            yield _moved(block.start, block.start, block.shift - block.above.shift)
    blanks = dict(_blanks(text, lines, outline))
    shifts = dict(_comments(text, lines, outline))
    shifts |= {number: block.shift for number, block in outline.first.items() if block is not None}
    for number, shift in shifts.items():
        start, end = lines.starts[number], lines.ends[number]
        indent = indent_of(text[start:end])
        if number in blanks:
            yield start, start + indent, " " * blanks[number]
        elif indent < end - start:
            yield _moved(start, start + indent, max(shift, -indent))


def _moved(start: int, end: int, shift: int) -> Edit:
    """Move what begins at `end`, where blanks begin at `start` or earlier."""
    return (end, end, " " * shift) if shift >= 0 else (end + shift, end, "")


def _blanks(text: str, lines: Lines, outline: _Outline) -> Iterator[tuple[int, int]]:
    """Lines of blanks in texts in block style: what is not indented further than the text may not come to be."""
    for token in outline.texts:
        if token.kind != "block":
            continue
        number = lines.of(token.start)
        block = outline.last[lines.of(token.end)]
        shift = block.shift if block is not None else 0
        column = said_column(text, token, block.column if block is not None else 0)
        for below in range(number + 1, lines.of(token.end) + 1):
            line = text[lines.starts[below] : lines.ends[below]]
            if not line.strip(" "):
                yield below, len(line) + shift if len(line) > column else min(len(line), column + shift)


def _comments(text: str, lines: Lines, outline: _Outline) -> Iterator[tuple[int, int]]:
    """Lines with nothing but a comment move with what they stand above, or else with what they stand in."""
    with_words = sorted(outline.first)
    for before, after in pairwise([-1, *with_words, len(lines)]):
        inner = outline.last.get(before)
        for number in range(before + 1, after):
            line = text[lines.starts[number] : lines.ends[number]]
            if not line.strip(" "):
                continue
            column = indent_of(line)
            if after < len(lines) and column == indent_of(text[lines.starts[after] : lines.ends[after]]):
                block = outline.first[after]
                yield number, block.shift if block is not None else 0
            else:
                yield number, _shift_in(inner, column)


def _shift_in(inner: _Block | None, column: int) -> int:
    """How a column inside of a block moves: no further to the right than the block's own text, or it became text."""
    block = inner
    while block is not None and block.column > column:
        block = block.above
    if inner is None or block is None:
        return 0
    return block.shift if block.column == column else min(block.shift, inner.shift)
