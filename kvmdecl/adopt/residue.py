"""What of an observed definition a declaration does not say: as a fragment for `xml:`, and as paths for `omit:`.

Both definitions are compared in the normal form in which plans compare them, so that what is left here is exactly
what a plan would not see.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl.libvirt_xml.build import attributes
from kvmdecl.libvirt_xml.fields import (
    Document,
    compare,
    compare_documents,
    goes_without_saying,
    open_documents,
    plain,
)
from kvmdecl.libvirt_xml.identity import KEYS, Key, read_key
from kvmdecl.libvirt_xml.overlay import to_text
from kvmdecl.state import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.libvirt_xml.safe import Element


@dataclass(frozen=True, slots=True)
class Gap:
    """How far a declaration is from a definition.

    Attributes:
        unsaid: fields that are there and are not declared as they are.
        untrue: fields that are declared and are not so.
    """

    unsaid: tuple[str, ...]
    untrue: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.unsaid) + len(self.untrue)


def gap(declared: str, asked_for: str, observed: str) -> Gap:
    """Compare a declaration with a definition as it is (`observed`), and with what of it was asked for.

    Raises:
        BadXml: one of them is not acceptable XML.
    """
    wanted, seen, whole, nothing = open_documents([declared, asked_for, observed, "<domain/>"], Kind.DOMAIN)
    found = compare_documents(wanted, nothing, whole).differences
    return Gap(tuple(sorted(_unsaid(wanted, seen))), tuple(difference.path for difference in found))


def fragment(declared: str, asked_for: str, whole: frozenset[str] = frozenset()) -> str:
    """What has to be laid over a declaration for it to say all that was asked for; empty if it does.

    Members that nothing identifies are found by their place: where one of them says more than is declared, all are
    written. So are those with one of the tags in `whole` (`devices/serial`).

    Raises:
        BadXml: one of them is not acceptable XML.
    """
    wanted, seen = open_documents([declared, asked_for], Kind.DOMAIN)
    writer = _Writer(seen, _unsaid(wanted, seen), whole)
    root = writer.write(seen.normal, "", complete=False)
    if root is None:
        return ""
    if root.attrib:
        return to_text(root)
    return "".join(to_text(child) for child in list(root))


def omissions(declared: str, observed: str) -> tuple[str, ...]:
    """The paths of what is declared and is not there, each as high up as nothing else is.

    Raises:
        BadXml: one of them is not acceptable XML.
    """
    wanted, seen = open_documents([declared, observed], Kind.DOMAIN)
    paths = {element: path for path, element in wanted.elements.items()}
    found = []
    for difference in compare(declared, None, observed, Kind.DOMAIN).differences:
        path = difference.path
        if difference.before is None:
            element = wanted.elements[wanted.leaves.get(path, (path, None))[0]]
            missing = [paths[e] for e in (element, *element.iterancestors()) if paths[e] not in seen.elements]
            path = missing[-1] if missing else path
        found.append(path)
    return tuple(dict.fromkeys(found))


def members(declared: str, lists: frozenset[str]) -> tuple[str, ...]:
    """The paths of the members of some lists (`devices/serial`) of a definition.

    Raises:
        BadXml: it is not acceptable XML.
    """
    (document,) = open_documents([declared], Kind.DOMAIN)
    return tuple(path for path in document.members if plain(path) in lists) if lists else ()


def _unsaid(wanted: Document, seen: Document) -> set[str]:
    return {
        path
        for path, value in seen.fields.items()
        if wanted.fields.get(path) != value
        and not (path not in wanted.fields and goes_without_saying(path, value))
    }


def _alone(original: Element) -> Element:
    """A copy of an element as it is written, also of what the normal form leaves out as being understood."""
    copy = deepcopy(original)
    copy.tail = None
    etree.cleanup_namespaces(copy)  # QEMU's is declared where it is used
    return copy


class _Writer:
    """Copies what is left out of a document, with what it takes to find its place."""

    def __init__(self, seen: Document, left: set[str], whole: frozenset[str]) -> None:
        self._seen = seen
        self._left = left
        self._whole = whole
        self._paths = {element: path for path, element in seen.elements.items()}

    def write(self, element: Element, path: str, *, complete: bool) -> Element | None:
        """The element with all of its fields, or those that are left; None if there are none."""
        complete = complete or (path in self._seen.members and path in self._left)
        if complete and (original := self._seen.originals.get(element)) is not None:
            return _alone(original)
        own = {
            prefix: uri
            for prefix, uri in element.nsmap.items()
            if prefix and f"{{{uri}}}" in str(element.tag)
        }
        made = etree.Element(element.tag, nsmap=own)
        says = self._write_leaves(element, path, made, complete=complete)
        for child, all_of_it in self._children(element, complete=complete):
            if (written := self.write(child, self._paths[child], complete=all_of_it)) is not None:
                made.append(written)
                says = True
        if not (says or complete):
            return None
        if not complete:
            self._identify(element, made)
        return made

    def _write_leaves(self, element: Element, path: str, made: Element, *, complete: bool) -> bool:
        original = self._seen.originals.get(element)
        says = False
        for name, value in attributes(element).items():
            if complete or f"{path}@{name}" in self._left:
                made.set(name, original.get(name, value) if original is not None else value)
                says = True
        if element.text and (complete or path in self._left):
            made.text = original.text if original is not None else element.text
            says = True
        if says and original is not None and original.get("unit"):
            made.set("unit", original.attrib["unit"])
        return says or (path in self._left and bool(path))

    def _children(self, element: Element, *, complete: bool) -> Iterator[tuple[Element, bool]]:
        """Children, and whether each is written as a whole."""
        by_place = {str(child.tag) for child in element if self._is_found_by_place(child, element)}
        touched = {str(child.tag) for child in element if self._touches(self._paths[child])}
        for child in element:
            path = self._paths[child]
            yield child, complete or plain(path) in self._whole or child.tag in by_place & touched

    def _is_found_by_place(self, child: Element, parent: Element) -> bool:
        alone = len(parent.findall(child.tag)) == 1
        return not alone and self._own_key(child) is None

    def _own_key(self, element: Element) -> Key | None:
        """What tells a member from all others of its list; a disk's target before anything else."""
        keys = KEYS.get((Kind.DOMAIN, plain(self._paths[element])), ())
        above = element.getparent()
        others = (
            [one for one in above.findall(element.tag) if one is not element] if above is not None else []
        )
        for key in sorted(keys, key=lambda k: k != ("target@dev",)):
            value = read_key(element, key)
            if value is not None and all(read_key(one, key) != value for one in others):
                return key
        return None

    def _touches(self, path: str) -> bool:
        return any(left == path or left.startswith((f"{path}/", f"{path}@")) for left in self._left)

    def _identify(self, element: Element, made: Element) -> None:
        """Add what a member is found by: a disk's target, a NIC's address."""
        for part in self._own_key(element) or ():
            self._add(element, part, made)

    def _add(self, element: Element, part: str, made: Element) -> None:
        where, _, attribute = part.partition("@")
        source = element.find(where) if where else element
        if source is None:
            return
        holder = made.find(where) if where else made
        if holder is None:
            holder = made
            for tag in where.split("/"):
                below = holder.find(tag)
                holder = etree.SubElement(holder, tag) if below is None else below
        if attribute:
            holder.set(attribute, source.get(attribute, ""))
        else:
            holder.text = source.text
