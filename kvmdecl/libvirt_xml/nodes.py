"""A normalised definition as plain values: read from its elements once, compared as often as one likes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import attributes

if TYPE_CHECKING:
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.state import Kind


class Node:
    """An element as it was when this was made.

    Attributes:
        element: that it was made from.
        tag: its name.
        text: in it, None if there is none.
        said: its attributes.
        children: of it, in their order.
        values: of its keys, as far as somebody asked for them (`identity.key_of`).
    """

    __slots__ = ("children", "element", "said", "tag", "text", "values")

    def __init__(self, element: Element) -> None:
        self.element = element
        self.tag = str(element.tag)
        self.text = element.text
        self.said = attributes(element)
        self.children = [Node(child) for child in element]
        self.values: dict[tuple[str, ...], str | None] = {}

    def find(self, tags: tuple[str, ...]) -> Node | None:
        """The first node at a path below this one, itself for an empty path."""
        if not tags:
            return self
        for child in self.children:
            if child.tag == tags[0] and (found := child.find(tags[1:])) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where an element is: the names that lead to it from the root, whose own path is empty."""

    kind: Kind
    path: str


@lru_cache
def root_of(kind: Kind) -> Place:
    """The place of the root of definitions of a kind."""
    return Place(kind, "")


@lru_cache(maxsize=8192)
def below(place: Place, tag: str) -> Place:
    """The place of elements of this name: the same one for as long as it is in use, since rules are known by it."""
    return Place(place.kind, f"{place.path}/{tag}" if place.path else tag)
