"""A definition that is being recognised, and its values in the manifest's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmdecl.architectures import ARCHITECTURES, Architecture
from kvmdecl.names import KIB, format_size

if TYPE_CHECKING:
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest.base import Section

Keys = dict[str, Any]
"""Keys of a vm with plain values; below `cpus` and its like they are merged with those of other proposals."""


Value = Keys | list[Any] | str | int | None


@dataclass(frozen=True, slots=True)
class Networks:
    """The manifest's networks by what a NIC is plugged into: `bridge:br0`, `network:default`."""

    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Guest:
    """A definition that is being recognised. `root` holds what was asked for (see `filled_in`)."""

    root: Element
    networks: Networks

    def all(self, path: str) -> list[Element]:
        """The elements at a path."""
        return self.root.findall(path)

    def text(self, path: str) -> str | None:
        """The text of the first element at a path, None if there is none."""
        text = self.root.findtext(path)
        return None if text is None else text.strip()

    def get(self, path: str, name: str) -> str | None:
        """An attribute of the first element at a path."""
        element = self.root.find(path)
        return None if element is None else element.get(name)

    @property
    def usual(self) -> Architecture:
        """What guests of its architecture are by default."""
        return ARCHITECTURES.get(self.get("os/type", "arch") or "", ARCHITECTURES["x86_64"])


def said(value: Any) -> Any:  # noqa: ANN401 - a tree of plain values
    """Without what is None and without mappings that say nothing."""
    if isinstance(value, dict):
        below = {key: said(v) for key, v in value.items()}
        return {key: v for key, v in below.items() if v is not None and v != {}}
    if isinstance(value, list):
        return [said(item) for item in value]
    return value


def short(section: Keys, key: str) -> Value:
    """The short form of a section that says nothing but its key."""
    found: Keys = said(section)
    value: Value = found[key] if set(found) == {key} else found
    return value


# -- values --------------------------------------------------------------------------------------------------

Row = tuple[str, "Callable[[str], Any]"]
"""Where a key's value is (`driver@cache`, `serial`, `@mode`), and what the text there means."""


def read(element: Element, model: type[Section], rows: Mapping[str, Row]) -> Keys:
    """A section of the manifest, without what says no more than its defaults."""
    found: Keys = {}
    for key, (where, meaning) in rows.items():
        text = text_at(element, where)
        value = None if text is None else meaning(text)
        if value != model.model_fields[key].default:
            found[key] = value
    return found


def text_at(element: Element | None, where: str) -> str | None:
    """The text of an attribute or child; empty for a child without a text, None if there is neither."""
    path, _, name = where.partition("@")
    holder = element.find(path) if path and element is not None else element
    if holder is None:
        return None
    return holder.get(name) if name else (holder.text or "").strip()


def word(text: str) -> str | None:
    """A text as it is."""
    return text or None


def number(text: str | None) -> int | None:
    """A whole number; None for any other text."""
    return int(text) if text is not None and re.fullmatch("-?[0-9]{1,18}", text.strip(), re.ASCII) else None


def switch(text: str | None) -> bool | None:
    """What libvirt switches with `yes` and `no`, or with `on` and `off`."""
    return {"yes": True, "on": True, "no": False, "off": False}.get(text or "")


def present(_: str) -> bool:
    """What is so where an element is there."""
    return True


def kib(text: str) -> str | None:
    """A size that libvirt counts in KiB."""
    value = number(text)
    return None if value is None else format_size(value * KIB)


def amount(text: str) -> str | None:
    """A number of bytes."""
    value = number(text)
    return None if value is None else format_size(value)


def seconds(text: str) -> str | None:
    """A number of seconds."""
    value = number(text)
    return None if not value else f"{value}s"


_UNITS = {"b": 1, "bytes": 1, "KiB": KIB, "k": KIB, "M": KIB**2, "MiB": KIB**2, "G": KIB**3, "GiB": KIB**3}


def size_of(element: Element | None) -> str | None:
    """A size with a unit of its own."""
    value = number(element.text) if element is not None else None
    if element is None or value is None:
        return None
    return format_size(value * _UNITS.get(element.get("unit", "KiB"), 0))


def pci(address: Element | None) -> str | None:
    """A PCI address of the host: `0000:41:00.0`."""
    if address is None or "bus" not in address.attrib:
        return None
    domain, bus, slot, function = (int(address.get(n, "0"), 0) for n in ("domain", "bus", "slot", "function"))
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function}"
