"""Tree -> tree: defaults and profiles merged in, `count`, `for` and ranges written out.

Nothing here reads a value's meaning. Every merged value still points at where it was written, and the copies
of one entry share all nodes that do not differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import product
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl.diagnostics import Diagnostic, Note, Rejected
from kvmdecl.source import Mapping, Node, Scalar, Sequence
from kvmdecl.text import did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.shape import Shape

NAMED_SECTIONS = ("hosts", "networks", "filters", "storage", "images", "vms")
MAX_OBJECTS = 100_000
MAX_NODES = 10_000_000
MAX_TEXT = 64 * 1024**2
_MAX_CYCLES = 10

_ENTRY_KEYS = {"vms": ("profile", "count", "for")}
_RANGE = re.compile(r"\{([0-9]{1,9})\.\.([0-9]{1,9})\}")
_BARE_RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
_COUNT = re.compile(r"[1-9][0-9]{0,8}")
_VARIABLE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_PLACEHOLDER = re.compile(r"(?<![${])\{([a-z][a-z0-9_]{0,31})\}(?!\})")


def entry_keys(section: str) -> tuple[str, ...]:
    """The keys that an entry of this section takes beside those of its model."""
    return _ENTRY_KEYS.get(section, ("for",)) if section in NAMED_SECTIONS else ()


@dataclass(frozen=True, slots=True)
class Expanded:
    """The tree that the models check, and what was found on the way.

    Attributes:
        root: without `defaults`, `profiles`, `count`, `for` and `profile`.
        profiles: merged with what they extend; what no vm takes from them must be checked too.
        defaults: by section; likewise.
        found: problems. Entries that have one are left out of `root`, so that no problem is told twice.
    """

    root: Mapping
    profiles: Mapping
    defaults: Mapping
    found: tuple[Diagnostic, ...]


def expand(root: Mapping, shape: Shape) -> Expanded:
    """Write out all entries.

    Args:
        root: the tree as written.
        shape: of the whole manifest; it says which key a bare value stands for when it is merged.

    Raises:
        Rejected: `expand.too-large`, when the result would be beyond every reason.
    """
    work = _Work(shape)
    defaults = Mapping(root.source, root.at, work.defaults(root))
    profiles = work.profiles(root, shape.child("vms").child(""))
    entries: dict[str, tuple[Scalar, Node]] = {}
    for key, (name, node) in root.entries.items():
        if key in NAMED_SECTIONS:
            entries[key] = (name, _expand_section(work, key, node, defaults.get(key), profiles))
        elif key not in {"defaults", "profiles"}:
            entries[key] = (name, node)
    return Expanded(
        root=Mapping(root.source, root.at, entries),
        profiles=Mapping(root.source, root.at, profiles.merged),
        defaults=defaults,
        found=tuple(work.found),
    )


@dataclass(slots=True)
class _Profiles:
    """Profiles by name, merged with what they extend; broken ones are known but have no tree."""

    known: frozenset[str] = frozenset()
    merged: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)


@dataclass(slots=True)
class _Work:
    """The findings of one run and what it has spent, so that no manifest can exhaust the machine."""

    shape: Shape
    found: list[Diagnostic] = field(default_factory=list)
    objects: int = 0
    nodes: int = 0
    text: int = 0

    def spend(self, at: Node, *, objects: int = 0, nodes: int = 0, text: int = 0) -> None:
        self.objects += objects
        self.nodes += nodes
        self.text += text
        if self.objects > MAX_OBJECTS:
            what = f"more than {MAX_OBJECTS} objects"
        elif self.nodes > MAX_NODES:
            what = f"more than {MAX_NODES} values"
        elif self.text > MAX_TEXT:
            what = f"more than {MAX_TEXT // 1024**2} MiB of text"
        else:
            return
        hint = "check the ranges and counts; a larger estate is several clusters"
        cause = "Expansion stops here so that no manifest can exhaust this machine."
        summary = f"the expanded manifest has {what}"
        raise Rejected([*self.found, Diagnostic("expand.too-large", summary, at.span, cause, hint)])

    def refuse(
        self, code: str, summary: str, at: Node, cause: str = "", hint: str = "", *notes: Note
    ) -> None:
        self.found.append(Diagnostic(code, summary, at.span, cause, hint, notes))

    def defaults(self, root: Mapping) -> dict[str, tuple[Scalar, Node]]:
        section = root.get("defaults")
        if section is None:
            return {}
        if not isinstance(section, Mapping):
            self.refuse(
                "manifest.wrong-type", "`defaults` is a mapping of sections", section, hint=_DEFAULTS_HINT
            )
            return {}
        kept: dict[str, tuple[Scalar, Node]] = {}
        for name, (key, node) in section.entries.items():
            if name not in NAMED_SECTIONS:
                hint = did_you_mean(name, NAMED_SECTIONS) or f"sections are {', '.join(NAMED_SECTIONS)}"
                self.refuse(
                    "manifest.unknown-key", f"unknown section {quoted(name)} in defaults", key, hint=hint
                )
            elif not isinstance(node, Mapping):
                summary = f"the defaults of {name} are a mapping"
                self.refuse("manifest.wrong-type", summary, node, hint=_DEFAULTS_HINT)
            elif self.no_entry_keys(node, "defaults", entry_keys(name)):
                kept[name] = (key, node)
        return kept

    def no_entry_keys(self, node: Mapping, where: str, keys: tuple[str, ...]) -> bool:
        """Whether there is no key that belongs to a single entry; each one found is told."""
        wrong = [key for key in keys if key in node.entries]
        for key in wrong:
            extends = where == "a profile" and key == "profile"
            hint = "write `extends` here" if extends else f"move {quoted(key)} to the entry"
            cause = "It says something about one entry, not what entries have in common."
            at = node.entries[key][0]
            self.refuse("expand.misplaced-key", f"{quoted(key)} cannot stand in {where}", at, cause, hint)
        return not wrong

    def profiles(self, root: Mapping, vm: Shape) -> _Profiles:
        section = root.get("profiles")
        if section is None:
            return _Profiles()
        if not isinstance(section, Mapping):
            hint = "write `profiles: {small: {memory: 1GiB}}`"
            self.refuse(
                "manifest.wrong-type", "`profiles` is a mapping of profiles by name", section, hint=hint
            )
            return _Profiles()
        parents = {name: self.parents(name, section) for name in section.entries}
        self.break_cycles(parents, section)
        profiles = _Profiles(frozenset(section.entries))
        for name in TopologicalSorter({n: p for n, p in parents.items() if p is not None}).static_order():
            if entry := self.merge_profile(name, section, parents, profiles, vm):
                profiles.merged[name] = entry
        return profiles

    def parents(self, name: str, section: Mapping) -> list[str] | None:
        """The profiles that this one extends, nearest last; None if the profile is broken."""
        node = section.get(name)
        if not isinstance(node, Mapping):
            at = section.entries[name][0] if node is None else node
            summary = f"the profile {quoted(name)} is a mapping"
            self.refuse("manifest.wrong-type", summary, at, hint="write for example `{memory: 1GiB}`")
            return None
        if not self.no_entry_keys(node, "a profile", entry_keys("vms")):
            return None
        extends = node.get("extends")
        if extends is None:
            return []
        wanted = extends.items if isinstance(extends, Sequence) else [extends]
        good = [parent for parent in wanted if self.is_profile(parent, section)]
        return (
            [parent.text for parent in good if isinstance(parent, Scalar)]
            if len(good) == len(wanted)
            else None
        )

    def is_profile(self, node: Node, section: Mapping) -> bool:
        if not isinstance(node, Scalar) or node.is_null:
            self.refuse("manifest.wrong-type", "the name of a profile is expected here", node)
            return False
        if node.text in section.entries:
            return True
        hint = did_you_mean(node.text, section.entries) or "define it under `profiles:`"
        self.refuse("expand.unknown-profile", f"there is no profile {quoted(node.text)}", node, hint=hint)
        return False

    def break_cycles(self, parents: dict[str, list[str] | None], section: Mapping) -> None:
        for _ in range(_MAX_CYCLES):
            try:
                TopologicalSorter({n: p for n, p in parents.items() if p is not None}).prepare()
            except CycleError as error:
                self.refuse_cycle(error.args[1][::-1], parents, section)
            else:
                return
        raise Rejected(self.found)

    def refuse_cycle(self, cycle: list[str], parents: dict[str, list[str] | None], section: Mapping) -> None:
        # Begin at the one that is written first, so that the same cycle is always told in the same words.
        members = cycle[:-1]
        order = {name: place for place, name in enumerate(section.entries)}
        first = members.index(min(members, key=lambda name: order[name]))
        chain = members[first:] + members[:first]
        for name in chain:
            parents[name] = None
        at = section.entries[chain[0]][0]
        summary = "profiles extend each other in a circle: " + " -> ".join(map(quoted, [*chain, chain[0]]))
        notes = [Note(f"{quoted(name)} is here", section.entries[name][0].span) for name in chain[1:9]]
        self.refuse("expand.profile-cycle", summary, at, "", "remove one `extends`", *notes)

    def merge_profile(
        self,
        name: str,
        section: Mapping,
        parents: dict[str, list[str] | None],
        profiles: _Profiles,
        vm: Shape,
    ) -> tuple[Scalar, Node] | None:
        above = parents.get(name)
        key, node = section.entries[name]
        if (
            above is None
            or not isinstance(node, Mapping)
            or any(parent not in profiles.merged for parent in above)
        ):
            return None
        own: Node = _without(node, ("extends",))
        base: Node | None = None
        for parent in above:
            base = self.merge(base, profiles.merged[parent][1], vm)
        return key, self.merge(base, own, vm)

    def merge(self, far: Node | None, near: Node, shape: Shape) -> Node:
        """Merge mappings deeply; else the nearer one wins. `memory: 4GiB` merges as its `size`."""
        if far is None:
            return near
        if isinstance(far, Mapping) != isinstance(near, Mapping) and shape.shorthand is not None:
            far, near = _long_form(far, shape.shorthand), _long_form(near, shape.shorthand)
        if not isinstance(far, Mapping) or not isinstance(near, Mapping):
            return near
        self.spend(near, nodes=len(far.entries) + len(near.entries))
        entries = dict(far.entries)
        for name, (key, node) in near.entries.items():
            below = far.get(name)
            entries[name] = (key, self.merge(below, node, shape.child(name)))
        return Mapping(near.source, near.at, entries)


_DEFAULTS_HINT = "write for example `defaults: {vms: {memory: 1GiB}}`"


def _long_form(node: Node, shorthand: str) -> Node:
    if isinstance(node, Mapping) or (isinstance(node, Scalar) and node.is_null):
        return node
    key = Scalar(node.source, node.at, shorthand, plain=True)
    return Mapping(node.source, node.at, {shorthand: (key, node)})


def _without(node: Mapping, keys: tuple[str, ...]) -> Mapping:
    if node.entries.keys().isdisjoint(keys):
        return node
    kept = {key: entry for key, entry in node.entries.items() if key not in keys}
    return Mapping(node.source, node.at, kept)


def _expand_section(
    work: _Work, section: str, node: Node, defaults: Node | None, profiles: _Profiles
) -> Node:
    if not isinstance(node, Mapping):
        return node
    shape = work.shape.child(section).child("")
    keys = entry_keys(section)
    bases: dict[str, Node | None] = {"": defaults}
    entries: dict[str, tuple[Scalar, Node]] = {}
    for key, value in node.entries.values():
        base_name = _profile_of(work, value, profiles) if section == "vms" else ""
        ways = _ways(work, section, key, value)
        if base_name is None or ways is None:
            continue
        if base_name not in bases:
            bases[base_name] = work.merge(bases[""], profiles.merged[base_name][1], shape)
        own = _without(value, keys) if isinstance(value, Mapping) else value
        body = work.merge(bases[base_name], own, shape)
        for name, copy in _copies(work, key, body, ways):
            _enter(work, entries, name, copy)
    return Mapping(node.source, node.at, entries)


def _profile_of(work: _Work, value: Node, profiles: _Profiles) -> str | None:
    """The profile that a vm names, empty for none; None if it names one that cannot be used."""
    wanted = value.get("profile") if isinstance(value, Mapping) else None
    if wanted is None:
        return ""
    if not isinstance(wanted, Scalar) or wanted.is_null:
        work.refuse("manifest.wrong-type", "`profile` is the name of one profile", wanted, hint=_EXTENDS_HINT)
        return None
    if wanted.text not in profiles.known:
        hint = did_you_mean(wanted.text, profiles.known) or "define it under `profiles:`"
        work.refuse("expand.unknown-profile", f"there is no profile {quoted(wanted.text)}", wanted, hint=hint)
        return None
    return wanted.text if wanted.text in profiles.merged else None


_EXTENDS_HINT = "to join several, write a profile that extends them: `extends: [a, b]`"


def _enter(work: _Work, entries: dict[str, tuple[Scalar, Node]], key: Scalar, node: Node) -> None:
    if key.text not in entries:
        entries[key.text] = (key, node)
        return
    first = entries[key.text][0]
    same = first.at == key.at and first.source is key.source
    cause = "This key gives the name twice." if same else ""
    hint = (
        "separate the parts of the name, for example by `-`" if same else "change one of the names or ranges"
    )
    note = () if same else (Note("the other one is here", first.span),)
    work.refuse("expand.collision", f"two entries are named {quoted(key.text)}", key, cause, hint, *note)


class _Ways(NamedTuple):
    """How an entry is written out: the values of each variable, and the key as a template over them."""

    template: str
    values: dict[str, list[str]]


def _ways(work: _Work, section: str, key: Scalar, value: Node) -> _Ways | None:
    """What an entry expands to; None if that is not clear. An entry without any of these keys is one way."""
    before = len(work.found)
    count, loop = (value.get("count"), value.get("for")) if isinstance(value, Mapping) else (None, None)
    template, values = _key_ranges(work, key)
    if count is not None and "count" in entry_keys(section):
        if values or loop is not None:
            hint = "keep either `count` or the range"
            work.refuse("expand.bad-count", "`count` stands beside a range or `for`", count, hint=hint)
        template = key.text if "n" in _variables(key.text) else key.text + "-{n}"
        values = {"n": _count(work, count)}
    elif loop is not None:
        values = _loop(work, key, loop, values)
    if len(work.found) > before:
        return None
    work.spend(key, objects=prod(map(len, values.values())))
    return _Ways(template, values)


def _key_ranges(work: _Work, key: Scalar) -> tuple[str, dict[str, list[str]]]:
    """`web-{1..3}` -> the template `web-{n}` and the values of n; further ranges are n2, n3 ..."""
    if "{" not in key.text:
        return key.text, {}
    values: dict[str, list[str]] = {}
    total = 1

    def name_range(match: re.Match[str]) -> str:
        nonlocal total
        variable = f"n{len(values) + 1}" if values else "n"
        values[variable] = _numbers(work, match, key)
        total *= max(1, len(values[variable]))
        _refuse_too_many(work, total, key)
        return "{" + variable + "}"

    return _RANGE.sub(name_range, key.text), values


def _variables(text: str) -> set[str]:
    return {match.group(1) for match in _PLACEHOLDER.finditer(text)}


def _refuse_too_many(work: _Work, number: int, at: Node) -> None:
    """Stop before so many objects are made, not after."""
    if number > MAX_OBJECTS:
        work.spend(at, objects=number)


def _numbers(work: _Work, match: re.Match[str], at: Node) -> list[str]:
    first, last = match.groups()
    if int(first) > int(last):
        summary = f"the range {quoted(match.group())} runs backwards"
        work.refuse("expand.bad-range", summary, at, hint=f"write {last}..{first}")
        return []
    _refuse_too_many(work, int(last) - int(first) + 1, at)
    padded = any(len(text) > 1 and text.startswith("0") for text in (first, last))
    width = max(len(first), len(last)) if padded else 0
    return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]


def _count(work: _Work, node: Node) -> list[str]:
    if not isinstance(node, Scalar) or not _COUNT.fullmatch(node.text):
        cause = "A count of none would silently mean that the vms are not wanted."
        hint = "write a whole number from 1; to delete vms, say `state: absent`"
        work.refuse("expand.bad-count", "`count` is a whole number from 1", node, cause, hint)
        return []
    _refuse_too_many(work, int(node.text), node)
    return [str(number) for number in range(1, int(node.text) + 1)]


def _loop(work: _Work, key: Scalar, loop: Node, ranges: dict[str, list[str]]) -> dict[str, list[str]]:
    """The variables of a `for`, before those of the key's ranges."""
    if not isinstance(loop, Mapping) or not loop.entries:
        work.refuse("expand.bad-for", "`for` is a mapping of variables to their values", loop, hint=_FOR_HINT)
        return {}
    used = _variables(key.text)
    values: dict[str, list[str]] = {}
    for variable, (name, node) in loop.entries.items():
        if not _VARIABLE.fullmatch(variable) or variable == "name" or variable in ranges:
            hint = "choose another name of a-z, 0-9 and `_`; `name` is the entry's own"
            work.refuse("expand.bad-for", f"{quoted(variable)} cannot be a variable here", name, hint=hint)
        elif variable not in used:
            cause = "All of its values would give the same name."
            strange = sorted(used - loop.entries.keys() - ranges.keys() - {"name"})
            hint = f"add it to the name, for example `{key.text}-{{{variable}}}`"
            if strange:
                hint = f"write `{key.text.replace(f'{{{strange[0]}}}', f'{{{variable}}}')}`"
            work.refuse(
                "expand.unused-variable", f"the key does not use {quoted(variable)}", name, cause, hint
            )
        else:
            values[variable] = _loop_values(work, node)
            _refuse_too_many(work, prod(max(1, len(texts)) for texts in values.values()), node)
    return {**values, **ranges}


_FOR_HINT = "write for example `for: {zone: [a, b], n: 1..3}`"


def _loop_values(work: _Work, node: Node) -> list[str]:
    if isinstance(node, Scalar) and (match := _BARE_RANGE.fullmatch(node.text)):
        return _numbers(work, match, node)
    items = node.items if isinstance(node, Sequence) else []
    texts = [item.text for item in items if isinstance(item, Scalar) and not item.is_null]
    if not texts or len(texts) != len(items):
        work.refuse("expand.bad-for", "the values of a variable are a list or a range", node, hint=_FOR_HINT)
    return texts


def _copies(work: _Work, key: Scalar, body: Node, ways: _Ways) -> Iterator[tuple[Scalar, Node]]:
    if not ways.values:
        yield key, body
        return
    template = _Template(work, body, frozenset([*ways.values, "name"]))
    for combination in product(*ways.values.values()):
        values = dict(zip(ways.values, combination, strict=True))
        name = key.with_text(_fill(ways.template, values))
        yield name, template.copy({**values, "name": name.text})


def _fill(text: str, values: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values.get(match.group(1), match.group()), text)


class _Template:
    """A body that is copied many times: knows which of its nodes differ, and shares the rest."""

    def __init__(self, work: _Work, body: Node, names: frozenset[str]) -> None:
        self._work = work
        self._body = body
        self._names = names
        self._differs: dict[int, bool] = {}
        self._sizes: dict[int, int] = {}
        self._survey(body)

    def copy(self, values: dict[str, str]) -> Node:
        """The body with every placeholder replaced."""
        self._work.spend(self._body, nodes=self._sizes[id(self._body)])
        return self._copy(self._body, values)

    def _survey(self, node: Node) -> bool:
        if id(node) not in self._sizes:
            if isinstance(node, Scalar):
                self._differs[id(node)], self._sizes[id(node)] = self._has_placeholder(node.text), 1
            else:
                below = node.items if isinstance(node, Sequence) else [v for _, v in node.entries.values()]
                keys = () if isinstance(node, Sequence) else tuple(node.entries)
                # A list, so that every node below is surveyed, not only those up to the first that differs.
                differs = [self._survey(child) for child in below]
                self._differs[id(node)] = any(differs) or any(map(self._has_placeholder, keys))
                self._sizes[id(node)] = 1 + sum(self._sizes[id(child)] for child in below)
        return self._differs[id(node)]

    def _has_placeholder(self, text: str) -> bool:
        return any(match.group(1) in self._names for match in _PLACEHOLDER.finditer(text))

    def _copy(self, node: Node, values: dict[str, str]) -> Node:
        if not self._differs[id(node)]:
            return node
        if isinstance(node, Scalar):
            return self._fill(node, values)
        if isinstance(node, Sequence):
            return Sequence(node.source, node.at, [self._copy(item, values) for item in node.items])
        entries: dict[str, tuple[Scalar, Node]] = {}
        for key, value in node.entries.values():
            _enter(self._work, entries, self._fill(key, values), self._copy(value, values))
        return Mapping(node.source, node.at, entries)

    def _fill(self, node: Scalar, values: dict[str, str]) -> Scalar:
        if "{" not in node.text:
            return node
        filled = node.with_text(_fill(node.text, values))
        self._work.spend(node, text=len(filled.text))
        return filled
