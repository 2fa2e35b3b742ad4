"""A definition as a flat map from field path to normalised text, and what differs between two of them.

`memory` -> `4194304`, `vcpu@current` -> `2`, `devices/disk[root]/driver@cache` -> `none`. A declared
definition is satisfied when every field that it has is in what is observed, with the same meaning; what only
the observed has is somebody else's, unless it was declared the last time: then it was ours, and goes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.identity import is_member, key_of, name_nodes
from kvmdecl.libvirt_xml.nodes import Node, Place, below, root_of
from kvmdecl.libvirt_xml.rules import normalise, plugged_in
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.words import ENLIGHTENMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.state import Kind


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field that is not as declared.

    Attributes:
        path: of the field, or of a device (`devices/disk[data]`) that comes or goes as a whole.
        before: what is observed, None if it is not there. For a device a short description.
        after: what is declared, None if it shall go.
    """

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A declared definition beside an observed one, with one naming of members in both.

    Attributes:
        desired: declared fields.
        base: fields that were declared when the object was last applied; empty if that is not known.
        observed: fields of the observed definition.
        differences: sorted by path.
    """

    desired: Mapping[str, str]
    base: Mapping[str, str]
    observed: Mapping[str, str]
    differences: tuple[FieldDifference, ...]

    def is_declared_as_before(self, path: str) -> bool:
        """Whether a field is declared as it was the last time, so that the manifest is no cause of a difference."""
        return path in self.base and self.base[path] == self.desired.get(path)


class Opened:
    """A definition and its normal form, as elements and as nodes.

    Raises:
        BadXml: the definition is not acceptable XML.
    """

    def __init__(self, text: str, kind: Kind) -> None:
        self._text = text
        self.normal = parse_xml(text)
        self._in_order = list(self.normal.iter())
        normalise(self.normal, kind)
        self.node = Node(self.normal)

    @property
    def root(self) -> Element:
        """The definition as it is."""
        return self._whole[0]

    @property
    def originals(self) -> dict[Element, Element]:
        """The way from the elements of the normal form back to those of `root`."""
        return self._whole[1]

    @cached_property
    def _whole(self) -> tuple[Element, dict[Element, Element]]:
        root = parse_xml(self._text)
        return root, dict(zip(self._in_order, root.iter(), strict=True))


class Document:
    """A definition opened for comparison.

    Attributes:
        fields: by path.
        elements: the normalised ones, by path; `originals` leads from them back to the elements of `root`.
        members: paths of what comes and goes as a whole.
    """

    def __init__(self, opened: Opened, names: Mapping[Node, str], kind: Kind) -> None:
        self._opened = opened
        self.fields: dict[str, str] = {}
        self.elements: dict[str, Element] = {}
        self.members: set[str] = set()
        self._flatten(opened.node, "", root_of(kind), names)

    @property
    def root(self) -> Element:
        """The definition as it is."""
        return self._opened.root

    @property
    def normal(self) -> Element:
        """Its normal form."""
        return self._opened.normal

    @property
    def originals(self) -> dict[Element, Element]:
        """The way from the elements of the normal form back to those of `root`."""
        return self._opened.originals

    @cached_property
    def leaves(self) -> dict[str, tuple[str, str | None]]:
        """Where each field is: the path of its element, and the attribute unless it is the text."""
        return {path: (path, None) if path in self.elements else _leaf(path) for path in self.fields}

    def _flatten(self, node: Node, path: str, place: Place, names: Mapping[Node, str]) -> None:
        self.elements[path] = node.element
        member = bool(path) and is_member(place)
        if member:
            self.members.add(path)
        if path and (node.text or member or not (node.said or node.children)):
            self.fields[path] = node.text or ""
        for name, value in node.said.items():
            self.fields[f"{path}@{name}"] = value
        for child in node.children:
            where = f"{path}/{names[child]}" if path else names[child]
            self._flatten(child, where, below(place, child.tag), names)


def _leaf(path: str) -> tuple[str, str | None]:
    """The path of the element that has an attribute, and the attribute: no name of one has an `@` in it."""
    where, _, attribute = path.rpartition("@")
    return where, attribute


def fields(xml: str, kind: Kind) -> dict[str, str]:
    """The fields of a definition by path.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    return read_documents([xml], kind)[0].fields


def differences(desired: str, base: str | None, observed: str, kind: Kind) -> tuple[FieldDifference, ...]:
    """What must change in `observed` for `desired` to hold.

    `base` is what was declared when the object was last applied, None if that is not known.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    return compare(desired, base, observed, kind).differences


def compare(desired: str, base: str | None, observed: str, kind: Kind) -> Comparison:
    """As `differences`, with the fields that were compared.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    return compare_documents(*read_documents([desired, base or f"<{kind}/>", observed], kind))


def compare_documents(desired: Document, base: Document, observed: Document) -> Comparison:
    """Compare documents that were opened together."""
    declared = (
        FieldDifference(path, observed.fields.get(path), value)
        for path, value in desired.fields.items()
        if not _satisfied(path, value, observed.fields.get(path))
        and not (path == "currentMemory" and _have_all(desired, observed))
        and not (path not in observed.fields and _ASSUMED.get(plain(path)) in {value, ""})
        and not is_beneath(path, desired.fields, observed.fields)
    )
    removed = (
        FieldDifference(path, observed.fields[path], None)
        for path in base.fields
        if path not in desired.fields
        and path in observed.fields
        and path not in _KEPT
        and not _is_filled_in(plain(path), observed.fields[path])
        and not _is_implied(path, observed)
    )
    found = _whole_members([*declared, *removed], desired, observed)
    return Comparison(
        desired.fields, base.fields, observed.fields, tuple(sorted(found, key=lambda d: d.path))
    )


def open_documents(texts: Iterable[str], kind: Kind) -> list[Document]:
    """Parse, normalise and flatten definitions, naming their members together; earlier ones give the names.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    return _named_together([Opened(text, kind) for text in texts], kind)


def read_documents(texts: Iterable[str], kind: Kind, own: int = -1) -> list[Document]:
    """As `open_documents`, for those who change nothing but in the one at `own`.

    A text that was read a moment ago is not read anew.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    opened = [(Opened if place == own else _read)(text, kind) for place, text in enumerate(texts)]
    return _named_together(opened, kind)


def _named_together(opened: list[Opened], kind: Kind) -> list[Document]:
    names = name_nodes([each.node for each in opened], kind)
    return [Document(each, names, kind) for each in opened]


def plain(path: str) -> str:
    """A path without the names of members: `devices/disk[data]@type` -> `devices/disk@type`."""
    return re.sub(r"\[[^\]]*\]|#[0-9]+", "", path)


def member_name(path: str) -> str:
    """The name of the first member that a path leads through: `data` in `devices/disk[data]@type`."""
    match = re.search(r"\[([^\]]*)\]", path)
    return match[1] if match else ""


def device_key(path: str) -> str:
    """The key of the device that a path belongs to: `disk[data]`; empty if it belongs to none."""
    match = re.match(r"devices/([^/@\[#]+(?:\[[^\]]*\])?(?:#[0-9]+)?)", path)
    return match[1] if match else ""


_read = lru_cache(maxsize=128)(Opened)  # a step compares the same few texts again and again


def _whole_members(
    found: list[FieldDifference], desired: Document, observed: Document
) -> Iterator[FieldDifference]:
    """A member that comes or goes is one difference, not one for each of its fields."""
    whole = {d.path for d in found if (d.path in desired.members) != (d.path in observed.members)}
    for difference in found:
        if any(difference.path.startswith((f"{path}/", f"{path}@")) for path in whole):
            continue  # a sibling's distance comes with its NUMA cell
        if difference.path in whole:
            before, after = observed.elements.get(difference.path), desired.elements.get(difference.path)
            yield FieldDifference(difference.path, describe(before), describe(after))
        else:
            yield difference


# -- values that satisfy each other though their texts differ ------------------------------------------------

_MACHINE_PREFIXES = {
    "q35": "pc-q35-",
    "ubuntu-q35": "pc-q35-",
    "pc": "pc-i440fx-",
    "ubuntu": "pc-i440fx-",
    "virt": "virt-",
    "pseries": "pseries-",
    "s390-ccw-virtio": "s390-ccw-virtio-",
}


def _machine(declared: str, observed: str) -> bool:
    """An alias is resolved when the domain is defined and stays so (virQEMUCapsGetCanonicalMachine)."""
    prefix = _MACHINE_PREFIXES.get(declared)
    return prefix is not None and observed.startswith(prefix)


def _any(declared: str, observed: str) -> bool:
    """An identity that is not given is libvirt's to make (virDomainDefParseXML)."""
    return not declared


_SATISFIES: Mapping[str, Callable[[str, str], bool]] = {"os/type@machine": _machine, "genid": _any}


def _satisfied(path: str, declared: str, observed: str | None) -> bool:
    if observed is None or declared == observed:
        return observed is not None
    rule = _SATISFIES.get(plain(path))
    return rule is not None and rule(declared, observed)


def _have_all(one: Document, other: Document) -> bool:
    """Whether guests of the same memory have all of it and of what is plugged in: then only a module differs."""
    memory = one.fields.get("memory", "")
    return (
        memory.isdecimal()
        and other.fields.get("memory") == memory
        and all(
            document.fields["currentMemory"] == str(int(memory) + plugged_in(document.normal))
            for document in (one, other)
        )
    )


# What holds where the host says nothing: a cable is plugged in, the first port is number 0. An alias is how a disk is
# found, not what it is: one that is found by its file or target keeps the alias that it has, for a running guest cannot
# be given another.
_ASSUMED: Mapping[str, str] = {
    "devices/interface/link@state": "up",
    "devices/serial/target@port": "0",
    "devices/interface@managed": "no",
    "devices/graphics@fullscreen": "no",
    "devices/disk/source/host@transport": "tcp",
    "os/nvram/source/host@transport": "tcp",
    "cpu/numa/cell/cache@associativity": "none",
    "cpu/numa/cell/cache@policy": "none",
    "features/hyperv/stimer/direct@state": "off",
    "features/hyperv@mode": "custom",
    **{f"features/hyperv/{name}@state": "off" for name in ENLIGHTENMENTS},
    "numatune/memory@placement": "static",
    "devices/disk/alias@name": "",
    "devices/sound/alias@name": "",
}


def goes_without_saying(path: str, value: str) -> bool:
    """Whether a field with this value says no more than nothing does."""
    return _ASSUMED.get(plain(path)) == value


# What stays when it leaves the declaration: a firmware's variables are where they are.
_KEPT = frozenset({"os/nvram"})
_LAYER = re.compile(r"(devices/disk(?:\[[^\]]*\])?(?:#[0-9]+)?)/(?:source@file|driver@type)")


def is_beneath(path: str, desired: Mapping[str, str], observed: Mapping[str, str]) -> bool:
    """Whether a field speaks of the file of a disk that snapshots put others on: it is there, a few layers down."""
    match = _LAYER.fullmatch(path)
    layer = f"{match[1]}/backingStore" if match else ""
    declared = desired.get(f"{match[1]}/source@file") if match else None
    while (file := observed.get(f"{layer}/source@file")) is not None:
        if file == declared:
            return True
        layer += "/backingStore"
    return False


# What libvirt writes where nothing is said: a field that left the declaration looks like this when it has gone.
FILLED_IN: Mapping[str, str] = {
    "on_poweroff": "destroy",
    "on_reboot": "restart",
    "on_crash": "destroy",
    "devices/video/model@heads": "1",
    "devices/serial/target@port": "0",
    **{  # a burst lasts a second
        f"devices/disk/iotune/{way}_{unit}_sec_max_length": "1"
        for way in ("total", "read", "write")
        for unit in ("bytes", "iops")
    },
}
_CHOSEN: Mapping[str, frozenset[str]] = {  # by the model of the card (virDomainVideoDefaultRAM)
    "devices/video/model@ram": frozenset({"65536"}),
    "devices/video/model@vram": frozenset({"16384", "65536"}),
    "devices/video/model@vgamem": frozenset({"16384"}),
}


def _is_filled_in(path: str, value: str) -> bool:
    return value == FILLED_IN.get(path) or value in _CHOSEN.get(path, ())


def _is_implied(path: str, observed: Document) -> bool:
    """Whether a field is of what a guest may have without being asked: a free port, or a sound backend of its own.

    (qemuDomainDefAddImplicitAudio)
    """
    if path.startswith("devices/controller[hotplug"):
        return True
    if not path.startswith("devices/audio["):
        return False
    audio = observed.elements[f"devices/{device_key(path)}"]
    chosen = "spice" if "devices/graphics[spice]" in observed.fields else "none"
    return audio.get("type") == chosen and not len(audio)


# -- a member in a few words ---------------------------------------------------------------------------------

_RANGE = ("@start", "@end")
_DESCRIPTIONS = (
    ("source@file",),
    ("source@bridge", "model@type"),
    ("source@network", "model@type"),
    ("source@dev",),
    ("source@bridge",),
    ("source@network",),
    ("target@name",),
    ("lockspace", "target@path"),
    ("@address", "@prefix"),
    _RANGE,
    ("@mac", "@ip"),
    ("@ip", "hostname"),
    ("@service", "@protocol", "@target"),
    ("@name", "@value"),
    ("@type", "listen@address"),
    ("@model", "@action"),
    ("@model",),
    ("model@type",),
    ("@type", "@bus"),
    ("@type",),
    ("@policy",),
    ("@cpuset",),
    ("@size",),
    ("@name",),
)


def describe(element: Element | None) -> str | None:
    """What a member is, in a few words: a disk's file, a NIC's network and model."""
    if element is None:
        return None
    node = Node(element)
    for parts in _DESCRIPTIONS:
        values = [key_of(node, (part,)) for part in parts]
        if all(values):
            return ("-" if parts is _RANGE else " ").join(value for value in values if value)
    return element.text or "present"
