"""What a manifest says in words of earlier versions -> the same in today's, by splices of its text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmdecl import edit
from kvmdecl.diagnostics import Diagnostic, Note, Rejected, reject_errors
from kvmdecl.manifest import Manifest
from kvmdecl.shape import Shape, model_shape
from kvmdecl.source import Scalar, Sequence, Source, parse, to_data
from kvmdecl.text import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping as Map

    from pydantic import BaseModel

    from kvmdecl.diagnostics import Span
    from kvmdecl.renamed import Renamed
    from kvmdecl.source import Mapping, Node, Plain

_MANIFEST = model_shape(Manifest)


@dataclass(frozen=True, slots=True)
class Change:
    """A word that becomes another one."""

    at: Span
    before: str
    after: str
    renamed: Renamed


@dataclass(frozen=True, slots=True)
class Migrated:
    """A file with its text as it is and as it is going to be, the same if nothing changes, and what changes in it."""

    source: Source
    text: str
    changes: tuple[Change, ...]


def migrated(files: Iterable[Source], sections: Map[str, type[BaseModel]]) -> tuple[Migrated, ...]:
    """The files of a manifest with today's words in the place of earlier ones, and no other character changed.

    Args:
        files: all of one manifest: the version of the format that one of them tells counts for all.
        sections: models of the top-level keys that plugins add.

    Raises:
        Rejected: `migrate.not-possible` for each old word that cannot be replaced where it stands, or what keeps the
            files from being read. Nothing of the manifest is to be changed then.
    """
    roots: list[Mapping] = []
    found: list[Diagnostic] = []
    for file in files:
        try:
            root, problems = parse(file)
        except Rejected as rejected:
            found += rejected.diagnostics
        else:
            roots.append(root)
            found += problems
    reject_errors(found)
    told = (root.get("apiVersion") for root in roots)
    version = next((node.text for node in told if isinstance(node, Scalar)), "")
    readers = [_Reader(root, version, sections) for root in roots]
    reject_errors(fault for reader in readers for fault in reader.faults())
    return tuple(reader.migrated() for reader in readers)


class _Defaults(Shape):
    """Of each section what one of its entries says."""

    def child(self, key: str | int) -> Shape:
        return _MANIFEST.child(key).child("")


@dataclass(frozen=True, slots=True)
class _File(Shape):
    """A manifest as it is written: with what plugins add, and before defaults and profiles are merged into entries."""

    sections: Map[str, type[BaseModel]] = field(default_factory=dict)

    def child(self, key: str | int) -> Shape:
        if key == "defaults":
            return _Defaults(Manifest)
        if key in self.sections:
            return model_shape(self.sections[str(key)])
        return _MANIFEST.child("vms" if key == "profiles" else key)


class _Reader:
    """One file: what it says in today's words, and which of its words have to change for that."""

    def __init__(self, root: Mapping, version: str, sections: Map[str, type[BaseModel]]) -> None:
        self._source = root.source
        self._version = version
        self._words: dict[int, tuple[Scalar, str, Renamed]] = {}
        self._kept: set[int] = set()
        self._twice: list[Diagnostic] = []
        self._said = self._mapping(root, _File(Manifest, sections=sections))

    def faults(self) -> Iterable[Diagnostic]:
        """Why old words cannot be replaced."""
        yield from self._twice
        for at, (word, now, _) in self._words.items():
            if at in self._kept:
                cause = "An alias repeats it where it means something else."
                yield _refused(word, now, cause, "write it out in the place of the alias, and migrate again")
            elif edit.word(word, now) is None:
                cause = "It is an alias, or written with escapes or over several lines."
                yield _refused(word, now, cause, f"write {quoted(now)} here by hand")

    def migrated(self) -> Migrated:
        """The file with its words replaced, if there are no faults."""
        if not self._words:
            return Migrated(self._source, self._source.text, ())
        splices = [edit.word(word, now) for word, now, _ in self._words.values()]
        text = edit.applied(self._source.text, [splice for splice in splices if splice is not None])
        if to_data(parse(Source(self._source.name, text))[0]) != self._said:
            raise AssertionError(f"migrating {self._source.name} would change what it says")
        changes = (Change(word.span, word.text, now, was) for word, now, was in self._words.values())
        return Migrated(self._source, text, tuple(sorted(changes, key=lambda change: change.at)))

    def _read(self, node: Node, shape: Shape, words: Map[str, Renamed]) -> Plain:
        """What a node says; `words` are those that a value may have here and that are called otherwise now."""
        if isinstance(node, Sequence):
            return [self._read(item, shape.child(0), words) for item in node.items]
        if not isinstance(node, Scalar):
            return self._mapping(node, shape)
        if node.is_null:
            return None
        was = words.get(node.text)
        return self._word(node, was.values[node.text] if was is not None else node.text, was)

    def _mapping(self, node: Mapping, shape: Shape) -> Plain:
        said: dict[str, Plain] = {}
        keys: dict[str, Scalar] = {}
        for name, (key, value) in node.entries.items():
            was = shape.key_now(name, self._version)
            now = self._word(key, was.to if was is not None else name, was)
            if now in keys:
                self._twice.append(_both(keys[now], key, now))
            keys[now] = key
            said[now] = self._read(value, shape.child(now), shape.values_now(now, self._version))
        return said

    def _word(self, node: Scalar, now: str, was: Renamed | None) -> str:
        if was is None or self._words.get(node.at, (node, now))[1] != now:
            self._kept.add(node.at)
        else:
            self._words[node.at] = (node, now, was)
        return now


def _refused(word: Scalar, now: str, cause: str, hint: str) -> Diagnostic:
    summary = f"{quoted(word.text)} is called {quoted(now)} now, and cannot be replaced here"
    return Diagnostic("migrate.not-possible", summary, word.span, cause, hint)


def _both(first: Scalar, second: Scalar, now: str) -> Diagnostic:
    old, other = (first, second) if first.text != now else (second, first)
    cause = "It would be there twice, and only one of them can be meant."
    notes = (Note(f"{quoted(other.text)} is here", other.span),)
    summary = f"{quoted(old.text)} is called {quoted(now)} now, and cannot be replaced here"
    return Diagnostic("migrate.not-possible", summary, old.span, cause, "take one of them out", notes)
