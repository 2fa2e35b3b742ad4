"""A manifest with one entry of a section and none of its others: what a change of that entry is tried on first.

However many vms there are, reading it takes no time. Where the others are needed to read it (an anchor of theirs, a
reference) it is no manifest, and who tries finds that out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.source import Mapping, places

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping as Map


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The files of a manifest with one entry alone.

    Attributes:
        file: that says the entry.
        texts: of all files that had others.
        lead, trail: what is around the entry in its file's excerpt; `head`, `tail`: what is around it in the file.
    """

    file: Path
    texts: Map[Path, str]
    lead: str = ""
    trail: str = ""
    head: str = ""
    tail: str = ""

    def whole(self, text: str) -> str:
        """The text of the file, with the entry as it is in that text of its excerpt."""
        return self.head + text[len(self.lead) : len(text) - len(self.trail)] + self.tail


def excerpt(roots: Iterable[Mapping], section: str, file: Path, name: str) -> Excerpt:
    """Cut all others out of a section; `name` is the entry's key in `file`."""
    found = Excerpt(file, {})
    texts: dict[Path, str] = {}
    for root in roots:
        key, entries = root.entries.get(section, (None, None))
        if key is None or not isinstance(entries, Mapping) or entries.source is not root.source:
            continue
        path, text = Path(root.source.name), root.source.text
        start, end = places(entries)
        is_flow = text[start : start + 1] == "{"
        before, after = (start, end) if is_flow else (_line(text, start), _line_end(text, end))
        if path != file or name not in entries.entries:
            texts[path] = f"{text[: places(key)[1]]}: {{}}\n{text[after:]}"
            continue
        own_key, own = entries.entries[name]
        first, last = places(own_key)[0], max(places(own_key)[1], places(own)[1])
        if not is_flow:
            first, last = _line(text, first), _line_end(text, last)
        lead, trail = (text[:before] + "{", "}" + text[after:]) if is_flow else (text[:before], text[after:])
        texts[path] = lead + text[first:last] + trail
        found = Excerpt(file, texts, lead, trail, text[:first], text[last:])
    return found


def _line(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _line_end(text: str, at: int) -> int:
    if text[at - 1 : at] == "\n":
        return at
    return text.find("\n", at) + 1 or len(text)
