"""Small changes of a manifest's text, by splice: a value set or taken out, and no other byte touched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.source import Mapping, Scalar, Sequence, places

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Sequence as List

    from kvmdecl.locate import Place
    from kvmdecl.source import Node, Source

    Path = List[str | int]

_ANCHOR = re.compile(r"&[^\s,\[\]{}]+\s+")
_DASH = re.compile(r"[ \t]*-[ \t]+")


@dataclass(frozen=True, slots=True, order=True)
class Splice:
    """Text for a range of characters of a file."""

    file: str
    start: int
    end: int
    text: str


def setting(place: Place, path: Path, value: str, *, longer_lists: bool = False) -> Splice | None:
    """Set what is at `path`, of which `place` is the nearest that is written, to a YAML value on one line.

    None if that cannot be done by one splice; if it is an item that its list does not have, unless it may get longer by
    one; or if a collection stands there, which may say more (`instead`).
    """
    missing = path[len(place.path) :]
    node = place.node
    if any(isinstance(part, int) for part in missing) and not longer_lists:
        return None
    if not missing:
        return instead(place, value) if isinstance(node, Scalar) else None
    first, inner = missing[0], list(missing[1:])
    if len(inner) == 1 and place.shape.child(first).shorthand == inner[0]:
        inner = []
    if any(isinstance(part, int) and part > 0 for part in inner):
        return None
    for part in reversed(inner):
        value = f"[{value}]" if isinstance(part, int) else f"{{{part}: {value}}}"
    if isinstance(first, int):
        return _appended(place, value) if first == _length(node) else None
    entry = f"{first}: {value}"
    if isinstance(node, Mapping):
        return _added(node, entry)
    if isinstance(node, Scalar) and node.is_null:
        return _replaced(node, f"{{{entry}}}") if node.text else _valued(place, f"{{{entry}}}")
    if isinstance(node, Scalar) and place.shape.shorthand not in {None, first}:
        return _replaced(node, f"{{{place.shape.shorthand}: {_written(node)}, {entry}}}")
    if isinstance(node, Scalar) and place.shape.shorthand == first:
        return _replaced(node, value)
    return None


def removal(parent: Place, name: str | int) -> Splice | None:
    """Take a key out of the mapping, or an item out of the list, that it is written in; None if it is not there."""
    node = parent.node
    if isinstance(node, Mapping) and isinstance(name, str) and name in node.entries:
        key, value = node.entries[name]
        start, end = places(key)
        if value.source is not key.source or places(value)[0] < start:  # an alias
            return None
        return _out(parent, key.source, start, max(end, places(value)[1]), count=len(node.entries))
    if isinstance(node, Sequence) and isinstance(name, int) and name < len(node.items):
        start, end = places(node.items[name])
        inside = places(node)[0] <= start and end <= places(node)[1]
        return _out(parent, node.source, start, end, count=len(node.items)) if inside else None
    return None


def applied(text: str, splices: Iterable[Splice]) -> str:
    """The text of a file with splices made; of two that overlap the later one in the file is left out."""
    pieces, at = [], 0
    for splice in sorted(set(splices)):
        if splice.start >= at:
            pieces += [text[at : splice.start], splice.text]
            at = splice.end
    return "".join([*pieces, text[at:]])


def instead(place: Place, value: str) -> Splice | None:
    """Another value in the place of one that is written; None if only an alias is written there."""
    start, end = places(place.node)
    text = place.node.source.text
    if place.key is not None and start < places(place.key)[0]:
        return None
    if start == end and place.key is not None:
        return _valued(place, value)
    if isinstance(place.node, Scalar) or _is_flow(place.node) or place.key is None:
        start += len(found.group()) if (found := _ANCHOR.match(text, start, end)) else 0
        return Splice(place.node.source.name, start, end, value)
    colon = text.find(":", places(place.key)[1])
    beside = text[colon + 1 : start].split("\n")[0].rstrip()  # a comment
    return Splice(place.node.source.name, colon + 1, end, f" {value}{beside}")


def word(node: Scalar, text: str) -> Splice | None:
    """Another word in the place of a key or value, in the quotes of that; None if it is not written as it reads."""
    start, end = places(node)
    written = node.source.text
    start += len(found.group()) if (found := _ANCHOR.match(written, start, end)) else 0
    for quote in ("", '"', "'"):
        if written[start:end] == f"{quote}{node.text}{quote}":
            return Splice(node.source.name, start, end, f"{quote}{text}{quote}")
    return None


def _replaced(node: Scalar, value: str) -> Splice:
    start, end = places(node)
    return Splice(node.source.name, start, end, value)


def _valued(place: Place, value: str) -> Splice | None:
    """A key with an empty value gets one."""
    if place.key is None:
        return None
    end = places(place.key)[1]
    colon = place.key.source.text.find(":", end)
    return Splice(place.key.source.name, colon + 1, colon + 1, f" {value}") if colon >= 0 else None


def _length(node: Node) -> int:
    if isinstance(node, Sequence):
        return len(node.items)
    return 0 if isinstance(node, Scalar) and node.is_null else -1


def _appended(place: Place, value: str) -> Splice | None:
    """An item after the last one of a list, written as that is."""
    node = place.node
    if not isinstance(node, Sequence):
        return _valued(place, f"[{value}]")
    if not node.items:
        return instead(place, f"[{value}]")
    end = places(node.items[-1])[1]
    if _is_flow(node):
        return Splice(node.source.name, end, end, f", {value}")
    text = node.source.text
    begin = text.rfind("\n", 0, places(node.items[-1])[0]) + 1
    dash = _DASH.match(text, begin)
    return _line_after(node.source, end, f"{dash.group()}{value}") if dash is not None else None


def _added(node: Mapping, entry: str) -> Splice | None:
    """An entry after the last one of a mapping, written as that is."""
    source = node.source
    here = [(key, value) for key, value in node.entries.values() if key.source is source]
    if not here:
        if not _is_flow(node):
            return None
        start = places(node)[0] + 1
        return Splice(source.name, start, start, entry)
    key, value = here[-1]
    start = places(key)[0]
    end = max(places(key)[1], places(value)[1] if value.source is source else 0)
    if _is_flow(node):
        return Splice(source.name, end, end, f", {entry}")
    text = source.text
    line = text.rfind("\n", 0, start) + 1
    indented = f"{' ' * (start - line)}{entry}"
    if isinstance(value, Scalar) and "+" in text[places(value)[0] : places(value)[1]].split("\n")[0][:3]:
        # Empty lines after such a text (`|+`) are a part of it.
        return Splice(source.name, line, line, indented + _line_end(source))
    return _line_after(source, end, indented)


def _line_after(source: Source, end: int, line: str) -> Splice:
    """A line after that in which something ends."""
    at = source.text.find("\n", end)
    if at < 0:
        return Splice(source.name, len(source.text), len(source.text), _line_end(source) + line)
    return Splice(source.name, at + 1, at + 1, line + _line_end(source))


def _out(parent: Place, source: Source, start: int, end: int, count: int) -> Splice | None:
    """Take out what is written from `start` to `end`, one of `count` in a collection."""
    node, text = parent.node, source.text
    if _is_flow(node):
        return Splice(source.name, start, end, "") if count < 2 else _out_of_flow(source, start, end)
    if count < 2:
        return (
            instead(parent, "[]" if isinstance(node, Sequence) else "{}") if parent.key is not None else None
        )
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    last = len(text) if last < 0 else last + 1
    sign = "-" if isinstance(node, Sequence) else ""
    alone = text[first:start].strip() == sign and not text[end:last].partition("#")[0].strip()
    return Splice(source.name, first, last, "") if alone else None


def _out_of_flow(source: Source, start: int, end: int) -> Splice:
    text = source.text
    after = len(text[end:]) - len(text[end:].lstrip())
    if text[end + after : end + after + 1] == ",":
        rest = text[end + after + 1 :]
        return Splice(source.name, start, len(text) - len(rest.lstrip(" ")), "")
    return Splice(source.name, text.rfind(",", 0, start), end, "")


def _is_flow(node: Node) -> bool:
    return not isinstance(node, Scalar) and node.source.text[places(node)[0] : places(node)[0] + 1] in {
        "{",
        "[",
    }


def _written(node: Scalar) -> str:
    start, end = places(node)
    return node.source.text[start:end]


def _line_end(source: Source) -> str:
    return "\r\n" if "\r\n" in source.text else "\n"
