"""Small changes of a manifest's text, by splice: a value set or taken out, and no other byte touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.source import Mapping, Scalar, places

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmdecl.locate import Place
    from kvmdecl.source import Source

    Path = Sequence[str | int]


@dataclass(frozen=True, slots=True, order=True)
class Splice:
    """Text for a range of characters of a file."""

    file: str
    start: int
    end: int
    text: str


def setting(place: Place, path: Path, value: str) -> Splice | None:
    """Set what is at `path`, of which `place` is the nearest that is written, to a YAML value on one line.

    None if that cannot be done by one splice: something on the way is a list or has several lines; or if a collection
    stands there, which may say more (`instead`).
    """
    missing = path[len(place.path) :]
    node = place.node
    if not missing:
        return instead(place, value) if isinstance(node, Scalar) else None
    if any(isinstance(part, int) for part in missing):
        return None
    inner = missing[1:]
    if len(inner) == 1 and place.shape.child(missing[0]).shorthand == inner[0]:
        inner = ()
    for part in reversed(inner):
        value = f"{{{part}: {value}}}"
    entry = f"{missing[0]}: {value}"
    if isinstance(node, Mapping):
        return _added(node, entry)
    if isinstance(node, Scalar) and node.is_null:
        return _replaced(node, f"{{{entry}}}") if node.text else _valued(place, f"{{{entry}}}")
    if isinstance(node, Scalar) and place.shape.shorthand not in {None, missing[0]}:
        return _replaced(node, f"{{{place.shape.shorthand}: {_written(node)}, {entry}}}")
    if isinstance(node, Scalar) and place.shape.shorthand == missing[0]:
        return _replaced(node, value)
    return None


def removal(parent: Place, name: str) -> Splice | None:
    """Take a key out of the mapping that it is written in; None if it is not there, or the only line of a block."""
    node = parent.node
    if not isinstance(node, Mapping) or name not in node.entries:
        return None
    key, value = node.entries[name]
    start, end = places(key)[0], max(places(key)[1], places(value)[1])
    text = node.source.text
    if _is_flow(node):
        only = len(node.entries) == 1
        return Splice(node.source.name, start, end, "") if only else _out_of_flow(node, start, end)
    if len(node.entries) < 2:
        return None
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    last = len(text) if last < 0 else last + 1
    alone = not text[first:start].strip() and not text[end:last].partition("#")[0].strip()
    return Splice(node.source.name, first, last, "") if alone else None


def applied(text: str, splices: Iterable[Splice]) -> str:
    """The text of a file with splices made; of two that overlap the later one in the file is left out."""
    pieces, at = [], 0
    for splice in sorted(set(splices)):
        if splice.start >= at:
            pieces += [text[at : splice.start], splice.text]
            at = splice.end
    return "".join([*pieces, text[at:]])


def instead(place: Place, value: str) -> Splice | None:
    """Another value in the place of one that is written: of text, or of a collection on one line; None if on more."""
    start, end = places(place.node)
    if start == end and place.key is not None:
        return _valued(place, value)
    if not isinstance(place.node, Scalar) and "\n" in place.node.source.text[start:end]:
        return None
    return Splice(place.node.source.name, start, end, value)


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


def _added(node: Mapping, entry: str) -> Splice | None:
    """An entry after the last one of a mapping, written as that is."""
    source = node.source
    if _is_flow(node):
        end = places(node)[1] - 1
        return Splice(source.name, end, end, f", {entry}" if node.entries else entry)
    key, value = list(node.entries.values())[-1]
    if value.source is not source or key.source is not source:
        return None
    text, start = source.text, places(key)[0]
    indent = start - (text.rfind("\n", 0, start) + 1)
    # A last value of several lines may end anywhere, so the new line goes before the last key.
    line = text.rfind("\n", 0, start) + 1
    if text[line:start].strip():  # `- key: value`: there is no line before
        return None
    return Splice(source.name, line, line, f"{' ' * indent}{entry}{_line_end(source)}")


def _out_of_flow(node: Mapping, start: int, end: int) -> Splice:
    text = node.source.text
    after = len(text[end:]) - len(text[end:].lstrip())
    if text[end + after : end + after + 1] == ",":
        rest = text[end + after + 1 :]
        return Splice(node.source.name, start, len(text) - len(rest.lstrip(" ")), "")
    comma = text.rfind(",", 0, start)
    return Splice(node.source.name, comma, end, "")


def _is_flow(node: Mapping) -> bool:
    return node.source.text[places(node)[0] : places(node)[0] + 1] == "{"


def _written(node: Scalar) -> str:
    start, end = places(node)
    return node.source.text[start:end]


def _line_end(source: Source) -> str:
    return "\r\n" if "\r\n" in source.text else "\n"
