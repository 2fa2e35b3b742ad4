"""Which member of a list is which: devices and the like are found by what they are, never by their place.

Members are named in all documents together. A disk that is declared as `data` is `disk[data]` in what is
observed too, even where only its source tells that it is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.safe import Element
from kvmdecl.state import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Key = tuple[str, ...]
"""Where a key's parts are: `@name` an attribute, `mac@address` a child's, `serial` a child's text."""

_DEVICES = {
    # A disk's alias is the name that the manifest gives it; serial, source and target may all change.
    "disk": (
        ("alias@name",),
        ("serial",),
        ("source@file",),
        ("source@dev",),
        ("source@pool", "source@volume"),
        ("target@dev",),
    ),
    "interface": (("mac@address",),),
    "channel": (("target@name",),),
    "controller": (("@type", "@index"),),
    "graphics": (("@type",),),
    "input": (("@type", "@bus"),),
    "sound": (("alias@name",),),
    "audio": (("@id",),),
    "filesystem": (("target@dir",),),
    "shmem": (("@name",),),
    "hostdev": (
        ("source/address@domain", "source/address@bus", "source/address@slot", "source/address@function"),
        ("source/address@uuid",),
        ("source/vendor@id", "source/product@id"),
        ("source/address@bus", "source/address@device"),
    ),
}

KEYS: Mapping[tuple[Kind, str], tuple[Key, ...]] = {
    **{(Kind.DOMAIN, f"devices/{tag}"): keys for tag, keys in _DEVICES.items()},
    (Kind.DOMAIN, "os/firmware/feature"): (("@name",),),
    (Kind.DOMAIN, "cpu/feature"): (("@name",),),
    (Kind.DOMAIN, "cpu/numa/cell"): (("@id",),),
    (Kind.DOMAIN, "cpu/numa/cell/distances/sibling"): (("@id",),),
    (Kind.DOMAIN, "clock/timer"): (("@name",),),
    (Kind.DOMAIN, "cputune/vcpupin"): (("@vcpu",),),
    (Kind.DOMAIN, "cputune/iothreadpin"): (("@iothread",),),
    (Kind.DOMAIN, "cputune/vcpusched"): (("@vcpus",),),
    (Kind.DOMAIN, "cputune/iothreadsched"): (("@iothreads",),),
    (Kind.DOMAIN, "cputune/cachetune"): (("@vcpus",),),
    (Kind.DOMAIN, "cputune/cachetune/cache"): (("@id", "@level", "@type"),),
    (Kind.DOMAIN, "cputune/memorytune"): (("@vcpus",),),
    (Kind.DOMAIN, "cputune/memorytune/node"): (("@id",),),
    (Kind.DOMAIN, "memoryBacking/hugepages/page"): (("@size",),),
    (Kind.DOMAIN, "numatune/memnode"): (("@cellid",),),
    (Kind.DOMAIN, "vcpus/vcpu"): (("@id",),),
    (Kind.DOMAIN, "iothreadids/iothread"): (("@id",),),
    (Kind.DOMAIN, "blkiotune/device"): (("path",),),
    (Kind.DOMAIN, "perf/event"): (("@name",),),
    (Kind.DOMAIN, "sysinfo/bios/entry"): (("@name",),),
    (Kind.DOMAIN, "sysinfo/system/entry"): (("@name",),),
    (Kind.DOMAIN, "sysinfo/chassis/entry"): (("@name",),),
    (Kind.DOMAIN, "sysinfo/entry"): (("@name",),),
    (Kind.DOMAIN, "devices/interface/filterref/parameter"): (("@name", "@value"),),
    (Kind.NETWORK, "portgroup"): (("@name",),),
    (Kind.NETWORK, "forward/interface"): (("@dev",),),
    (Kind.NETWORK, "ip/dhcp/range"): (("@start", "@end"),),
    (Kind.NETWORK, "ip/dhcp/host"): (("@mac",), ("@id",), ("@name",)),
    (Kind.NETWORK, "dns/host"): (("@ip",),),
    (Kind.NETWORK, "dns/txt"): (("@name",),),
    (Kind.NETWORK, "dns/srv"): (("@service", "@protocol", "@target"),),
    (Kind.NETWORK, "dns/forwarder"): (("@domain", "@addr"), ("@addr",)),
}

_NO_BRACKETS = str.maketrans("[]", "()")  # a path is read again: brackets are its own

_Slot = dict[int, Element]
"""One member, as each document has it."""


def is_member(kind: Kind, path: str) -> bool:
    """Whether elements at this path come and go as a whole."""
    return (kind, path) in KEYS or (
        path.startswith("devices/") and path.count("/") == 1 and path != "devices/emulator"
    )


def name_elements(roots: Sequence[Element], kind: Kind) -> dict[Element, str]:
    """Name every element below the roots by its tag and key: `disk[data]`, `memory`, `serial#2`."""
    names: dict[Element, str] = {}
    _name_children(dict(enumerate(roots)), "", kind, names)
    return names


def read_key(element: Element, key: Key) -> str | None:
    """The value of a key, None unless all of its parts are there."""
    parts = [_part(element, part) for part in key]
    return ":".join(part for part in parts if part) if all(parts) else None


def _part(element: Element, where: str) -> str | None:
    child_path, _, attribute = where.partition("@")
    child = element.find(child_path) if child_path else element
    if child is None:
        return None
    return child.get(attribute) if attribute else child.text


def _name_children(parents: _Slot, path: str, kind: Kind, names: dict[Element, str]) -> None:
    for tag in dict.fromkeys(str(child.tag) for parent in parents.values() for child in parent):
        child_path = f"{path}/{tag}" if path else tag
        keys = KEYS.get((kind, child_path), ())
        used: dict[str, int] = {}
        for slot in _match({index: parent.findall(tag) for index, parent in parents.items()}, keys):
            label = _label(slot, keys)
            segment = f"{tag}[{label}]" if label else tag
            used[segment] = used.get(segment, 0) + 1
            name = segment if used[segment] == 1 else f"{segment}#{used[segment]}"
            names.update(dict.fromkeys(slot.values(), name))
            _name_children(slot, child_path, kind, names)


def _match(groups: Mapping[int, Sequence[Element]], keys: tuple[Key, ...]) -> list[_Slot]:
    """Bring the members of all documents together, by the strongest key first, keyless ones in order."""
    slots: list[_Slot] = []
    for index, members in groups.items():
        left = list(members)
        for key in keys:
            left = _match_by(index, left, slots, key)
        slots += _match_in_order(index, left, slots, keys)
    return slots


def _match_by(index: int, members: list[Element], slots: list[_Slot], key: Key) -> list[Element]:
    """Put members into the slots that have the same value of `key`; returns those that found none."""
    open_slots: dict[str, list[_Slot]] = {}
    for slot in slots:
        for value in {read_key(other, key) for other in slot.values()} if index not in slot else ():
            if value is not None:
                open_slots.setdefault(value, []).append(slot)
    left = []
    for member in members:
        free = [slot for slot in open_slots.get(read_key(member, key) or "", []) if index not in slot]
        if free:
            free[0][index] = member
        else:
            left.append(member)
    return left


def _match_in_order(
    index: int, members: list[Element], slots: list[_Slot], keys: tuple[Key, ...]
) -> list[_Slot]:
    """Members that nothing identifies take the first slot that nothing identifies; the rest are new."""
    new: list[_Slot] = []
    nameless = [
        slot for slot in slots if index not in slot and not any(_identified(e, keys) for e in slot.values())
    ]
    for member in members:
        if nameless:
            nameless.pop(0)[index] = member
        else:
            new.append({index: member})
    return new


def _identified(element: Element, keys: tuple[Key, ...]) -> bool:
    return any(read_key(element, key) is not None for key in keys)


def _label(slot: _Slot, keys: tuple[Key, ...]) -> str | None:
    for element in slot.values():
        for key in keys:
            if value := read_key(element, key):
                return value.removeprefix("ua-").translate(_NO_BRACKETS)
    return None
