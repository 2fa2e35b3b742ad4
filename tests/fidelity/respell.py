"""Seeded rewrites of definitions that change nothing: order, space, units, case, and what libvirt fills in anyway."""

from __future__ import annotations

import random
from collections.abc import Iterator
from copy import deepcopy

from lxml import etree

from kvmdecl.libvirt_xml.build import attributes
from kvmdecl.libvirt_xml.identity import KEYS, read_key
from kvmdecl.libvirt_xml.safe import Element
from kvmdecl.state import Kind


def respelled(root: Element, kind: Kind, rng: random.Random) -> Element:
    """The same definition in other words."""
    root = deepcopy(root)
    if kind is Kind.DOMAIN:
        _leave_out(root, rng)
        _numbers(root, rng)
        _sizes(root, rng, (*_KIB, *(path for path in _CHILDREN if root.find(path) is not None)))
        _machine(root, rng)
    if kind is Kind.VOLUME:
        _sizes(root, rng, ("capacity",))
    _sets(root, rng)
    _case(root, rng)
    for element, path in list(_paths(root)):
        _reorder(element, path, kind, rng)
    return root


_KIB = ("memory", "currentMemory", "maxMemory")
_CHILDREN = ("memtune/hard_limit", "memtune/soft_limit", "memtune/swap_hard_limit")


def _paths(element: Element, path: str = "") -> Iterator[tuple[Element, str]]:
    yield element, path
    for child in element:
        if child.tag != "metadata":
            yield from _paths(child, f"{path}/{child.tag}" if path else str(child.tag))


def _reorder(element: Element, path: str, kind: Kind, rng: random.Random) -> None:
    """Shuffle attributes, elements of different names, and members that a key tells apart."""
    if element.attrib:
        names = list(attributes(element).items())
        rng.shuffle(names)
        element.attrib.clear()
        element.attrib.update(names)
    if not len(element):
        return
    element.text = rng.choice(["\n", "\n\t", " "])
    by_tag: dict[str, list[Element]] = {}
    for child in element:
        child.tail = rng.choice(["\n", "  ", ""])
        by_tag.setdefault(str(child.tag), []).append(child)
    order = [str(child.tag) for child in element]
    for tag, members in by_tag.items():
        keys = KEYS.get((kind, f"{path}/{tag}".lstrip("/")), ())
        known = [read_key(member, keys[0]) for member in members] if keys else []
        if None not in known and known and len(set(known)) == len(known):
            rng.shuffle(members)
    rng.shuffle(order)
    element[:] = [by_tag[tag].pop(0) for tag in order]


def _leave_out(root: Element, rng: random.Random) -> None:
    """What libvirt fills in again: addresses, plain controllers, the emulator, the balloon."""
    for found in root.xpath("devices/*/address[@type='pci']"):
        device = found.getparent()
        if device.tag != "controller" and rng.random() < 0.5:
            device.remove(found)
    for path in ("devices/emulator", "devices/memballoon[@model='virtio' and not(*[name() != 'address'])]"):
        for found in root.xpath(path):
            if rng.random() < 0.5:
                found.getparent().remove(found)


def _numbers(root: Element, rng: random.Random) -> None:
    for address in root.iter("address"):
        for name in ("domain", "bus", "slot", "function"):
            value = address.get(name, "")
            if address.get("type", "pci") == "pci" and value.startswith("0x") and rng.random() < 0.5:
                number = int(value, 16)
                address.set(name, rng.choice([str(number), f"0x{number:x}", f"0x{number:04X}"]))


def _sizes(root: Element, rng: random.Random, paths: tuple[str, ...]) -> None:
    for path in paths:
        element = root.find(path)
        text = (element.text or "").strip() if element is not None else ""
        assumed = "B" if path == "capacity" else "KiB"
        factor = _BYTES.get(element.get("unit", assumed)) if element is not None else None
        if element is None or factor is None or not text.isdecimal():
            continue
        in_bytes = int(text) * factor
        units = [unit for unit, size in _BYTES.items() if in_bytes % size == 0]
        unit = rng.choice(units)
        element.text = str(in_bytes // _BYTES[unit])
        element.set("unit", unit)


_BYTES = {
    "b": 1,
    "bytes": 1,
    "k": 1024,
    "KiB": 1024,
    "KB": 1000,
    "M": 1024**2,
    "MiB": 1024**2,
    "MB": 1000**2,
    "GiB": 1024**3,
}


def _sets(root: Element, rng: random.Random) -> None:
    for element in root.iter(etree.Element):
        for name in ("cpuset", "nodeset", "cpus"):
            value = element.get(name, "")
            if value.replace("-", "").isdecimal() and "-" in value and rng.random() < 0.7:
                low, high = map(int, value.split("-"))
                numbers = [str(number) for number in range(low, high + 1)]
                rng.shuffle(numbers)
                element.set(name, ",".join(numbers))


def _case(root: Element, rng: random.Random) -> None:
    for mac in root.xpath("devices/interface/mac/@address | mac/@address | ip/dhcp/host/@mac"):
        mac.getparent().set(mac.attrname, str(mac).upper() if rng.random() < 0.5 else str(mac).lower())


def _machine(root: Element, rng: random.Random) -> None:
    for type_ in root.findall("os/type"):
        if type_.get("machine") == "pc-q35-7.2" and rng.random() < 0.5:
            type_.set("machine", "q35")
