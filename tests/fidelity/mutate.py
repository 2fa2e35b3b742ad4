"""Seeded changes of definitions: an attribute, a text, an element or a whole device set, removed or added."""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import dataclass

from kvmdecl.libvirt_xml.build import attributes
from kvmdecl.libvirt_xml.safe import Element
from kvmdecl.state import Kind
from tests.fidelity.grammar import Grammar, Shape, grammar

_KEPT = {"name", "uuid", "metadata"}


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of a document.

    Attributes:
        root: the document after the change.
        what: the change in words.
        element: in `root`, that was set, gained something, or stands above what was removed or added.
        origin: the element of the document before that it stands for; that which was removed, if one was.
        attribute: that was set, removed or added; empty if it was a text or an element.
        removed: whether `origin` was removed.
        added: the element that was added, in `root`.
    """

    root: Element
    what: str
    element: Element
    origin: Element
    attribute: str = ""
    removed: bool = False
    added: Element | None = None


def mutate(root: Element, kind: Kind, rng: random.Random) -> Mutation | None:
    """Change one thing of a document; None if nothing came of the try."""
    after = deepcopy(root)
    pairs = list(zip(after.iter(), root.iter(), strict=True))
    element, origin = rng.choice([pair for pair in pairs if _may_change(pair[1])])
    shape = _shape(origin, grammar(kind.value))
    if shape is None:
        return None
    tries = [_set_attribute, _set_attribute, _add_attribute, _add_attribute, _drop_attribute]
    tries += [_set_text, _set_text, _add_element, _add_element, _drop_element, _copy_element]
    return rng.choice(tries)(after, element, origin, shape, rng, grammar(kind.value))


def _may_change(element: Element) -> bool:
    return not any(above.tag in _KEPT for above in (element, *element.iterancestors()))


def _shape(element: Element, schema: Grammar) -> Shape | None:
    above = list(element.iterancestors())[::-1]
    shape = schema.shape(schema.root(str((above or [element])[0].tag)))
    for step in [*above[1:], element] if above else ():
        patterns = shape.children.get(str(step.tag))
        if not patterns:
            return None
        shape = schema.shape(tuple(patterns))
    return shape


def _set_attribute(after, element, origin, shape, rng, schema):  # type: ignore[no-untyped-def]
    if not element.attrib:
        return None
    name = rng.choice(list(attributes(element)))
    values = shape.attributes.get(name)
    value = values.pick(rng, element.get(name)) if values else None
    if value is None or value == element.get(name):
        return None
    what = f"{origin.getroottree().getpath(origin)}@{name} {element.get(name)} -> {value}"
    element.set(name, value)
    return Mutation(after, what, element, origin, name)


def _add_attribute(after, element, origin, shape, rng, schema):  # type: ignore[no-untyped-def]
    names = [name for name in shape.attributes if name not in element.attrib]
    if not names:
        return None
    name = rng.choice(names)
    value = shape.attributes[name].pick(rng)
    if value is None:
        return None
    element.set(name, value)
    return Mutation(after, f"{origin.getroottree().getpath(origin)}@{name} + {value}", element, origin, name)


def _drop_attribute(after, element, origin, shape, rng, schema):  # type: ignore[no-untyped-def]
    if not element.attrib:
        return None
    name = rng.choice(list(attributes(element)))
    what = f"{origin.getroottree().getpath(origin)}@{name} - {element.get(name)}"
    del element.attrib[name]
    return Mutation(after, what, element, origin, name)


def _set_text(after, element, origin, shape, rng, schema):  # type: ignore[no-untyped-def]
    before = (element.text or "").strip()
    if len(element) or not before:
        return None
    value = _near(before, rng) or shape.text.pick(rng, before)
    if value is None or value == before:
        return None
    element.text = value
    return Mutation(after, f"{origin.getroottree().getpath(origin)} {before} -> {value}", element, origin)


def _near(text: str, rng: random.Random) -> str | None:
    if not text.isdecimal():
        return None
    return str(max(0, int(text) + rng.choice([-1, 1]) * rng.choice([1, 1, 2, 1024, 65536])))


def _add_element(after, element, origin, shape, rng, schema):  # type: ignore[no-untyped-def]
    names = [name for name in shape.children if name not in _KEPT]
    if not names:
        return None
    name = rng.choice(names)
    if element.find(name) is not None and name not in shape.many:
        return None
    try:
        made = schema.make(rng.choice(shape.children[name]), rng)
    except RecursionError:
        return None
    places = [place for place, child in enumerate(element, 1) if child.tag == name]
    element.insert(rng.choice([0, *places]) if places else len(element), made)
    what = f"{origin.getroottree().getpath(origin)} + {name}"
    return Mutation(after, what, element, origin, added=made)


def _drop_element(after, element, origin, shape, rng, schema):  # type: ignore[no-untyped-def]
    above = element.getparent()
    if above is None or element.tag == "devices":
        return None
    what = f"- {origin.getroottree().getpath(origin)}"
    above.remove(element)
    return Mutation(after, what, above, origin, removed=True)


def _copy_element(after, element, origin, shape, rng, schema):  # type: ignore[no-untyped-def]
    """A second one of its kind, with another address and another of whatever makes it itself."""
    above = element.getparent()
    if above is None or above.tag != "devices":
        return None
    made = deepcopy(element)
    for child in made.xpath("address|alias|mac|boot|self::*[@index]"):
        if child is not made:
            made.remove(child)
    if made.get("index"):
        del made.attrib["index"]
    for target in made.findall("target"):
        if target.get("dev"):
            target.set("dev", f"{target.get('dev', '')[:2]}{rng.choice('lmnopqr')}")
        for key in ("dir", "name"):
            if target.get(key):
                target.set(key, f"{target.get(key)}{rng.randrange(100)}")
        if target.get("port"):
            del target.attrib["port"]
    above.insert(above.index(element) + rng.randint(0, 1), made)
    what = f"{origin.getroottree().getpath(origin)} copied"
    return Mutation(after, what, above, origin.getparent(), added=made)
