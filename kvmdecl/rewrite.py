"""One value of a manifest set or taken out in its text, where it is written, and no other byte touched."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.edit import applied, instead, removal, setting
from kvmdecl.expand import NAMED_SECTIONS
from kvmdecl.layout.words import Page
from kvmdecl.load import written
from kvmdecl.locate import nearest
from kvmdecl.source import Mapping, Scalar, Sequence, Source, parse, places
from kvmdecl.text import did_you_mean, is_member, listed, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.edit import Splice
    from kvmdecl.locate import Place
    from kvmdecl.source import Node

    Way = tuple[str | int, ...]

_BEFORE = "{value: "
_PART = re.compile(r"""\.?(?:"([^"]+)"|'([^']+)'|\[(\d+)\]|([^.\[\]"']+))""")
_SECTIONS = frozenset({*NAMED_SECTIONS, "profiles"})


def rewritten(path: Path, key: str, value: str | None) -> dict[Path, str]:
    """The file of a manifest as it is with one value set; empty if it says so already.

    Args:
        path: of the manifest.
        key: of an entry as it is written, with dots: `vms.web.memory`, `vms.web.nics.0.model`; one more than a list has
            items adds one. A name that holds dots may stand in quotes.
        value: as YAML on one line; None takes the key, or the item, out.

    Raises:
        Rejected: `set.no-place`, `set.unknown-entry`, `set.bad-value`, or what keeps the manifest from being read.
    """
    value = value if value is None else _one_value(value)
    root = written(path)
    way = _way(root, key)
    _require_entry(root, way, key)
    place = nearest(root.node, root.shape, way if value is not None else way[:-1])
    splice = _splice(place, way, value)
    if splice is None:
        raise Rejected([_no_place(root, way, value)])
    source = next(each.source for each in (place.node, place.key) if each and each.source.name == splice.file)
    text = applied(source.text, [splice])
    if text != source.text:
        _require_no_other_change(source, text, _touched(place, way, value), place)
        if value is not None:
            _require_comments(source, text, place)
    return {Path(source.name): text} if text != source.text else {}


def _way(root: Place, key: str) -> Way:
    """The parts of a key; names in the manifest may hold dots."""
    parts = _parts(key)
    way: list[str | int] = []
    node: Node | None = root.node
    while parts:
        if isinstance(node, Mapping):
            size = next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in node.entries), 1)
            way.append(".".join(parts[:size]))
            node, parts = node.get(str(way[-1])), parts[size:]
            continue
        part = parts.pop(0)
        way.append(int(part) if part.isdecimal() and not (isinstance(node, Scalar) and node.text) else part)
        items = node.items if isinstance(node, Sequence) else []
        node = items[int(part)] if part.isdecimal() and int(part) < len(items) else None
    return tuple(way)


def _parts(key: str) -> list[str]:
    parts, at = [], 0
    while at < len(key):
        found = _PART.match(key, at)
        if found is None:
            summary = f"{quoted(key)} is no key of a manifest"
            hint = "write the names on the way to it with dots between them: `vms.web.nics.0.model`"
            raise Rejected([Diagnostic("set.no-place", summary, hint=hint)])
        parts.append(next(group for group in found.groups() if group is not None))
        at = found.end()
    return parts


def _require_entry(root: Place, way: Way, key: str) -> None:
    """A value of an entry that is not there is a slip: it would begin a vm that says one thing."""
    section = root.child(way[0]) if way else None
    if section is None or way[0] not in _SECTIONS or len(way) < 3 or not isinstance(section.node, Mapping):
        return
    name, known = str(way[1]), list(section.node.entries)
    if name in known:
        return
    at = section.key.span if section.key is not None else section.span
    family = next((each for each in known if is_member(name, each)), None)
    if family is not None:
        cause = f"It comes of the entry {quoted(family)}, and what that says is said of all of its members."
        hint = f"name the entry: {quoted(key.replace(name, family, 1))}"
    else:
        cause = f"Entries of {quoted(str(way[0]))} are {listed([quoted(each) for each in known])}."
        hint = (
            did_you_mean(name, known)
            or f"to begin one, give all of it: `kvmdecl set {way[0]}.{name} '{{...}}'`"
        )
    raise Rejected([Diagnostic("set.unknown-entry", f"there is no entry {quoted(name)}", at, cause, hint)])


def _splice(place: Place, way: Way, value: str | None) -> Splice | None:
    if value is not None:
        return instead(place, value) if place.path == way else setting(place, way, value, longer_lists=True)
    return removal(place, way[-1]) if place.path == way[:-1] else None


def _one_value(value: str) -> str:
    """What can stand anywhere as one value of YAML; text that cannot do so in braces gets quotes.

    Raises:
        Rejected: `set.bad-value`.
    """
    for before, after, shown in (
        (_BEFORE, "}", value),
        ("value: ", "", json.dumps(value, ensure_ascii=False)),
    ):
        with suppress(Rejected):
            root, found = parse(Source("VALUE", f"{before}{value}{after}"))
            node = root.get("value")
            whole = node is not None and places(node) == (len(before), len(before) + len(value))
            if (
                whole
                and not found
                and len(root.entries) == 1
                and "\n" not in value
                and "\r" not in value
                and value
            ):
                return shown
    hint = "write `8GiB`, `[lan, dmz]`, `{size: 20GiB}`"
    if value.isprintable():
        as_text = json.dumps(value, ensure_ascii=False).replace("'", "'\\''")
        hint = f"text with signs of YAML takes its quotes, and these the shell's: '{as_text}'"
    cause = "It comes to stand behind `KEY: ` as it is."
    summary = f"{quoted(value)} is not one value of YAML on one line"
    raise Rejected([Diagnostic("set.bad-value", summary, cause=cause, hint=hint)])


def _touched(place: Place, way: Way, value: str | None) -> Way:
    """What may say something else afterwards: items of a list move up, a short form becomes a long one."""
    is_list = isinstance(place.node, Sequence)
    if isinstance(place.node, Scalar) or (is_list and value is None):
        return place.path
    return way[: len(place.path) + 1]


def _require_no_other_change(source: Source, text: str, touched: Way, place: Place) -> None:
    before, after = (dict(_leaves(parse(Source(source.name, each))[0])) for each in (source.text, text))
    other = [
        path
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path) and path[: len(touched)] != touched and path != place.path
    ]
    if other:
        cause = f"It would change {_key(min(other, key=len))}, too, which repeats it by an alias."
        raise Rejected([_refused("this cannot be changed alone", place, cause)])


def _require_comments(source: Source, text: str, place: Place) -> None:
    if Counter(Page(source.text).comments()) - Counter(Page(text).comments()):
        cause = "There are comments in what the new value would take the place of."
        hint = "change one of the values in it, or edit the file here by hand"
        raise Rejected([_refused("this cannot be replaced without losing comments", place, cause, hint)])


def _leaves(node: Node, path: Way = ()) -> Iterator[tuple[Way, str | None]]:
    """All single values, and what is empty, with the way to each."""
    if isinstance(node, Scalar):
        yield path, None if node.is_null else node.text
        return
    inner = node.entries.items() if isinstance(node, Mapping) else enumerate(node.items)
    empty = True
    for part, below in inner:
        empty = False
        yield from _leaves(below[1] if isinstance(below, tuple) else below, (*path, part))
    if empty:
        yield path, "{}" if isinstance(node, Mapping) else "[]"


def _no_place(root: Place, way: Way, value: str | None) -> Diagnostic:
    place = nearest(root.node, root.shape, way)
    node, depth = place.node, len(place.path)
    if depth == len(way) and place.key is not None and places(node)[0] < places(place.key)[0]:
        cause = f"It is an alias of what stands at {node.span}."
        hint = "change that, for all that repeat it, or write another value here by hand"
        return _refused(f"{_key(way)} only repeats something", place, cause, hint)
    if value is None and depth < len(way):
        return _not_written(root, way, place)
    if depth < len(way) and isinstance(node, Sequence):
        hint = f"{_key((*place.path, len(node.items)))} adds one"
        return _refused(
            f"there is no item {_key(way[: depth + 1])}",
            place,
            f"The list has {len(node.items)}, counted from 0.",
            hint,
        )
    return _refused(
        f"{_key(way)} cannot be changed in one place",
        place,
        "What is here is written over several lines, or is a single value.",
    )


def _not_written(root: Place, way: Way, place: Place) -> Diagnostic:
    summary = f"{_key(way)} is not written in the manifest"
    known = list(place.node.entries) if isinstance(place.node, Mapping) else []
    near = did_you_mean(str(way[len(place.path)]), known)
    if lender := _lender(root, way):
        cause = f"{_key(lender)} says it, for all that it is lent to."
        return _refused(summary, place, cause, near or f"unset that, or set {_key(way)} to something else")
    return _refused(
        summary, place, "What is not written is as its default.", near or "there is nothing to take out"
    )


def _lender(root: Place, way: Way, depth: int = 8) -> Way | None:
    """The key of a profile, or of the defaults, that says something of an entry."""
    entry = nearest(root.node, root.shape, way[:2])
    if len(way) < 3 or entry.path != way[:2]:
        return None
    for name in _profiles(entry) if depth else ():
        lent: Way = ("profiles", name, *way[2:])
        if nearest(root.node, root.shape, lent).path == lent:
            return lent
        if deeper := _lender(root, lent, depth - 1):
            return deeper
    usual: Way = ("defaults", way[0], *way[2:])
    return usual if nearest(root.node, root.shape, usual).path == usual else None


def _profiles(entry: Place) -> list[str]:
    """What an entry or a profile begins as, the last one first, which wins."""
    node = next((chosen.node for key in ("profile", "extends") if (chosen := entry.child(key))), None)
    items = node.items if isinstance(node, Sequence) else [node]
    return [item.text for item in reversed(items) if isinstance(item, Scalar)]


def _key(way: Way) -> str:
    return quoted(".".join(map(str, way)))


def _refused(summary: str, place: Place, cause: str, hint: str = "edit the file here by hand") -> Diagnostic:
    return Diagnostic("set.no-place", summary, place.span, cause, hint)
