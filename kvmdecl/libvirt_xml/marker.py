"""Our element in `<metadata>`: whose a domain or network is, and what was last applied to it."""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from functools import lru_cache

from lxml import etree

from kvmdecl.libvirt_xml.overlay import to_text
from kvmdecl.libvirt_xml.safe import BadXml, Element, parse_xml

NAMESPACE = "urn:kvmdecl:marker:1"
"""XML namespace of the marker. libvirt keeps one element for each namespace."""

PREFIX = "kvmdecl"
"""Prefix of the marker's elements."""

_TAG = f"{{{NAMESPACE}}}marker"
_APPLIED = f"{{{NAMESPACE}}}applied"
_LEFT = f"{{{NAMESPACE}}}left"
_LONGEST = 1024 * 1024  # a definition has a few KiB; what a host stores is not trusted to


@dataclass(frozen=True, slots=True)
class Left:
    """How a domain was when it was last brought to its declaration. Written once that is done, so it may be missing.

    Attributes:
        definition: as libvirt gave it back, packed.
        libvirt: version that gave it.
        running: whether the guest ran.
        autostart: whether it started with its host.
        seal: digest of the definition's text with what was declared; `trace` makes and checks it.
        live: digest of the running guest's text; empty if none ran, or if it had not all that was declared.
    """

    definition: str
    libvirt: int
    running: bool
    autostart: bool
    seal: str
    live: str


@dataclass(frozen=True, slots=True)
class Marker:
    """What kvmdecl noted down in an object.

    Attributes:
        cluster: that made the object.
        uuid: of the object itself; a clone carries its origin's.
        name: of the object when it was marked.
        revision: of the manifest that was last applied.
        tool: version of kvmdecl that wrote the marker.
        applied: declared definition that was last applied; None if it cannot be read.
        problem: what is wrong with the marker, empty if nothing is.
        left: how the domain was afterwards, None if that was not noted.
    """

    cluster: str
    uuid: str
    name: str
    revision: str
    tool: str
    applied: str | None
    problem: str = ""
    left: Left | None = None

    def left_definition(self) -> str | None:
        """The definition that was left, None if it was not noted or cannot be read."""
        return _unpacked(self.left.definition)[0] if self.left else None


def read_marker(xml: str) -> Marker | None:
    """The marker of a definition, None if there is none. A damaged marker is one with a `problem`.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    element = parse_xml(xml).find(f"metadata/{_TAG}")
    if element is None:
        return None
    applied, problem = _read_applied(element)
    missing = [name for name in ("cluster", "uuid") if not element.get(name)]
    if missing:
        problem = f"it does not say {' and '.join(missing)}"
    return Marker(
        cluster=element.get("cluster", ""),
        uuid=element.get("uuid", ""),
        name=element.get("name", ""),
        revision=element.get("revision", ""),
        tool=element.get("tool", ""),
        applied=applied,
        problem=problem,
        left=_read_left(element),
    )


def with_marker(xml: str, marker: Marker) -> str:
    """The definition with this marker in place of any older one; metadata of others stay.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    root = parse_xml(xml)
    metadata = root.find("metadata")
    if metadata is None:
        metadata = etree.SubElement(root, "metadata")
    for old in metadata.findall(_TAG):
        metadata.remove(old)
    metadata.append(_element(marker))
    return to_text(root)


def alone(marker: Marker) -> str:
    """The marker as virDomainSetMetadata takes it: libvirt adds the prefix that it is told, so ours is another."""
    text: str = etree.tostring(_element(marker, f"{PREFIX}-1"), encoding="unicode")
    return text


def owned_by(marker: Marker | None, cluster: str, uuid: str) -> bool:
    """Whether the object with this uuid was made for this cluster, and is not a clone of one that was."""
    return marker is not None and bool(marker.uuid) and (marker.cluster, marker.uuid) == (cluster, uuid)


def belongs(xml: str, cluster: str, uuid: str) -> bool:
    """Whether a definition says that the object with this uuid is the cluster's.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    return owned_by(read_marker(xml), cluster, uuid)


@lru_cache(
    maxsize=32
)  # a step packs what is declared for its definition, for what it leaves, and for the seal of that
def packed(xml: str) -> str:
    """A definition, compact, since libvirt's messages are limited and a marker travels with every definition.

    Raises:
        BadXml: it is not acceptable XML.
    """
    root = parse_xml(xml)
    for element in root.iter(etree.Element):
        element.tail = None
        if len(element):
            element.text = None
    return base64.b64encode(zlib.compress(etree.tostring(root), 9)).decode("ascii")


def unpacked(text: str) -> str | None:
    """What `packed` made compact; None if it cannot be read."""
    return _unpacked(text)[0]


def _element(marker: Marker, prefix: str = PREFIX) -> Element:
    element = etree.Element(_TAG, nsmap={prefix: NAMESPACE})
    for name in ("cluster", "uuid", "name", "revision", "tool"):
        element.set(name, getattr(marker, name))
    if marker.applied is not None:
        etree.SubElement(element, _APPLIED).text = packed(marker.applied)
    if marker.left is not None:
        element.append(_left_element(marker.left))
    return element


def _left_element(left: Left) -> Element:
    element = etree.Element(_LEFT)
    for name, value in (
        ("libvirt", str(left.libvirt)),
        ("running", _word(left.running)),
        ("autostart", _word(left.autostart)),
        ("seal", left.seal),
        ("live", left.live),
    ):
        element.set(name, value)
    element.text = left.definition
    return element


def _word(value: bool) -> str:
    return "yes" if value else "no"


def _read_left(element: Element) -> Left | None:
    """Whoever damaged it loses nothing but what it is for: the domain is compared field by field."""
    found = element.find(_LEFT)
    if found is None or not found.get("libvirt", "").isdecimal():
        return None
    return Left(
        definition=found.text or "",
        libvirt=int(found.get("libvirt", "0")),
        running=found.get("running") == "yes",
        autostart=found.get("autostart") == "yes",
        seal=found.get("seal", ""),
        live=found.get("live", ""),
    )


def _read_applied(element: Element) -> tuple[str | None, str]:
    text = element.findtext(_APPLIED)
    if text is None:
        return None, "it does not say what was last applied"
    applied, problem = _unpacked(text)
    return applied, f"what was last applied {problem}" if problem else ""


def _unpacked(text: str) -> tuple[str | None, str]:
    """A packed definition, or None and what is wrong with it."""
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text, validate=False), _LONGEST)
        if unpacker.unconsumed_tail or not unpacker.eof:
            return None, "is cut off or too long"
        return to_text(parse_xml(data.decode("utf-8"))), ""
    except (binascii.Error, zlib.error, UnicodeDecodeError, BadXml, ValueError) as error:
        return None, f"cannot be read ({error})"
