"""Whether a guest may be deleted, as a note in its declared definition, which kvmdecl's marker keeps on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl.libvirt_xml.safe import parse_xml

if TYPE_CHECKING:
    from kvmdecl.libvirt_xml.marker import Marker
    from kvmdecl.libvirt_xml.safe import Element

_NOTE = "urn:kvmdecl:protection:1"  # XML namespace of the note in `<metadata>`
_TAG = f"{{{_NOTE}}}protected"


def protection() -> Element:
    """The metadata of a protected guest."""
    metadata = etree.Element("metadata")
    etree.SubElement(metadata, _TAG, nsmap={"kvmdecl-protection": _NOTE})
    return metadata


def is_protected(declared: str) -> bool:
    """Whether a declared definition says that the guest is protected.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    return _NOTE in declared and parse_xml(declared).find(f"metadata/{_TAG}") is not None


def may_be_protected(marker: Marker | None) -> bool:
    """Whether the guest with this marker is protected; of one whose marker is damaged that is not known."""
    if marker is None:
        return False
    return marker.applied is None or is_protected(marker.applied)
