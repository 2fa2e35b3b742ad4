"""Manifest files -> a checked manifest in which every path knows its place. Contacts nobody, runs nothing."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from kvmdecl.diagnostics import Diagnostic, Rejected, Span
from kvmdecl.expand import NAMED_SECTIONS, Expanded, expand
from kvmdecl.locate import Place, diagnose, diagnose_partial, nearest
from kvmdecl.manifest import Manifest, Vm
from kvmdecl.names import Name
from kvmdecl.shape import Shape, model_shape
from kvmdecl.source import (
    MAX_FINDINGS,
    Mapping,
    Scalar,
    Source,
    duplicate_key,
    find_files,
    gc_paused,
    parse,
    read_file,
    to_data,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Mapping as Map

NO_TEXTS: Map[Path, str] = MappingProxyType({})
NO_SECTIONS: Map[str, type[BaseModel]] = MappingProxyType({})

_TOP_KEYS = ("defaults", "profiles")
_MERGED_SECTIONS = frozenset({*NAMED_SECTIONS, "profiles"})
_SHAPE = model_shape(Manifest)


@dataclass(frozen=True, slots=True)
class LoadedManifest:
    """A manifest that holds nothing the models refuse.

    Attributes:
        manifest: with profiles merged and counts expanded.
        sections: what plugins' sections say, by key; only those that the manifest has.
        files: what was read, in order.
        roots: of the files as they are written, before they are merged and expanded.
    """

    manifest: Manifest
    sections: Map[str, BaseModel]
    files: tuple[Path, ...]
    roots: tuple[Mapping, ...] = field(repr=False, compare=False)
    _root: Mapping = field(repr=False, compare=False)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what the manifest says, whatever its comments, layout and split into files."""
        canonical = json.dumps(to_data(self._root), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def span(self, *path: str | int) -> Span:
        """Where something was written: `span("vms", "web-1", "memory")`.

        The value if it is written on one line, else its key. What is only implied has the place of the
        nearest thing around it that is written, in the end the first key of the file. A value that came from
        a profile or from `defaults` has its place there.
        """
        return nearest(self._root, _SHAPE, path).span

    def faults(self, model: type[BaseModel], *path: str | int) -> list[Diagnostic]:
        """What is wrong with the mapping at a path by a plugin's model; what is not written is one without keys."""
        place, shape = self.place(*path), model_shape(model)
        for _ in path:
            shape = Shape(element=shape)
        try:
            model.model_validate(to_data(place.node) if place.path == path else {})
        except ValidationError as error:
            return diagnose(_errors(error), self._root, shape, path)
        return []

    def place(self, *path: str | int) -> Place:
        """The nearest place to a path that is written."""
        return nearest(self._root, _SHAPE, path)

    def keys(self, section: str) -> Iterator[tuple[str, Scalar]]:
        """The names in a section, each with the key that says it; a key with a count or a range says several."""
        entries = self._root.get(section)
        if isinstance(entries, Mapping):
            yield from ((name, key) for name, (key, _) in entries.entries.items())

    def file_of(self, *path: str | int) -> Path:
        """The file that says it; a relative path in a manifest is relative to that file's folder."""
        return Path(nearest(self._root, _SHAPE, path).node.source.name)


def load(
    path: Path, sections: Map[str, type[BaseModel]] = NO_SECTIONS, texts: Map[Path, str] = NO_TEXTS
) -> LoadedManifest:
    """Read and check a manifest.

    Args:
        path: a file, or a folder whose `*.yaml` and `*.yml` files are one manifest.
        sections: models of the top-level keys that plugins add.
        texts: of files as they are going to be: a change is checked before it is written.

    Raises:
        Rejected: with every independent problem.
    """
    with gc_paused():
        files, roots, root, found = _read(path, texts)
        expanded = expand(root, _SHAPE)
        refused = _refused(found)
        found += [*expanded.found, *_check_partials(expanded)]
        data: Any = to_data(expanded.root)
        manifest, checked, problems = _check(expanded, data, sections)
        found += [one for one in problems if one.at is None or _begin(one.at) not in refused]
    if found or manifest is None:
        raise Rejected(found)
    return LoadedManifest(manifest, MappingProxyType(checked), files, roots, expanded.root)


def written(path: Path) -> Place:
    """The outermost place of the files as they are written, with profiles, counts and ranges as such.

    Raises:
        Rejected: they cannot be read.
    """
    _, _, root, found = _read(path)
    if found:
        raise Rejected(found)
    return Place(root, None, _SHAPE)


def own_entry(file: Source, section: str, name: str) -> Place | None:
    """An entry of a section as it is written in a file, before profiles and defaults are merged into it.

    None if the file has no such entry, or another place lends it its text (`*alias`).
    """
    root, _ = parse(file)
    entries = root.get(section)
    key, value = entries.entries.get(name, (None, None)) if isinstance(entries, Mapping) else (None, None)
    if key is None or value is None or value.at < key.at:
        return None
    return Place(value, key, _SHAPE.child(section).child(name), (section, name))


def host_names(path: Path) -> tuple[str, ...]:
    """The names of the hosts in a manifest, in its order, whatever else may be wrong with it.

    Raises:
        Rejected: it cannot be read, its hosts cannot be expanded, or their names are not valid.
    """
    with gc_paused():
        _, _, root, _ = _read(path)
        kept = {key: entry for key, entry in root.entries.items() if key in {"hosts", "defaults"}}
        expanded = expand(Mapping(root.source, root.at, kept), _SHAPE)
    names = expanded.root.get("hosts")
    entries = names.entries if isinstance(names, Mapping) else {}
    try:
        TypeAdapter(dict[Name, Any]).validate_python(dict.fromkeys(entries))
    except ValidationError as error:
        bad = diagnose(_errors(error), expanded.root, _SHAPE, ("hosts",))
        raise Rejected([*expanded.found, *bad]) from error
    if expanded.found:
        raise Rejected(expanded.found)
    return tuple(entries)


def profile_names(path: Path) -> tuple[str, ...]:
    """The names of the profiles of a manifest, in its order.

    Raises:
        Rejected: it cannot be read.
    """
    _, _, root, _ = _read(path)
    profiles = root.get("profiles")
    return tuple(profiles.entries) if isinstance(profiles, Mapping) else ()


def names_of(path: Path, sections: Map[str, type[BaseModel]] = NO_SECTIONS) -> dict[str, tuple[str, ...]]:
    """The names in each section of a manifest, written out; as they are written where it is not valid.

    Raises:
        Rejected: it cannot be read.
    """
    root = written(path).node
    entries = root.entries if isinstance(root, Mapping) else {}
    names = {key: tuple(node.entries) for key, (_, node) in entries.items() if isinstance(node, Mapping)}
    with suppress(Rejected):
        manifest = load(path, sections).manifest
        for section in NAMED_SECTIONS:
            names[section] = tuple(dict.fromkeys((*getattr(manifest, section), *names.get(section, ()))))
    return {section: tuple(name for name in found if "{" not in name) for section, found in names.items()}


def _no_manifest(root: Mapping) -> Diagnostic | None:
    """What is said of a file that kvmdecl wrote for programs: each of its keys would be a finding otherwise."""
    if "formatVersion" not in root.entries or "apiVersion" in root.entries:
        return None
    at = root.entries["formatVersion"][0].span
    if not {"digest", "steps"} <= root.entries.keys():
        return Diagnostic("manifest.wrong-type", "this is no manifest: a command of kvmdecl wrote it", at)
    hint = "`kvmdecl plan FILE` shows a saved plan, `kvmdecl apply FILE` carries it out; others take the manifest"
    return Diagnostic("manifest.wrong-type", "this is a saved plan, and no manifest", at, hint=hint)


def _read(
    path: Path, texts: Map[Path, str] = NO_TEXTS
) -> tuple[tuple[Path, ...], tuple[Mapping, ...], Mapping, list[Diagnostic]]:
    """Read all files and merge them; one that cannot be read rejects, after all others were tried."""
    files = (path,) if path in texts else tuple(sorted({*find_files(path), *texts}))
    roots: list[Mapping] = []
    found: list[Diagnostic] = []
    fatal = False
    for file in files:
        try:
            root, problems = parse(Source(str(file), texts[file])) if file in texts else read_file(file)
        except Rejected as error:
            fatal = True
            found += error.diagnostics
        else:
            roots.append(root)
            found += problems
            if other := _no_manifest(root):
                fatal = True
                found.append(other)
    if fatal:
        raise Rejected(found)
    merged = roots[0]
    for root in roots[1:]:
        merged = _join(merged, root, found, depth=0)
    return files, tuple(roots), merged, found


def _refused(found: Iterable[Diagnostic]) -> frozenset[tuple[str, int, int]]:
    """Where values begin that YAML may not say like that, or braces around them: no more is told of them."""
    places = [_begin(one.at) for one in found if one.at is not None]
    return frozenset((file, line, column - back) for file, line, column in places for back in (0, 1))


def _begin(at: Span) -> tuple[str, int, int]:
    return at.file, at.line, at.column


def _join(first: Mapping, second: Mapping, found: list[Diagnostic], depth: int) -> Mapping:
    entries = dict(first.entries)
    for name, (key, node) in second.entries.items():
        if name not in entries:
            entries[name] = (key, node)
            continue
        known_key, known = entries[name]
        mergeable = depth == 0 and name in _MERGED_SECTIONS
        if mergeable and isinstance(known, Mapping) and isinstance(node, Mapping):
            entries[name] = (known_key, _join(known, node, found, depth=1))
        else:
            found.append(duplicate_key(key, known_key))
    return Mapping(first.source, first.at, entries)


def _check(
    expanded: Expanded, data: dict[str, Any], sections: Map[str, type[BaseModel]]
) -> tuple[Manifest | None, dict[str, BaseModel], list[Diagnostic]]:
    found: list[Diagnostic] = []
    checked: dict[str, BaseModel] = {}
    version = _version(expanded.root)
    for key in sorted(sections.keys() & data.keys()):
        try:
            checked[key] = sections[key].model_validate(data[key])
        except ValidationError as error:
            shape = Shape(element=model_shape(sections[key]))
            found += diagnose(_errors(error), expanded.root, shape, (key,), version=version)
    core = {key: value for key, value in data.items() if key not in sections}
    try:
        return Manifest.model_validate(core, context={}), checked, found
    except ValidationError as error:
        more = (*_TOP_KEYS, *sections)
        found += diagnose(_errors(error), expanded.root, _SHAPE, more_keys=more, version=version)
        return None, checked, found


def _check_partials(expanded: Expanded) -> list[Diagnostic]:
    """Check profiles and defaults for what no entry can heal, even where every entry overrides it."""
    parts: list[tuple[str, type[BaseModel], Mapping]]
    parts = [(name, Vm, expanded.profiles) for name in expanded.profiles.entries]
    for name in expanded.defaults.entries:
        if model := _SHAPE.child(name).child("").model:
            parts.append((name, model, expanded.defaults))
    found: list[Diagnostic] = []
    version = _version(expanded.root)
    for name, model, tree in parts:
        try:
            model.model_validate(to_data(tree.entries[name][1]))
        except ValidationError as error:
            shape = Shape(element=model_shape(model))
            found += diagnose_partial(_errors(error), tree, shape, name, version)
    return found


def _errors(error: ValidationError) -> Any:  # noqa: ANN401 - pydantic_core's ErrorDetails, known to `locate`
    return error.errors(include_url=False, include_input=False)[:MAX_FINDINGS]


def _version(root: Mapping) -> str:
    """The version of the format that a manifest tells; empty if it does not."""
    told = root.get("apiVersion")
    return told.text if isinstance(told, Scalar) else ""
