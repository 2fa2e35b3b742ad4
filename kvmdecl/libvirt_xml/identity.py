"""Which member of a list is which: devices and the like are found by what they are, never by their place.

Members are named in all documents together. A disk that is declared as `data` is `disk[data]` in what is
observed too, even where only its source tells that it is the same.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.nodes import Node, Place, below, root_of
from kvmdecl.libvirt_xml.pairing import cheapest, in_order
from kvmdecl.libvirt_xml.ports import free_port
from kvmdecl.state import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmdecl.libvirt_xml.safe import Element

Key = tuple[str, ...]
"""Where a key's parts are: `@name` an attribute, `mac@address` a child's, `serial` a child's text."""

FREE_PORT = "?"
"""A part of a key that is nowhere: whether nothing is plugged into a port (`ports.free_port`)."""

_DEVICES = {
    # A disk's alias is the name that the manifest gives it; serial, source and target may all change.
    "disk": (
        ("alias@name",),
        ("serial",),
        ("source@file",),
        ("source@dev",),
        ("source@pool", "source@volume"),
        ("source@protocol", "source@name"),
        ("target@dev",),
    ),
    "interface": (("mac@address",),),
    "channel": (("target@name",),),
    "controller": (
        ("@type", "@index"),
        ("@type", "@index", "@model"),  # companions of a USB 2 controller share the others
        ("alias@name",),
        (FREE_PORT,),
    ),
    "graphics": (("@type",),),
    "input": (("source@evdev",), ("source@dev",), ("@type", "@bus")),
    "sound": (("alias@name",), ("@model",)),
    "audio": (("@id",),),
    "filesystem": (("target@dir",),),
    "lease": (("key",),),
    "memory": (("alias@name",),),
    "shmem": (("@name",),),
    "hostdev": (
        ("source/address@domain", "source/address@bus", "source/address@slot", "source/address@function"),
        ("source/address@uuid",),
        ("source/vendor@id", "source/product@id"),
        ("source/address@bus", "source/address@device"),
        ("source/adapter@name", "source/address@bus", "source/address@target", "source/address@unit"),
        ("source@wwpn",),
    ),
}

_QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
_LINK = ("@initiator", "@target", "@type")

KEYS: Mapping[tuple[Kind, str], tuple[Key, ...]] = {
    **{(Kind.DOMAIN, f"devices/{tag}"): keys for tag, keys in _DEVICES.items()},
    (Kind.DOMAIN, "seclabel"): (("@model",),),
    (Kind.DOMAIN, "os/firmware/feature"): (("@name",),),
    (Kind.DOMAIN, "os/initenv"): (("@name",),),
    (Kind.DOMAIN, "cpu/feature"): (("@name",),),
    (Kind.DOMAIN, "cpu/numa/cell"): (("@id",),),
    (Kind.DOMAIN, "cpu/numa/cell/distances/sibling"): (("@id",),),
    (Kind.DOMAIN, "cpu/numa/cell/cache"): (("@level",),),
    **{
        (Kind.DOMAIN, f"cpu/numa/interconnects/{tag}"): (("@initiator", "@target", "@type", "@cache"), _LINK)
        for tag in ("latency", "bandwidth")
    },
    (Kind.DOMAIN, "clock/timer"): (("@name",),),
    (Kind.DOMAIN, "keywrap/cipher"): (("@name",),),
    (Kind.DOMAIN, "idmap/uid"): (("@start",),),
    (Kind.DOMAIN, "idmap/gid"): (("@start",),),
    (Kind.DOMAIN, "cputune/vcpupin"): (("@vcpu",),),
    (Kind.DOMAIN, "cputune/iothreadpin"): (("@iothread",),),
    (Kind.DOMAIN, "cputune/vcpusched"): (("@vcpus",),),
    (Kind.DOMAIN, "cputune/iothreadsched"): (("@iothreads",),),
    (Kind.DOMAIN, "cputune/cachetune"): (("@vcpus",),),
    (Kind.DOMAIN, "cputune/cachetune/cache"): (("@id", "@level", "@type"),),
    (Kind.DOMAIN, "cputune/cachetune/monitor"): (("@vcpus", "@level"),),
    (Kind.DOMAIN, "cputune/memorytune"): (("@vcpus",),),
    (Kind.DOMAIN, "cputune/memorytune/node"): (("@id",),),
    (Kind.DOMAIN, "memoryBacking/hugepages/page"): (("@size",),),
    (Kind.DOMAIN, "numatune/memnode"): (("@cellid",),),
    (Kind.DOMAIN, "vcpus/vcpu"): (("@id",),),
    (Kind.DOMAIN, "iothreadids/iothread"): (("@id",),),
    (Kind.DOMAIN, "blkiotune/device"): (("path",),),
    (Kind.DOMAIN, "perf/event"): (("@name",),),
    (Kind.DOMAIN, "sysinfo"): (("@type",),),
    **{
        (Kind.DOMAIN, f"sysinfo/{tag}entry"): (("@name",),)
        for tag in ("", "bios/", "system/", "baseBoard/", "chassis/")
    },
    (Kind.DOMAIN, "devices/graphics/channel"): (("@name",),),
    (Kind.DOMAIN, "devices/disk/source/host"): (("@name", "@port"), ("@name",), ("@socket",)),
    (Kind.DOMAIN, "devices/interface/vlan/tag"): (("@id",),),
    (Kind.DOMAIN, f"{_QEMU}commandline/{_QEMU}env"): (("@name",),),
    (Kind.DOMAIN, f"{_QEMU}capabilities/{_QEMU}add"): (("@capability",),),
    (Kind.DOMAIN, f"{_QEMU}capabilities/{_QEMU}del"): (("@capability",),),
    (Kind.DOMAIN, f"{_QEMU}override/{_QEMU}device"): (("@alias",),),
    (Kind.DOMAIN, f"{_QEMU}override/{_QEMU}device/{_QEMU}frontend/{_QEMU}property"): (("@name",),),
    (Kind.DOMAIN, "devices/interface/filterref/parameter"): (("@name", "@value"),),
    (Kind.NETWORK, "portgroup"): (("@name",),),
    # The first of IPv4 has no name: most networks have no other, and its subnet may change.
    (Kind.NETWORK, "ip"): (("@family",),),
    (Kind.NETWORK, "forward/interface"): (("@dev",),),
    (Kind.NETWORK, "ip/dhcp/range"): (("@start", "@end"),),
    (Kind.NETWORK, "ip/dhcp/host"): (("@mac",), ("@id",), ("@name",)),
    (Kind.NETWORK, "forward/pf"): (("@dev",),),
    (Kind.NETWORK, "forward/address"): (("@domain", "@bus", "@slot", "@function"),),
    (Kind.NETWORK, "route"): (("@address", "@prefix"), ("@address",)),
    (Kind.NETWORK, "vlan/tag"): (("@id",),),
    (Kind.NETWORK, "portgroup/vlan/tag"): (("@id",),),
    (Kind.NETWORK, "dns/host"): (("@ip",),),
    (Kind.NETWORK, "dns/txt"): (("@name",),),
    (Kind.NETWORK, "dns/srv"): (("@service", "@protocol", "@target"),),
    (Kind.NETWORK, "dns/forwarder"): (("@domain", "@addr"), ("@addr",), ("@domain",)),
    (Kind.POOL, "source/host"): (("@name", "@port"), ("@name",)),
    (Kind.POOL, "source/device"): (("@path",),),
}

_NO_BRACKETS = str.maketrans("[]", "()")  # a path is read again: brackets are its own

_Slot = dict[int, Node]
"""One member, as each document has it."""


@lru_cache(maxsize=8192)
def is_member(place: Place) -> bool:
    """Whether elements at this place come and go as a whole."""
    path = place.path
    return bool(_keys_at(place)) or (
        path.startswith("devices/") and path.count("/") == 1 and path != "devices/emulator"
    )


@lru_cache(maxsize=8192)
def _keys_at(place: Place) -> tuple[Key, ...]:
    return KEYS.get((place.kind, place.path), ())


def name_nodes(roots: Sequence[Node], kind: Kind) -> dict[Node, str]:
    """Name every node below the roots by its tag and key: `disk[data]`, `memory`, `serial#2`."""
    names: dict[Node, str] = {}
    _name_children(dict(enumerate(roots)), root_of(kind), names)
    return names


def read_key(element: Element, key: Key) -> str | None:
    """The value of a key, None unless all of its parts are there."""
    return key_of(Node(element), key)


def key_of(node: Node, key: Key) -> str | None:
    """As `read_key`, and noted for whoever asks again."""
    if key not in node.values:
        parts = [_part(node, part) for part in key]
        node.values[key] = ":".join(part for part in parts if part) if all(parts) else None
    return node.values[key]


def _part(node: Node, where: str) -> str | None:
    if where == FREE_PORT:
        return free_port(node.element)
    tags, attribute = _way(where)
    found = node.find(tags)
    if found is None:
        return None
    return found.said.get(attribute) if attribute else found.text


@lru_cache
def _way(where: str) -> tuple[tuple[str, ...], str]:
    """The path to a part of a key, and the attribute unless it is a text."""
    path, _, attribute = where.partition("@")
    return tuple(path.split("/")) if path else (), attribute


def _name_children(parents: _Slot, place: Place, names: dict[Node, str]) -> None:
    groups: dict[str, dict[int, list[Node]]] = {}
    for index, parent in parents.items():
        for child in parent.children:
            groups.setdefault(child.tag, {}).setdefault(index, []).append(child)
    for tag, group in groups.items():
        there = below(place, tag)
        keys = _keys_at(there)
        used: dict[str, int] = {}
        for slot in _match(group, keys):
            label = _label(slot, keys) if keys else None
            segment = f"{tag}[{label}]" if label else tag
            used[segment] = used.get(segment, 0) + 1
            name = segment if used[segment] == 1 else f"{segment}#{used[segment]}"
            names.update(dict.fromkeys(slot.values(), name))
            if any(node.children for node in slot.values()):
                _name_children(slot, there, names)


def _match(groups: Mapping[int, Sequence[Node]], keys: tuple[Key, ...]) -> list[_Slot]:
    """Bring the members of all documents together.

    By the strongest key first, and by a value that several have only after all others, each with the one that it is
    most like. So are those that have no key, in their order.
    """
    if not keys and all(len(members) <= 1 for members in groups.values()):
        alone = {index: members[0] for index, members in groups.items() if members}
        return [alone] if alone else []
    slots: list[_Slot] = []  # in the order in which they were found, which names them
    order: list[_Slot] = []  # in that of the documents
    for index, members in groups.items():
        left = list(members)
        for key in keys if slots else ():
            left = _match_by(index, left, slots, key)
        for key in keys if slots and left else ():
            left = _match_shared(index, left, slots, key, keys)
        slots += _match_in_order(index, left, order, keys)
    return slots


def _match_by(index: int, members: list[Node], slots: list[_Slot], key: Key) -> list[Node]:
    """Put members into the slots that have the same value of `key`, where one of each has it; returns the others."""
    taken = set()
    for alike, free in _alike(index, members, slots, key):
        if len(alike) == len(free) == 1:
            free[0][index] = alike[0]
            taken.add(alike[0])
    return [member for member in members if member not in taken]


def _match_shared(
    index: int, members: list[Node], slots: list[_Slot], key: Key, keys: tuple[Key, ...]
) -> list[Node]:
    """As `_match_by`, of values that several have: each goes to the slot that it is most like.

    Such a value alone makes nobody the same: whose other keys say something else, is another one.
    """
    taken = set()
    for alike, free in _alike(index, members, slots, key):
        for slot, member in _most_alike(free, alike):
            if not any(_contradicts(slot, member, other) for other in keys):
                slot[index] = member
                taken.add(member)
    return [member for member in members if member not in taken]


def _alike(
    index: int, members: list[Node], slots: list[_Slot], key: Key
) -> Iterator[tuple[list[Node], list[_Slot]]]:
    """Members and slots without one of this document that have the same value of `key`."""
    open_slots: dict[str, list[_Slot]] = {}
    for slot in slots:
        for value in {key_of(other, key) for other in slot.values()} if index not in slot else ():
            if value is not None:
                open_slots.setdefault(value, []).append(slot)
    having: dict[str, list[Node]] = {}
    for member in members if open_slots else ():
        if (value := key_of(member, key)) in open_slots:
            having.setdefault(value, []).append(member)
    for value, alike in having.items():
        yield alike, [slot for slot in open_slots[value] if index not in slot]


def _contradicts(slot: _Slot, member: Node, key: Key) -> bool:
    own, theirs = key_of(member, key), {key_of(other, key) for other in slot.values()} - {None}
    return own is not None and bool(theirs) and own not in theirs


def _most_alike(slots: Sequence[_Slot], members: Sequence[Node]) -> list[tuple[_Slot, Node]]:
    """Which member takes which slot, of those that no key tells apart: with the fewest things said otherwise in all."""
    wanted = [[_said(node) for node in slot.values()] for slot in slots]
    costs = [
        [
            min(len(one - said) * _UNSAID + len(said - one) * _MORE for one in slot) + abs(row - column)
            for column, slot in enumerate(wanted)
        ]
        for row, said in enumerate(map(_said, members))
    ]
    return [(slots[column], members[row]) for row, column in cheapest(costs)]


def _match_in_order(
    index: int, members: list[Node], order: list[_Slot], keys: tuple[Key, ...]
) -> list[_Slot]:
    """Members that nothing identifies take slots that nothing identifies; returns the new ones of the rest."""
    nameless = [
        slot for slot in order if index not in slot and not any(_identified(e, keys) for e in slot.values())
    ]
    if len(nameless) == len(members):
        taken = {number: number for number in range(len(members))}
    else:
        wanted = [_said(next(iter(slot.values()))) for slot in nameless]
        said = [_said(member) for member in members] if nameless else []
        taken = in_order(len(said), len(wanted), lambda member, slot: len(wanted[slot] - said[member]))
    new, place = [], 0
    for number, member in enumerate(members):
        slot = nameless[taken[number]] if number in taken else {}
        slot[index] = member
        if number in taken:
            place = next(where for where, other in enumerate(order) if other is slot)
        else:
            order.insert(place, slot)
            new.append(slot)
        place += 1
    return new


_UNSAID, _MORE = 1_000_000, 1_000  # what a slot says counts first, then what it does not say, then the order


def _said(node: Node, path: str = "") -> frozenset[str]:
    """What a node says, with everything below it, wherever in it that stands."""
    said = {f"{path}@{name}={value}" for name, value in node.said.items()}
    if node.text:
        said.add(f"{path}={node.text}")
    return frozenset(said).union(*(_said(child, f"{path}/{child.tag}") for child in node.children))


def _identified(node: Node, keys: tuple[Key, ...]) -> bool:
    return any(key_of(node, key) is not None for key in keys)


def _label(slot: _Slot, keys: tuple[Key, ...]) -> str | None:
    for node in slot.values():
        for key in keys:
            if value := key_of(node, key):
                return value.removeprefix("ua-").translate(_NO_BRACKETS)
    return None
