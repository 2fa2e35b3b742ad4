"""Lines -> a manifest's text, at the end of a section, without another byte being changed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.source import Mapping, Node, Scalar, Sequence, Source, parse, places, to_data

if TYPE_CHECKING:
    from collections.abc import Iterable

_END = re.compile(r"^(?:\.\.\.|---)", re.MULTILINE)


def splice(name: str, text: str, section: str, lines: Iterable[str]) -> str:
    """Add entries to a section of one manifest file; the section is begun if there is none.

    Args:
        name: of the file, for messages.
        text: of the file.
        section: a top-level key.
        lines: of the entries, without indentation of their own.

    Raises:
        Rejected: `adopt.no-room` where the section is not written in block style, or the file is no manifest.
    """
    root, _ = parse(Source(name, text))
    found = root.entries.get(section)
    start, _ = places(root)
    if text[start] == "{" or (found is None and _END.search(text)):
        raise Rejected([_no_room(root, section)])
    if found is None:
        return _insert(text, len(text), [f"{section}:", *_indented(lines, 2)], apart=True)
    key, value = found
    if isinstance(value, Scalar) and value.is_null and not value.text:
        return _insert(text, _line_end(text, places(key)[1]), _indented(lines, 2))
    begin, _ = places(value)
    if not isinstance(value, Mapping) or text[begin] == "{" or begin <= places(key)[0] or not value.entries:
        raise Rejected([_no_room(key, section)])
    indent = begin - text.rfind("\n", 0, begin) - 1
    added = _insert(text, _line_end(text, _last(value)), _indented(lines, indent))
    if not _says_the_same(root, parse(Source(name, added))[0], section):
        raise Rejected(
            [_no_room(key, section)]
        )  # a text at the end of the section keeps the empty lines after it
    return added


def _says_the_same(before: Mapping, after: Mapping, section: str) -> bool:
    """Whether everything that was said is still said."""
    then, now = to_data(before), to_data(after)
    if not (isinstance(then, dict) and isinstance(now, dict)):
        return False
    old, new = then.pop(section), now.pop(section)
    return (
        then == now
        and isinstance(old, dict)
        and isinstance(new, dict)
        and all(new.get(name) == entry for name, entry in old.items())
    )


def _last(node: Node) -> int:
    """Where the last text of a node ends."""
    start, end = places(node)
    if isinstance(node, Scalar) or node.source.text[start] in "[{":
        return end
    below = node.items if isinstance(node, Sequence) else [value for _, value in node.entries.values()]
    keys = [] if isinstance(node, Sequence) else [places(key)[1] for key, _ in node.entries.values()]
    return max([*keys, *map(_last, below)], default=end)


def _indented(lines: Iterable[str], indent: int) -> list[str]:
    return [f"{' ' * indent}{line}" if line else "" for line in lines]


def _line_end(text: str, offset: int) -> int:
    """The beginning of the line after an offset; the offset itself where a line begins."""
    if offset and text[offset - 1] == "\n":
        return offset
    end = text.find("\n", offset)
    return len(text) if end < 0 else end + 1


def _insert(text: str, at: int, lines: list[str], *, apart: bool = False) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    before, after = text[:at], text[at:]
    if before and not before.endswith("\n"):
        before += newline
    gap = newline if apart and before.strip() else ""
    return before + gap + "".join(line + newline for line in lines) + after


def _no_room(node: Node, section: str) -> Diagnostic:
    return Diagnostic(
        "adopt.no-room",
        f"there is no place for entries of `{section}` in this file",
        node.span,
        "Entries are added without changing anything else, and that takes a section in block style.",
        f"write `{section}:` on a line of its own, with its entries indented below it",
    )
