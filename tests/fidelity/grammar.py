"""What libvirt's RELAX NG schemas allow: which attributes, texts and children an element can have.

Read as a source of things to write into a definition, not as a judge: alternatives are pooled, and libvirt says
whether it takes the outcome.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from lxml import etree

from kvmdecl.libvirt_xml.safe import Element

_RNG = "{http://relaxng.org/ns/structure/1.0}"
_PLACES = (
    "/usr/share/libvirt/schemas",
    "/usr/local/share/libvirt/schemas",
    "/opt/libvirt/share/libvirt/schemas",
)
_ROOTS = {
    "domain": "domain.rng",
    "network": "network.rng",
    "pool": "storagepool.rng",
    "volume": "storagevol.rng",
}

Make = Callable[[random.Random], str]


@dataclass(frozen=True, slots=True)
class Values:
    """Texts that may stand somewhere: words of an enumeration, or whatever one of `made` makes."""

    words: tuple[str, ...] = ()
    made: tuple[Make, ...] = ()

    def pick(self, rng: random.Random, other_than: str = "") -> str | None:
        """One of them, None if there is none but `other_than`."""
        choices = [word for word in self.words if word != other_than]
        if self.made and (not choices or rng.random() < 0.5):
            return rng.choice(self.made)(rng)
        return rng.choice(choices) if choices else None


@dataclass(frozen=True, slots=True)
class Shape:
    """What an element can hold."""

    attributes: dict[str, Values] = field(default_factory=dict)
    children: dict[str, list[Element]] = field(default_factory=dict)
    many: set[str] = field(default_factory=set)  # children of which there may be several
    text: Values = Values()


@dataclass(frozen=True, eq=False)
class Grammar:
    """A schema, with its definitions by name."""

    defines: dict[str, list[Element]]

    def shape(self, patterns: tuple[Element, ...]) -> Shape:
        """What elements of these patterns can hold."""
        return _shape(self, patterns)

    @lru_cache  # noqa: B019 - there are four of them, for good; what is kept here keeps their patterns themselves
    def root(self, tag: str) -> tuple[Element, ...]:
        """The patterns of a root element."""
        found = [
            p for bodies in self.defines.values() for body in bodies for p in body.iter(f"{_RNG}element")
        ]
        return tuple(p for p in found if p.get("name") == tag and _is_root(p))

    def make(self, pattern: Element, rng: random.Random) -> Element:
        """An element as a pattern wants it: what is demanded, and now and then what is optional.

        Raises:
            RecursionError: the schema leads in a circle.
        """
        made = etree.Element(_tag(pattern))
        for part in pattern:
            self._fill(made, part, rng)
        return made

    def _fill(self, made: Element, pattern: Element, rng: random.Random) -> None:
        match etree.QName(pattern).localname:
            case "element" if pattern.get("name"):
                made.append(self.make(pattern, rng))
            case "attribute":
                if value := self._values(pattern).pick(rng):
                    made.set(pattern.get("name", ""), value)
            case "choice" if len(pattern):
                self._fill(made, rng.choice(list(pattern)), rng)
            case "optional" | "zeroOrMore":
                if rng.random() < 0.3:
                    self._fill_all(made, pattern, rng)
            case "ref":
                for body in self.defines.get(pattern.get("name", ""), []):
                    if name := _known(pattern.get("name", "")):
                        made.text = name(rng)
                    else:
                        self._fill_all(made, body, rng)
            case "group" | "interleave" | "oneOrMore":
                self._fill_all(made, pattern, rng)
            case "data" | "value" | "text":
                made.text = self._values(pattern).pick(rng)

    def _fill_all(self, made: Element, pattern: Element, rng: random.Random) -> None:
        for part in pattern:
            self._fill(made, part, rng)

    def _values(self, pattern: Element) -> Values:
        words, made = list[str](), list[Make]()
        for leaf, known in self._leaves(pattern):
            if known is not None:
                made.append(known)
            elif etree.QName(leaf).localname == "value":
                words.append((leaf.text or "").strip())
            elif make := _of_type(leaf):
                made.append(make)
        return Values(tuple(dict.fromkeys(words)), tuple(made))

    def _leaves(self, pattern: Element, depth: int = 0) -> Iterator[tuple[Element, Make | None]]:
        name = etree.QName(pattern).localname
        if name in {"value", "data", "text"}:
            yield pattern, None
        elif name == "ref":
            if known := _known(pattern.get("name", "")):
                yield pattern, known
            elif depth < 12:
                for body in self.defines.get(pattern.get("name", ""), []):
                    for part in body:
                        yield from self._leaves(part, depth + 1)
        elif name not in {"element", "param", "except"} and (name != "attribute" or depth == 0):
            for part in pattern:
                yield from self._leaves(part, depth + 1)


@lru_cache(maxsize=4096)
def _shape(grammar: Grammar, patterns: tuple[Element, ...]) -> Shape:
    shape, words, made = Shape(), list[str](), list[Make]()

    def walk(pattern: Element, depth: int, *, many: bool) -> None:
        name = etree.QName(pattern).localname
        many = many or name in {"zeroOrMore", "oneOrMore"}
        if name == "attribute" and pattern.get("name"):
            old, new = shape.attributes.get(pattern.get("name", ""), Values()), grammar._values(pattern)
            shape.attributes[pattern.get("name", "")] = Values(old.words + new.words, old.made + new.made)
        elif name == "element":
            if pattern.get("name"):
                shape.children.setdefault(_tag(pattern), []).append(pattern)
                if many:
                    shape.many.add(_tag(pattern))
        elif name in {"value", "data", "text"} or (name == "ref" and _known(pattern.get("name", ""))):
            values = grammar._values(pattern)
            words.extend(values.words)
            made.extend(values.made)
        elif name == "ref":
            for body in grammar.defines.get(pattern.get("name", ""), []) if depth < 25 else ():
                walk_all(body, depth + 1, many=many)
        elif name not in {"attribute", "param", "except"}:
            walk_all(pattern, depth, many=many)

    def walk_all(pattern: Element, depth: int, *, many: bool) -> None:
        for part in pattern:
            if isinstance(part.tag, str):
                walk(part, depth, many=many)

    for pattern in patterns:
        walk_all(pattern, 0, many=False)
    return Shape(
        shape.attributes, shape.children, shape.many, Values(tuple(dict.fromkeys(words)), tuple(made))
    )


@lru_cache
def grammar(kind: str) -> Grammar:
    """The schema of a kind of object.

    Raises:
        FileNotFoundError: libvirt's schemas are not installed.
    """
    folder = next((place for place in map(Path, _PLACES) if (place / "domain.rng").exists()), None)
    if folder is None:
        raise FileNotFoundError("libvirt's schemas are not installed")
    defines: dict[str, list[Element]] = {}
    _read(folder / _ROOTS[kind], defines, set())
    return Grammar(defines)


def _read(path: Path, defines: dict[str, list[Element]], seen: set[Path]) -> None:
    if path in seen:
        return
    seen.add(path)
    root = etree.parse(str(path), etree.XMLParser(remove_comments=True)).getroot()
    for include in root.iter(f"{_RNG}include"):
        _read(path.parent / include.get("href", ""), defines, seen)
    for define in root.iter(f"{_RNG}define"):
        defines.setdefault(define.get("name", ""), []).append(define)


def _is_root(pattern: Element) -> bool:
    return (pattern.getparent() is not None) and pattern.getparent().tag == f"{_RNG}define"  # type: ignore[union-attr]


def _tag(pattern: Element) -> str:
    name, namespace = pattern.get("name", ""), pattern.get("ns")
    prefix, _, local = name.rpartition(":")
    if prefix:
        namespace = pattern.nsmap.get(prefix)
    return (
        f"{{{namespace}}}{local}"
        if namespace and "relaxng" not in namespace and "libvirt" in namespace
        else local
    )


# -- values that no enumeration lists ------------------------------------------------------------------------


def _number(low: int, high: int) -> Make:
    return lambda rng: str(rng.randint(low, high))


def _hex(digits: int) -> Make:
    return lambda rng: f"0x{rng.randrange(1, 16**digits):0{digits}x}"


def _mac(rng: random.Random) -> str:
    return "52:54:00:" + ":".join(f"{rng.randrange(256):02x}" for _ in range(3))


def _uuid(rng: random.Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _one_of(*texts: str) -> Make:
    return lambda rng: rng.choice(texts)


def _name(rng: random.Random) -> str:
    return f"name{rng.randrange(1000)}"


def _path(rng: random.Random) -> str:
    return f"/srv/file{rng.randrange(1000)}"


_KNOWN: dict[str, Make] = {
    "uniMacAddr": _mac,
    "macAddr": _mac,
    "UUID": _uuid,
    "genericName": _name,
    "deviceName": _name,
    "absFilePath": _path,
    "absDirPath": _path,
    "filePath": _path,
    "ipAddr": lambda rng: f"192.0.2.{rng.randint(1, 254)}",
    "ipv4Addr": lambda rng: f"192.0.2.{rng.randint(1, 254)}",
    "ipv6Addr": lambda rng: f"2001:db8::{rng.randint(1, 65535):x}",
    "ipPrefix": _number(8, 30),
    "ipv4Prefix": _number(8, 30),
    "PortNumber": _number(1, 65535),
    "port": _number(1, 65535),
    "cpuset": _one_of("0", "0-1", "0,1", "1"),
    "countCPU": _number(1, 8),
    "vcpuid": _number(0, 3),
    "domainName": _name,
    "alias": lambda rng: f"ua-name{rng.randrange(1000)}",
    "aliasName": lambda rng: f"ua-name{rng.randrange(1000)}",
    "timeDelta": _number(-5000, 5000),
    "wwn": lambda rng: f"{rng.randrange(16**15, 16**16):016x}",
    "pciDomain": _one_of("0x0000"),
    "pciBus": _one_of("0x00", "0x01", "0x02"),
    "pciSlot": lambda rng: f"0x{rng.randrange(1, 31):02x}",
    "pciFunc": _one_of("0x0"),
    "driveUnit": _number(0, 5),
    "driveController": _one_of("0"),
    "driveBus": _one_of("0"),
    "usbId": _hex(4),
    "usbVersion": _one_of("2.0", "1.1", "2.13", "9.4"),
    "usbPort": _number(1, 6),
    "usbClass": _one_of("0x08", "-1", "3"),
    "hexuint": _hex(4),
    "uint8": _number(0, 255),
    "uint16": _number(0, 65535),
    "uint24": _number(0, 2**24 - 1),
    "uint32": _number(0, 100000),
    "bufferSize": _one_of("256", "512", "1024"),
    "zpciuid": _hex(4),
    "dnsName": lambda rng: f"host{rng.randrange(1000)}.example",
    "duration": _number(1, 1000),
    "memoryKB": _number(1024, 524288),
}


def _known(name: str) -> Make | None:
    return _KNOWN.get(name)


_TYPES: dict[str, Make] = {
    **dict.fromkeys(("unsignedInt", "positiveInteger", "unsignedLong", "unsignedShort"), _number(1, 64)),
    **dict.fromkeys(("integer", "int", "long", "short", "nonNegativeInteger"), _number(0, 64)),
    "string": _name,
    "anyURI": _path,
    "NCName": _name,
}


def _of_type(leaf: Element) -> Make | None:
    """What makes a value of a data type. Patterns tell words apart: those that are plain alternatives are taken."""
    if etree.QName(leaf).localname == "text":
        return _name
    pattern = next((p.text or "" for p in leaf.iter(f"{_RNG}param") if p.get("name") == "pattern"), None)
    if pattern is not None and (words := _alternatives(pattern)):
        return _one_of(*words)
    return _TYPES.get(leaf.get("type", ""), _name)


def _alternatives(pattern: str) -> list[str]:
    words = pattern.strip("()").split("|")
    plain = [word.replace("\\", "") for word in words if word.replace("\\.", "").replace("-", "").isalnum()]
    return plain if len(plain) == len(words) else []
