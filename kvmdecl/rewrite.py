"""One value of a manifest set or taken out in its text, where it is written, and no other byte touched."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.edit import applied, instead, removal, setting
from kvmdecl.load import written_place
from kvmdecl.source import Mapping, Source, parse, places
from kvmdecl.text import did_you_mean, quoted

if TYPE_CHECKING:
    from kvmdecl.edit import Splice
    from kvmdecl.locate import Place

_BEFORE = "{value: "


def rewritten(path: Path, key: str, value: str | None) -> dict[Path, str]:
    """The file of a manifest as it is with one value set; empty if it says so already.

    Args:
        path: of the manifest.
        key: of an entry as it is written, with dots: `vms.web.memory`, `vms.web.nics.0.model`.
        value: as YAML on one line; None takes the key out.

    Raises:
        Rejected: `set.no-place`, `set.bad-value`, or what keeps the manifest from being read.
    """
    way = tuple(int(part) if part.isdecimal() else part for part in key.split("."))
    if value is not None:
        _require_one_value(value)
    whole = written_place(path, way)
    place = whole if value is not None else written_place(path, way[:-1])
    splice = _splice(place, way, value)
    if splice is None:
        raise Rejected([_no_place(key, way, whole)])
    source = place.node.source if place.key is None or value is not None else place.key.source
    text = applied(source.text, [splice])
    return {} if text == source.text else {Path(source.name): text}


def _splice(place: Place, way: tuple[str | int, ...], value: str | None) -> Splice | None:
    if value is not None:
        return instead(place, value) if place.path == way else setting(place, way, value)
    return removal(place, str(way[-1])) if place.path == way[:-1] else None


def _require_one_value(value: str) -> None:
    """Refuse what is not one value of YAML from its first character to its last."""
    node = None
    if "\n" not in value and "\r" not in value and value.strip() == value and value:
        with suppress(Rejected):
            root, found = parse(Source("VALUE", f"{_BEFORE}{value}}}"))  # it may come to stand in braces
            node = root.get("value") if not found and len(root.entries) == 1 else None
    if node is None or places(node) != (len(_BEFORE), len(_BEFORE) + len(value)):
        raise Rejected(
            [
                Diagnostic(
                    "set.bad-value",
                    f"{quoted(value)} is not one value of YAML on one line",
                    cause="It is put into the file as it is.",
                    hint="write `8GiB`, `[lan, dmz]`, `{size: 20GiB}` or, for text with signs of YAML, `'a: b'`",
                )
            ]
        )


def _no_place(key: str, way: tuple[str | int, ...], nearest: Place) -> Diagnostic:
    depth = len(nearest.path)
    known = list(nearest.node.entries) if isinstance(nearest.node, Mapping) else []
    near = did_you_mean(str(way[depth]), known) if depth < len(way) else ""
    return Diagnostic(
        "set.no-place",
        f"{quoted(key)} cannot be changed in one place",
        nearest.span,
        "What is here is a list, has several lines, or is the only key of its block.",
        near or "edit the file here by hand",
    )
