"""Take secrets out of XML before it is written to a file that people pass around."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.safe import parse_xml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.libvirt_xml.safe import Element

_PLACEHOLDER = "redacted"
_ATTRIBUTES = ("passwd", "password")
_QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
_SUSPECT = ("secret", "passw", "token", "key")


def redact(xml: str) -> str:
    """Return the document without secrets; the very same text if there are none.

    libvirt keeps most of them back unless asked. What it always tells: firmware configuration entries (often
    a whole Ignition file), and arguments and variables that are handed to QEMU as they are.

    Raises:
        BadXml: not a document.
    """
    from lxml import etree

    root = parse_xml(xml)
    found = sum([*map(_strip, root.iter())])
    return etree.tostring(root, encoding="unicode") if found else xml


def _strip(element: Element) -> int:
    """Replace the secrets of one element. Returns how many there were."""
    names = [name for name in _ATTRIBUTES if element.get(name) is not None]
    names += ["value"] if _is_passed_to_qemu(element) else []
    for name in names:
        element.set(name, _PLACEHOLDER)
    if _is_firmware_entry(element) and element.text:
        element.text = _PLACEHOLDER
        return len(names) + 1
    return len(names)


def _is_passed_to_qemu(element: Element) -> bool:
    told = " ".join(_told(element)).lower()
    return element.tag in {f"{_QEMU}arg", f"{_QEMU}env"} and any(word in told for word in _SUSPECT)


def _told(element: Element) -> Iterator[str]:
    yield element.get("name", "")
    yield element.get("value", "")


def _is_firmware_entry(element: Element) -> bool:
    parent = element.getparent()
    return element.tag == "entry" and parent is not None and parent.get("type") == "fwcfg"
