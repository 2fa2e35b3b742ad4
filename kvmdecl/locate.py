"""pydantic's findings -> diagnostics with the place that a reader of the file would point at.

pydantic names a place by its own path, which holds parts that no file has (the tag of a union, the key that a
short form stands for). The path is walked through the tree and such parts are dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from kvmdecl import renamed
from kvmdecl.diagnostics import Diagnostic, Span
from kvmdecl.expand import entry_keys
from kvmdecl.source import Mapping, Node, Scalar, Sequence
from kvmdecl.text import closest, did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

    from kvmdecl.renamed import Renamed
    from kvmdecl.shape import Shape

_LATER_VERSION = re.compile(r"kvmdecl/v([2-9]|[1-9][0-9]{1,5})")
_NEEDS_QUOTES = re.compile(r"[^\w./ +-]|^[-]| $", re.ASCII)
_PLACEHOLDER = re.compile(r"\{[a-z]")


@dataclass(frozen=True, slots=True)
class Place:
    """The nearest place of the tree to a path: a value, the key it stands at, and its shape in the models."""

    node: Node
    key: Scalar | None
    shape: Shape
    path: tuple[str | int, ...] = ()

    @property
    def span(self) -> Span:
        """The value if it can be underlined; its key if it is empty or runs over several lines."""
        if isinstance(self.node, Scalar) and (self.node.text or not self.node.plain):
            return self.node.span
        span = self.node.span
        if isinstance(self.node, Scalar) or span.line != span.end_line:
            return self.key.span if self.key is not None else _first_line(self.node)
        return span

    def child(self, part: str | int) -> Place | None:
        """One step down; None if the document has nothing there."""
        if isinstance(self.node, Mapping) and isinstance(part, str) and part in self.node.entries:
            key, node = self.node.entries[part]
            return Place(node, key, self.shape.child(part), (*self.path, part))
        if isinstance(self.node, Sequence) and isinstance(part, int) and 0 <= part < len(self.node.items):
            return Place(self.node.items[part], None, self.shape.child(part), (*self.path, part))
        return None


def nearest(root: Node, shape: Shape, path: Iterable[str | int]) -> Place:
    """Follow `path` as far as the document goes; parts that it does not have are dropped."""
    place = Place(root, None, shape)
    for part in path:
        if below := place.child(part):
            place = below
        elif part == place.shape.shorthand:
            place = replace(place, shape=place.shape.child(part))
    return place


def diagnose(
    errors: Iterable[ErrorDetails],
    root: Node,
    shape: Shape,
    prefix: tuple[str | int, ...] = (),
    more_keys: Iterable[str] = (),
    version: str = "",
) -> list[Diagnostic]:
    """Translate errors, one finding for one cause.

    Args:
        errors: of one validation.
        root: the tree whose data was validated.
        shape: of `root`.
        prefix: where in `root` the validated part begins.
        more_keys: keys that the top level takes beside those of its model.
        version: of the format, as the manifest tells it.
    """
    findings: dict[object, _Finding] = {}
    for error in errors:
        finding = _Finding(error, root, shape, (*prefix, *error["loc"]), version)
        findings.setdefault(finding.identity, finding)
    meant = {hit for finding in findings.values() if (hit := finding.misspelt_key(more_keys))}
    return [
        finding.diagnostic(more_keys) for finding in findings.values() if finding.missing_key not in meant
    ]


def diagnose_partial(
    errors: Iterable[ErrorDetails], root: Node, shape: Shape, name: str, version: str = ""
) -> list[Diagnostic]:
    """As `diagnose`, for an entry that others complete: only what no completion can heal."""
    kept = [error for error in errors if not _may_heal(error, nearest(root, shape, (name, *error["loc"])))]
    return diagnose(kept, root, shape, (name,), version=version)


def _may_heal(error: ErrorDetails, place: Place) -> bool:
    if error["type"] == "missing":
        return True
    if isinstance(place.node, Scalar) and _PLACEHOLDER.search(place.node.text):
        return True
    # Said about a whole model: its keys do not go together yet.
    return "." in error["type"] and place.shape.model is not None


class _Finding:
    """One pydantic error at its place."""

    def __init__(
        self, error: ErrorDetails, root: Node, shape: Shape, path: tuple[str | int, ...], version: str
    ) -> None:
        self.kind = error["type"]
        self.message = error["msg"]
        self.context: dict[str, Any] = error.get("ctx") or {}
        path = (
            *path,
            *self.context.get("at", ()),
        )  # a check of a whole model says which of its keys it means
        self.last = path[-1] if path else ""
        # Such a path ends with what is not there, or not welcome, or (a bad key) with the word "[key]".
        above = self.kind in {"missing", "extra_forbidden"} or self.last == "[key]"
        self.place = nearest(root, shape, path[:-1] if above else path)
        self._root, self._shape, self._version = root, shape, version
        self.identity = (self.kind, self.place.node.source.name, self._at, path[2:], self._own_words)

    @property
    def _at(self) -> int:
        key = self.place.key
        return self.place.node.at if key is None else key.at << 64 | self.place.node.at

    @property
    def _own_words(self) -> str:
        """What keeps two findings of one kind at one place apart."""
        return str(self.last) if self.kind in {"missing", "extra_forbidden"} else ""

    @property
    def missing_key(self) -> tuple[int, str] | None:
        return (id(self.place.node), str(self.last)) if self.kind == "missing" else None

    def misspelt_key(self, more_keys: Iterable[str]) -> tuple[int, str] | None:
        """The place and the key that was probably meant, so that it is not called missing too."""
        if self.kind != "extra_forbidden":
            return None
        was = self.place.shape.key_now(str(self.last), self._version)
        meant = was.to if was is not None else closest(str(self.last), self._known_keys(more_keys))
        return (id(self.place.node), meant) if meant is not None else None

    def diagnostic(self, more_keys: Iterable[str]) -> Diagnostic:
        found = self._diagnostic(more_keys)
        word = self._old_word()
        return replace(found, hint=word[0].hint(word[1])) if word is not None else found

    def _old_word(self) -> tuple[Renamed, str] | None:
        """The key or value that is refused, if an earlier version had it under this name."""
        way, node = list(self.place.path), self.place.node
        if self.kind == "extra_forbidden":
            was, word = self.place.shape.key_now(str(self.last), self._version), str(self.last)
            return (was, word) if was is not None else None
        while way and isinstance(way[-1], int):
            way.pop()
        if self.kind == "missing" or self.last == "[key]" or not way or not isinstance(node, Scalar):
            return None
        owner = nearest(self._root, self._shape, way[:-1])
        was = owner.shape.values_now(str(way[-1]), self._version).get(node.text)
        return (was, node.text) if was is not None else None

    def _diagnostic(self, more_keys: Iterable[str]) -> Diagnostic:
        if "." in self.kind:
            at = (
                self.place.key.span
                if self.last == "[key]" and self.place.key is not None
                else self.place.span
            )
            context = self.context
            return Diagnostic(
                self.kind, self.message, at, str(context.get("cause", "")), str(context.get("hint", ""))
            )
        if self.kind == "missing":
            return self._missing()
        if self.kind == "extra_forbidden":
            return self._unknown(more_keys)
        return self._bad_value()

    def _known_keys(self, more_keys: Iterable[str]) -> list[str]:
        path = self.place.path
        if not path:
            return [*self.place.shape.keys, *more_keys]
        return [*self.place.shape.keys, *(entry_keys(str(path[0])) if len(path) == 2 else ())]

    def _missing(self) -> Diagnostic:
        owner = self.place.key
        names = [part for part in self.place.path if isinstance(part, str)]
        where = f" in {quoted(names[-1])}" if names else ""
        at = owner.span if owner is not None else _first_line(self.place.node)
        value = self.place.shape.only_value(str(self.last)) or "..."
        hint = f"add {quoted(f'{self.last}: {value}')}"
        return Diagnostic(
            "manifest.missing-key", f"{quoted(str(self.last))} is missing{where}", at, hint=hint
        )

    def _unknown(self, more_keys: Iterable[str]) -> Diagnostic:
        entry = self.place.child(self.last)
        at = entry.key.span if entry is not None and entry.key is not None else self.place.span
        keys = self._known_keys(more_keys)
        hint = (
            _meant_key(str(self.last), keys, self.place.shape) or f"keys here are {', '.join(sorted(keys))}"
        )
        return Diagnostic("manifest.unknown-key", f"unknown key {quoted(str(self.last))}", at, hint=hint)

    def _bad_value(self) -> Diagnostic:
        node = self.place.node
        text = node.text if isinstance(node, Scalar) and not node.is_null else None
        if text is None or self.kind in _EXPECTED:
            what, hint = (_EXPECTED | _EXPECTED_SCALARS).get(self.kind, ("another kind of value", ""))
            if what == "a list" and text is not None:
                hint = _as_list(text, self.place.shape.element)
            elif what == "a mapping" and (keys := self.place.shape.keys):
                hint = f"write `{{key: value}}`; keys here are {', '.join(sorted(keys))}"
            summary = f"{what} is expected here, not {_kind_of(node)}"
            return Diagnostic("manifest.wrong-type", summary, self.place.span, "", hint)
        if self.kind == "literal_error" and self.place.path == ("apiVersion",):
            return self._other_version(text)
        if self.kind in {"literal_error", "enum"}:
            choices = re.findall(r"'((?:[^'\\]|\\.)*)'", str(self.context.get("expected", "")))
            listed = "choose one of " + ", ".join(map(quoted, choices))
            hint = _did_they_mean(text, choices) or listed
            cause = "" if hint == listed else f"It is one of {', '.join(map(quoted, choices))}."
            return Diagnostic(
                "manifest.bad-value", f"{quoted(text)} is not allowed here", self.place.span, cause, hint
            )
        is_what, hint = _limits(self.kind, self.context) or ("is not allowed here", self.message)
        return Diagnostic("manifest.bad-value", f"{quoted(text)} {is_what}", self.place.span, "", hint)

    def _other_version(self, text: str) -> Diagnostic:
        """Another version of the format. To call it this one instead is no remedy where it is a newer one."""
        known = re.findall(r"'(.*?)'", str(self.context.get("expected", "")))
        cause = f"This kvmdecl reads {', '.join(map(quoted, known))}."
        if _LATER_VERSION.fullmatch(text):
            summary = f"{quoted(text)} is a newer version of this format"
            hint = "install a newer kvmdecl; `kvmdecl version` says which one this is"
        elif text in renamed.FORMATS:
            summary, hint = f"{quoted(text)} is an earlier version of this format", ""
        else:
            summary, hint = f"{quoted(text)} is no version of this format", f"write {quoted(known[-1])}"
        return Diagnostic("manifest.version", summary, self.place.span, cause, hint)


def _did_they_mean(text: str, choices: Iterable[str]) -> str:
    meant = [word for word in _SAID_ELSEWHERE.get(text.lower(), ()) if word in choices]
    return f"write {quoted(meant[0])}" if meant else did_you_mean(text, choices)


_KEYS_ELSEWHERE = {
    "interfaces": "nics",
    "network_interface": "nics",
    "passthrough": "hostdevs",
    "ram": "memory",
    "volumes": "disks",
}
"""Keys of other programs, and what they are here."""
_SURE = 0.75
"""How near (as `difflib` counts) a key has to be so that nothing else can have been meant."""
_SAID_ELSEWHERE = {
    "present": ("running", "active"),  # the nearest word is `absent`
    "started": ("running", "active"),
    "shutoff": ("stopped",),
    "off": ("stopped",),
    "reboot": ("restart",),
}
"""What other programs call a value that there is here under another name, of which no letter need be the same."""
_EXPECTED = {
    "model_type": ("a mapping", "write keys and values: `{key: value}`"),
    "dict_type": ("a mapping of names", "write names and what they mean: `{name: {...}}`"),
    "list_type": ("a list", "write `[...]`, or one `- ` line for each item"),
    "tuple_type": ("a list", "write `[...]`, or one `- ` line for each item"),
    "too_short": ("a list with something in it", ""),
    "name_type": ("a single name", "write one name, without brackets"),
    "string_type": ("text", "write a single value; put text that looks like something else in quotes"),
}
_EXPECTED_SCALARS = {"literal_error": ("a single value", ""), "enum": ("a single value", "")}


def _limits(kind: str, context: dict[str, Any]) -> tuple[str, str] | None:
    match kind:
        case "greater_than_equal":
            return "is too small", f"write at least {context['ge']}"
        case "less_than_equal":
            return "is too large", f"write at most {context['le']}"
        case "greater_than":
            return "is too small", f"write more than {context['gt']}"
        case "less_than":
            return "is too large", f"write less than {context['lt']}"
        case "string_too_long":
            return "is too long", f"write at most {context['max_length']} characters"
        case "string_too_short":
            return "is too short", f"write at least {context['min_length']} characters"
        case "string_pattern_mismatch":
            return "has a form that is not allowed here", f"it has to match {context['pattern']}"
    return None


def _meant_key(word: str, keys: list[str], shape: Shape) -> str:
    """A hint to the key that was meant; a word that is far from all of them may be right further down."""
    if (known := _KEYS_ELSEWHERE.get(word)) in keys:
        return f"write {quoted(str(known))}"
    near = did_you_mean(word, keys)
    return near if get_close_matches(word, keys, 1, _SURE) else _further_down(word, shape) or near


def _further_down(key: str, shape: Shape) -> str:
    """A hint to the keys below a place that have one of this name, the least deep; empty if none has."""
    ways: list[tuple[tuple[str, ...], Shape]] = [((), shape)]
    for _ in range(3):
        ways = [((*way, name), below.child(name)) for way, below in ways for name in below.keys]
        ways = [((*way, "NAME"), each.element) if each.element else (way, each) for way, each in ways]
        if owners := [".".join(way) for way, each in ways if key in each.keys]:
            return f"it is a key of {', '.join(map(quoted, owners[:3]))}"
    return ""


def _as_list(text: str, element: Shape | None) -> str:
    """How a list is written where a single value was."""
    if element is not None and element.keys and element.shorthand is None:
        return f"write `[{{key: value}}]`; keys of each are {', '.join(sorted(element.keys))}"
    item = f'"{text}"' if _NEEDS_QUOTES.search(text) else text
    return f"write {quoted(f'[{item}]')}"


def _kind_of(node: Node) -> str:
    if isinstance(node, Scalar):
        return "nothing" if node.is_null else quoted(node.text)
    return "a list" if isinstance(node, Sequence) else "a mapping"


def _first_line(node: Node) -> Span:
    span = node.span
    if isinstance(node, Mapping) and node.entries:
        return next(iter(node.entries.values()))[0].span
    return replace(span, end_line=span.line, end_column=span.column) if span.line != span.end_line else span
