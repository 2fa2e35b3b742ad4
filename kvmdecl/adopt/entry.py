"""One domain -> its entry below `vms:`, which declares exactly what is there.

Keys are proposed (`recognise`), compiled by the real pipeline and kept where they bring the declaration nearer to the
definition; the rest is an `xml:` fragment, and `omit:` what keys imply and the guest lacks. In the end the entry is
compiled once more and compared: what a plan would change, or would not see, fails here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lxml import etree
from pydantic import ValidationError

from kvmdecl.adopt.filled_in import asked_for
from kvmdecl.adopt.guest import Guest, Keys, Networks
from kvmdecl.adopt.recognise import proposals
from kvmdecl.adopt.residue import Gap, fragment, gap, members, omissions
from kvmdecl.adopt.yaml_text import block
from kvmdecl.diagnostics import Rejected
from kvmdecl.images import Inputs
from kvmdecl.libvirt_xml.build import discard
from kvmdecl.libvirt_xml.declared import declared_domain, without
from kvmdecl.libvirt_xml.fields import plain
from kvmdecl.libvirt_xml.redact import redact
from kvmdecl.libvirt_xml.safe import BadXml, parse_xml
from kvmdecl.load import load
from kvmdecl.manifest import Vm
from kvmdecl.manifest.base import Section
from kvmdecl.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

    from kvmdecl.facts import HostFacts
    from kvmdecl.state import ObservedDomain

_FILE = Path("adopted.yaml")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an entry stands in: its host, the networks that it may name, and what `defaults:` says of every vm."""

    host: str
    facts: HostFacts
    networks: Mapping[str, Keys]
    plugged: Networks
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry. `keys` in the order in which they are written; `by_xml` are the fields that no key expresses."""

    name: str
    keys: Keys
    by_xml: tuple[str, ...]
    has_secrets: bool
    declared: str


class NotExpressible(Exception):  # noqa: N818 - reads as a sentence where it is raised and caught
    """A definition that no entry reproduces. `paths` are fields that would be lost or changed."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        super().__init__(", ".join(paths))
        self.paths = paths


def make_entry(domain: ObservedDomain, around: Surroundings) -> Entry:
    """The entry of a domain.

    Raises:
        NotExpressible: there is none.
        BadXml: its definition is not acceptable XML.
    """
    told, has_secrets = _without_secrets(domain.xml)
    judge = _Judge(domain, asked_for(told, around.facts), around)
    keys = judge.choose(_identity(domain, around))
    keys, by_xml, declared = judge.complete(keys)
    return Entry(domain.name, _ordered(keys), by_xml, has_secrets, declared)


def _identity(domain: ObservedDomain, around: Surroundings) -> Keys:
    root = parse_xml(domain.xml)
    keys: Keys = {"uuid": domain.uuid, "host": around.host}
    if not domain.active:
        keys["state"] = "stopped"
    if not domain.autostart:
        keys["autostart"] = False
    if root.get("type") == "qemu":
        keys["type"] = "qemu"
    return keys | {"boot": []}


class _Judge:
    """Compiles entries of one domain and tells how near they come to it."""

    def __init__(self, domain: ObservedDomain, asked: str, around: Surroundings) -> None:
        self._domain = domain
        self._asked = asked
        self._around = around
        self._gaps: dict[str, Gap] = {}
        self._declared: dict[str, str | None] = {}

    def choose(self, keys: Keys) -> Keys:
        """Add the proposals that help."""
        proposed = [*proposals(Guest(parse_xml(self._asked), self._around.plugged))]
        keys, left = self._add(keys, proposed)
        keys, _ = self._add(keys, left)  # what had to wait for another: a channel of SPICE for its console
        for default in self._overruled():
            keys, _ = self._add(keys, [default])
        return self._without_defaults(keys)

    def _add(self, keys: Keys, proposed: Sequence[Keys]) -> tuple[Keys, list[Keys]]:
        """Add all if all are true, which is usual; else each half for itself. Returns also what is left."""
        if not proposed:
            return keys, []
        everything = keys
        for proposal in proposed:
            everything = merged(everything, proposal)
        everything = fitting(everything, keys)
        if self._is_better(everything, keys, alone=len(proposed) == 1):
            return everything, []
        if len(proposed) == 1:
            return keys, [*proposed]
        half = len(proposed) // 2
        keys, left = self._add(keys, proposed[:half])
        keys, more = self._add(keys, proposed[half:])
        return keys, left + more

    def _is_better(self, keys: Keys, before: Keys, *, alone: bool) -> bool:
        found, best = self._gap(keys), self._gap(before)
        if found is None or best is None:
            return best is None and found is not None
        return len(found) < len(best) if alone else set(found.untrue) <= set(best.untrue)

    def _overruled(self) -> Iterator[Keys]:
        """What the manifest's `defaults` may say differently of this guest, in the words of the model's own."""
        for key in self._around.defaults:
            value = getattr(Vm, key, None)
            if isinstance(value, Section) and value.shorthand is not None:
                value = getattr(value, value.shorthand)
            if isinstance(value, str | bool | int):
                yield {key: value}

    def _without_defaults(self, keys: Keys) -> Keys:
        """Without what the manifest's `defaults` say already."""
        for key in self._around.defaults.keys() & keys.keys():
            fewer = {name: value for name, value in keys.items() if name != key}
            if self._gap(fewer) == self._gap(keys):
                keys = fewer
        return keys

    def complete(self, keys: Keys) -> tuple[Keys, tuple[str, ...], str]:
        """Add `xml` and `omit` for the rest. Returns the entry, what `xml` is about, and the declaration."""
        whole: frozenset[str] = frozenset()
        for _ in range(3):
            found, unsaid = self._with_rest(keys, whole)
            declared = self._compile(found)
            left = self._gap(found)
            if declared and left is not None and not len(left):
                return found, unsaid, declared
            if left is None:
                break
            more = frozenset(_tag(path) for path in (*left.unsaid, *left.untrue))
            if more <= whole:
                break
            whole |= more
        raise NotExpressible((*left.unsaid, *left.untrue) if left is not None else ("xml",))

    def _with_rest(self, keys: Keys, whole: frozenset[str]) -> tuple[Keys, tuple[str, ...]]:
        """An entry with `xml` and `omit`. The lists in `whole` are said by `xml` alone."""
        implied, left = self._compile(keys), self._gap(keys)
        if implied is None or left is None:
            raise NotExpressible(("the keys of its identity",))
        if not len(left):
            return keys, ()
        replaced = members(implied, whole)
        declared = without(implied, replaced)[0]
        xml = fragment(declared, self._asked, whole)
        found = keys | ({"xml": xml} if xml else {}) | ({"omit": list(replaced)} if replaced else {})
        laid_over = self._compile(found)
        omit = omissions(laid_over, self._domain.xml) if laid_over else ()
        omit = tuple(dict.fromkeys((*replaced, *omit)))
        omit = tuple(path for path in omit if path not in without(implied, omit)[1])
        unsaid = gap(declared, self._asked, self._domain.xml).unsaid if xml else ()
        return found | ({"omit": list(omit)} if omit else {}), unsaid

    def _gap(self, keys: Keys) -> Gap | None:
        declared = self._compile(keys)
        if declared is None:
            return None
        if declared not in self._gaps:
            self._gaps[declared] = gap(declared, self._asked, self._domain.xml)
        return self._gaps[declared]

    def _compile(self, keys: Keys) -> str | None:
        """The declaration of an entry, None if the pipeline refuses it."""
        text = repr(keys)
        if text not in self._declared:
            self._declared[text] = self._compile_anew(keys)
        return self._declared[text]

    def _compile_anew(self, keys: Keys) -> str | None:
        manifest: Keys = {
            "apiVersion": "kvmdecl/v1",
            "cluster": "adopt",
            "hosts": {self._around.host: {"uri": "qemu:///system"}},
            "networks": dict(self._around.networks),
            "vms": {self._domain.name: keys},
        }
        if self._around.defaults:
            manifest["defaults"] = {"vms": dict(self._around.defaults)}
        text = "\n".join(line for key, value in manifest.items() for line in block(key, value)) + "\n"
        try:
            cluster = resolve(load(_FILE, texts={_FILE: text}), Inputs({}, {}))
            return declared_domain(cluster.vms[0], {})
        except (Rejected, BadXml, KeyError):  # KeyError: `defaults` put a disk into a pool
            return None


def fitting(keys: Keys, given: Keys) -> Keys:
    """Keys without those that the model of a vm refuses, such as values that it has no word for.

    What is in `given` stays.
    """
    for _ in range(_MOST_REFUSED):
        try:
            Vm.model_validate(keys)
        except ValidationError as error:
            smaller = keys
            found = error.errors(include_url=False)
            for path in map(_refused, reversed(found)):  # from the end of lists, whose members have numbers
                smaller = _pruned(smaller, path) if path and path[0] not in given else smaller
            if smaller == keys:
                return keys
            keys = smaller
        else:
            return keys
    return keys


_MOST_REFUSED = 20  # rounds: one finding may hide another


def _refused(found: ErrorDetails) -> tuple[str | int, ...]:
    return (*found["loc"], *found.get("ctx", {}).get("at", ()))


def _pruned(value: Any, path: Sequence[str | int]) -> Any:  # noqa: ANN401 - a tree of plain values
    """A tree without the part at a path, or without the last part above it that is there."""
    head, rest = path[0], path[1:]
    if isinstance(value, dict) and head in value:
        below = value[head]
        kept = _pruned(below, rest) if rest and isinstance(below, dict | list) else below
        smaller = {key: old for key, old in value.items() if key != head}
        return smaller if kept is below or kept in ({}, []) else value | {head: kept}
    if isinstance(value, list) and isinstance(head, int) and head < len(value):
        below = value[head]
        kept = _pruned(below, rest) if rest and isinstance(below, dict | list) else below
        middle = [] if kept is below or kept in ({}, []) else [kept]
        return [*value[:head], *middle, *value[head + 1 :]]
    return value


def merged(keys: Keys, more: Keys) -> Keys:
    """Mappings are merged, lists are joined, and everything else is replaced."""
    found = dict(keys)
    for key, value in more.items():
        old = found.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            found[key] = merged(old, value)
        elif isinstance(old, list) and isinstance(value, list) and key != "boot":
            found[key] = old + value
        else:
            found[key] = value
    return found


def _tag(path: str) -> str:
    """The list that a field belongs to: `devices/serial` for `devices/serial#2/source@path`."""
    parts = plain(path).partition("@")[0].split("/")
    return "/".join(parts[:2])


def _without_secrets(xml: str) -> tuple[str, bool]:
    """A definition without what may be a secret, and whether there was anything; a password is hidden by libvirt."""
    hidden = redact(xml)
    if hidden is xml:
        return xml, False
    root = parse_xml(hidden)
    for element in list(root.iter(etree.Element)):
        for name in ("passwd", "password"):
            discard(element, name)
        if "redacted" in {element.text, element.get("value")}:
            parent = element.getparent()
            target = parent if parent is not None and str(element.tag).endswith("}arg") else element
            above = target.getparent() if target is not None else None
            if above is not None and target is not None:
                above.remove(target)
    return etree.tostring(root, encoding="unicode"), True


_ORDER = (*Vm.model_fields,)
_SHORT = (
    ("cpus", "count"),
    ("memory", "size"),
    ("numa", "nodeset"),
    ("firmware", "type"),
    ("serial", "type"),
)


def _ordered(keys: Keys) -> Keys:
    """Keys in the order of the manifest's documentation, each in its short form where that says it all."""
    last = len(_ORDER)
    places = {name: number for number, name in enumerate(_ORDER)}
    found = {key: keys[key] for key in sorted(keys, key=lambda key: places.get(key, last))}
    for key, shorthand in _SHORT:
        if isinstance(found.get(key), dict) and set(found[key]) == {shorthand}:
            found[key] = found[key][shorthand]
    return found
