"""Building XML from values: text and attributes are always escaped, what is None or False is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lxml import etree

if TYPE_CHECKING:
    from kvmdecl.libvirt_xml.safe import Element


def node(tag: str, *content: Element | str | Literal[False] | None, **attributes: str | None) -> Element:
    """An element with attributes, and children or a text, in the given order.

    Raises:
        ValueError: a text holds a character that XML cannot (a control character).
    """
    element = etree.Element(tag, {name: value for name, value in attributes.items() if value is not None})
    for part in content:
        if isinstance(part, str):
            element.text = part
        elif part is not None and part is not False:
            element.append(part)
    return element


def boot(order: int | None) -> Element | None:
    """The place of a device in the boot order, None if it has none."""
    return None if order is None else node("boot", order=str(order))


def pci_address(address: str) -> dict[str, str]:
    """The attributes of a PCI address such as `0000:03:10.0`."""
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    return {"domain": f"0x{domain}", "bus": f"0x{bus}", "slot": f"0x{slot}", "function": f"0x{function}"}


def attributes(element: Element) -> dict[str, str]:
    """The attributes of an element."""
    return dict(element.items())  # type: ignore[arg-type]  # none of ours is bytes


def discard(element: Element, name: str) -> None:
    """Remove an attribute if it is there."""
    if name in element.attrib:
        del element.attrib[name]
