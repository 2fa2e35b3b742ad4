"""What an edit changes in a file, as lines that were and lines that will be."""

from __future__ import annotations

import re
from difflib import SequenceMatcher, unified_diff
from itertools import takewhile
from typing import TYPE_CHECKING

from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STYLES = {"---": "1", "+++": "1", "-": "31", "+": "32", "@": "36"}
_UNENDED = "\\ No newline at end of file"


def render_edit(name: str, before: str, after: str, *, color: bool, around: int = 1) -> str:
    """The lines that differ, with some around them; empty if none do.

    Args:
        name: of the file.
        before: its text.
        after: its text with the edit.
        color: whether to use colours; blanks at the end of a line are marked then.
        around: how many lines to show before and after each change.
    """
    ends = "\r" in before + after and _kinds(before) != _kinds(after)
    lines = patch(_lines(before, ends=ends), _lines(after, ends=ends), name, around=around)
    return "\n".join(_shown(line, color=color) for line in lines)


def patch(
    before: Sequence[str], after: Sequence[str], name: str, *, around: int = 3, lineterm: str = ""
) -> Iterator[str]:
    """A unified diff of lines, as `difflib.unified_diff` makes it, which is slow where files are long.

    What is alike at both ends is not given to that, but for the lines `around`.
    """
    start, old, new = _differing(before, after, around)
    for line in unified_diff(old, new, name, name, n=around, lineterm=lineterm):
        yield _FIRST.sub(lambda m: f"{m[1]}{int(m[2]) + start}", line) if line.startswith("@@ ") else line


_FIRST = re.compile(r"([-+])(\d+)")


def _differing(
    before: Sequence[str], after: Sequence[str], around: int = 0
) -> tuple[int, Sequence[str], Sequence[str]]:
    """The lines from the first that differs to the last, with some `around`, and how many stand before those."""
    first = _count_alike(before, after)
    last = _count_alike(before[first:][::-1], after[first:][::-1])
    start, end = max(0, first - around), max(0, last - around)
    return start, before[start : len(before) - end], after[start : len(after) - end]


def _count_alike(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _kinds(text: str) -> set[bool]:
    return {line.endswith("\r") for line in text.split("\n")[:-1]}


def _lines(text: str, *, ends: bool) -> list[str]:
    """Lines, the last one marked if nothing ends it; with the carriage returns at their ends if these differ."""
    *lines, last = text.split("\n")
    if last:
        lines.append(f"{last}\n{_UNENDED}")
    return lines if ends else [line.removesuffix("\r") for line in lines]


def _shown(line: str, *, color: bool) -> str:
    text, _, unended = line.partition("\n")
    return "\n".join(_painted(safe_text(part), color=color) for part in (text, unended) if part)


def _painted(line: str, *, color: bool) -> str:
    style = _STYLES.get(line[:3], _STYLES.get(line[:1]))
    if not color or style is None:
        return line
    said = line.rstrip(" ")
    blanks = f"\x1b[7m{line[len(said) :]}" if len(said) < len(line) else ""
    return f"\x1b[{style}m{said}{blanks}\x1b[0m"


def lines_changed(before: str, after: str) -> int:
    """How many lines of a text an edit adds, removes or changes."""
    _, was, will_be = _differing(before.split("\n"), after.split("\n"))
    found = SequenceMatcher(None, was, will_be, autojunk=False).get_opcodes()
    return sum(
        max(old_end - old, new_end - new) for kind, old, old_end, new, new_end in found if kind != "equal"
    )
