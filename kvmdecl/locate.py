"""pydantic's findings -> diagnostics with the place that a reader of the file would point at.

pydantic names a place by its own path, which holds parts that no file has (the tag of a union, the key that a
short form stands for). The path is walked through the tree and such parts are dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kvmdecl.diagnostics import Diagnostic, Span
from kvmdecl.expand import entry_keys
from kvmdecl.source import Mapping, Node, Scalar, Sequence
from kvmdecl.text import closest, did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

    from kvmdecl.shape import Shape

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
) -> list[Diagnostic]:
    """Translate errors, one finding for one cause.

    Args:
        errors: of one validation.
        root: the tree whose data was validated.
        shape: of `root`.
        prefix: where in `root` the validated part begins.
        more_keys: keys that the top level takes beside those of its model.
    """
    findings: dict[object, _Finding] = {}
    for error in errors:
        finding = _Finding(error, root, shape, (*prefix, *error["loc"]))
        findings.setdefault(finding.identity, finding)
    meant = {hit for finding in findings.values() if (hit := finding.misspelt_key(more_keys))}
    return [
        finding.diagnostic(more_keys) for finding in findings.values() if finding.missing_key not in meant
    ]


def diagnose_partial(errors: Iterable[ErrorDetails], root: Node, shape: Shape, name: str) -> list[Diagnostic]:
    """As `diagnose`, for an entry that others complete: only what no completion can heal."""
    kept = [error for error in errors if not _may_heal(error, nearest(root, shape, (name, *error["loc"])))]
    return diagnose(kept, root, shape, (name,))


def _may_heal(error: ErrorDetails, place: Place) -> bool:
    if error["type"] == "missing":
        return True
    if isinstance(place.node, Scalar) and _PLACEHOLDER.search(place.node.text):
        return True
    # Said about a whole model: its keys do not go together yet.
    return "." in error["type"] and place.shape.model is not None


class _Finding:
    """One pydantic error at its place."""

    def __init__(self, error: ErrorDetails, root: Node, shape: Shape, path: tuple[str | int, ...]) -> None:
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
        meant = closest(str(self.last), self._known_keys(more_keys))
        return (id(self.place.node), meant) if meant is not None else None

    def diagnostic(self, more_keys: Iterable[str]) -> Diagnostic:
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
        hint = did_you_mean(str(self.last), keys) or f"keys here are {', '.join(sorted(keys))}"
        return Diagnostic("manifest.unknown-key", f"unknown key {quoted(str(self.last))}", at, hint=hint)

    def _bad_value(self) -> Diagnostic:
        node = self.place.node
        text = node.text if isinstance(node, Scalar) and not node.is_null else None
        if text is None or self.kind in _EXPECTED:
            what, hint = (_EXPECTED | _EXPECTED_SCALARS).get(self.kind, ("another kind of value", ""))
            if what == "a list" and text is not None:
                hint = f"write {quoted(f'[{text}]')}"
            elif what == "a mapping" and (keys := self.place.shape.keys):
                hint = f"write `{{key: value}}`; keys here are {', '.join(sorted(keys))}"
            summary = f"{what} is expected here, not {_kind_of(node)}"
            return Diagnostic("manifest.wrong-type", summary, self.place.span, "", hint)
        if self.kind in {"literal_error", "enum"}:
            choices = re.findall(r"'((?:[^'\\]|\\.)*)'", str(self.context.get("expected", "")))
            listed = "choose one of " + ", ".join(map(quoted, choices))
            hint = did_you_mean(text, choices) or listed
            cause = "" if hint == listed else f"It is one of {', '.join(map(quoted, choices))}."
            return Diagnostic(
                "manifest.bad-value", f"{quoted(text)} is not allowed here", self.place.span, cause, hint
            )
        is_what, hint = _limits(self.kind, self.context) or ("is not allowed here", self.message)
        return Diagnostic("manifest.bad-value", f"{quoted(text)} {is_what}", self.place.span, "", hint)


_EXPECTED = {
    "model_type": ("a mapping", "write keys and values: `{key: value}`"),
    "dict_type": ("a mapping of names", "write names and what they mean: `{name: {...}}`"),
    "list_type": ("a list", "write `[...]`, or one `- ` line for each item"),
    "tuple_type": ("a list", "write `[...]`, or one `- ` line for each item"),
    "too_short": ("a list with something in it", ""),
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


def _kind_of(node: Node) -> str:
    if isinstance(node, Scalar):
        return "nothing" if node.is_null else quoted(node.text)
    return "a list" if isinstance(node, Sequence) else "a mapping"


def _first_line(node: Node) -> Span:
    span = node.span
    if isinstance(node, Mapping) and node.entries:
        return next(iter(node.entries.values()))[0].span
    return replace(span, end_line=span.line, end_column=span.column) if span.line != span.end_line else span
