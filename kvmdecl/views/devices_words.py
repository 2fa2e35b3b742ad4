"""What devices of hosts are told in, as text and as a picture: a line for each, in the order of a tree."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from kvmdecl.devicemap import NO_IOMMU, Hold, Verdict
from kvmdecl.text import safe_text, set_of
from kvmdecl.views.map_words import name_of
from kvmdecl.views.plan_text import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmdecl.devicemap import MappedDevices, MappedFunction, MappedMdev, Owner
    from kvmdecl.nodedevs import MdevType, Use
    from kvmdecl.pci import Function

MARKS = {
    Verdict.FREE: ("+", "free"),
    Verdict.MAYBE: ("?", "perhaps the host's"),
    Verdict.TAKEN: ("#", "taken"),
    Verdict.HOST: ("-", "the host's"),
    Verdict.NEVER: (" ", ""),
}
_HOLDS = {Hold.NOW: "", Hold.WHEN_STARTED: " (off)", Hold.PLANNED: " (planned)"}
_SHOWN = 4
_LONGEST_TITLE = 120
_ADDRESS = re.compile(r"\b0000:(?=[0-9a-f]{2}:[01][0-9a-f]\.[0-7])")


@dataclass(frozen=True, slots=True)
class Row:
    """A device, or several virtual functions that differ in nothing but their addresses.

    Attributes:
        depth: how many are above it in the tree.
        verdict: whether guests can be given it.
        group: numbers of IOMMU groups; empty for none.
        name: what it is called: an address, or numbers of bus and device.
        what: what it is.
        says: who has it, what stands against it, what goes along.
        tip: what there is to know besides.
    """

    depth: int
    verdict: Verdict
    group: str
    name: str
    what: str
    says: str = ""
    tip: str = ""

    @property
    def told(self) -> str:
        """What it is, and what is to be said of it."""
        return ": ".join(filter(None, (self.what, self.says)))


def head_words(host: MappedDevices) -> str:
    """`IOMMU on, 26 PCI functions in 24 groups, 1 USB device`."""
    hubs = sum(usb.device.is_hub for usb in host.usb)
    parts = [f"IOMMU {'on' if host.iommu else 'off'}", count(len(host.functions), "PCI function")]
    parts[-1] += f" in {count(len(host.groups), 'group')}" if host.groups else ""
    parts += [count(len(host.usb) - hubs, "USB device")] if len(host.usb) > hubs else []
    if host.vfio is False:
        parts.append("vfio not offered by its libvirt")
    return ", ".join(parts)


def pci_rows(host: MappedDevices) -> Iterator[Row]:
    """The PCI functions, each with the mediated devices that are made of it."""
    depths = _depths(host.functions)
    types, made = _by_parent(host)
    short = all(of.function.address.startswith("0000:") for of in host.functions)
    for _, alike in groupby(host.functions, key=_alike):
        functions = list(alike)
        first = functions[0]
        address, depth = first.function.address, depths[first.function.address]
        row = _pci_row(functions, depth)
        yield _shortened(row) if short else row
        yield from _mdev_rows(types.get(address, ()), made.get(address, ()), depth + 1)


def other_mdev_rows(host: MappedDevices) -> Iterator[Row]:
    """Mediated devices, and types of such, of what is no PCI function."""
    types, made = _by_parent(host)
    functions = {of.function.address for of in host.functions}
    for parent in sorted({*types, *made} - functions):
        yield Row(0, Verdict.NEVER, "", name_of(parent), "")
        yield from _mdev_rows(types.get(parent, ()), made.get(parent, ()), 1)


def usb_rows(host: MappedDevices) -> Iterator[Row]:
    """The USB devices that are no hubs."""
    for usb in host.usb:
        device = usb.device
        if not device.is_hub:
            place = f"{device.bus}.{device.device}"
            what = f"{name_of(device.vendor)}:{name_of(device.product)} {_title(device.title)}".strip()
            yield Row(0, usb.verdict, "", place, what, _says(usb.verdict, usb.why, usb.owners))


def _pci_row(alike: Sequence[MappedFunction], depth: int) -> Row:
    """One function, or several that differ in their addresses alone."""
    first, last = alike[0], alike[-1]
    function = first.function
    groups = [of.function.group for of in alike if of.function.group is not None]
    parts = [_title(function.title) if function.title else f"{function.vendor}:{function.product}".strip(":")]
    if len(alike) > 1:
        parts[0] = f"{len(alike)} of {parts[0]}"
    parts += [name_of(function.driver)] if function.driver and not function.is_bridge else []
    parts += [f"cell {function.cell}"] if function.cell is not None and not function.is_bridge else []
    if function.max_virtual or function.virtual:
        of = f" of {function.max_virtual}" if function.max_virtual else ""
        parts.append(f"{len(function.virtual)}{of} virtual functions")
    if first.verdict in {Verdict.FREE, Verdict.TAKEN} and len(alike) == 1:
        parts += map(_use, function.uses)
    return Row(
        depth,
        first.verdict,
        set_of(groups) if groups else "",
        name_of(function.address) + (f" to {_last(last.function)}" if len(alike) > 1 else ""),
        ", ".join(filter(None, parts)),
        "" if first.why == NO_IOMMU else _says(first.verdict, first.why, first.owners, first.along),
        _tip(first),
    )


def _last(function: Function) -> str:
    return name_of(function.address.rpartition(":")[2])


def _shortened(row: Row) -> Row:
    """Without the PCI domain where that is 0000 all over the host."""
    return replace(row, name=_ADDRESS.sub("", row.name), says=_ADDRESS.sub("", row.says))


def _says(verdict: Verdict, why: str, owners: Iterable[Owner], along: Sequence[str] = ()) -> str:
    told = [*map(owner_words, owners), safe_text(why)]
    if verdict in {Verdict.FREE, Verdict.MAYBE} and along:
        more = f" and {len(along) - _SHOWN} more" if len(along) > _SHOWN else ""
        told[-1] = told[-1].replace(" of its group:", ":")
        told.insert(0, safe_text(f"with {', '.join(along[:_SHOWN])}{more} of its group"))
    return "; ".join(filter(None, told))


def owner_words(owner: Owner) -> str:
    """`train`, `train (off)`, `guest old, not in the manifest`, `network fast`."""
    kind, _, name = owner.id.partition("/")
    told = name_of(name) if kind == "vm" else f"{'guest' if kind == 'domain' else kind} {name_of(name)}"
    return f"{told}{_HOLDS[owner.hold]}" + (", not in the manifest" if kind == "domain" else "")


def _title(title: str) -> str:
    """What a device is, in its maker's words, which are many at times."""
    return safe_text(title if len(title) <= _LONGEST_TITLE else title[:_LONGEST_TITLE] + "...")


def _use(use: Use) -> str:
    return f"{name_of(use.name)} {name_of(use.link)}".strip()


def _tip(of: MappedFunction) -> str:
    """What a picture says where it is pointed at."""
    function = of.function
    parts = [function.address, f"{function.vendor}:{function.product}", f"class {function.class_code}"]
    parts += [f"part {function.part}"] if function.part else []
    parts += [f"serial number {function.serial}"] if function.serial else []
    if function.link is not None and function.link.max_width:
        link = function.link
        parts.append(
            f"PCI Express x{link.width} at {link.speed:g} of x{link.max_width} at {link.max_speed:g} GT/s"
        )
    return safe_text(", ".join(parts))


# -- the tree ------------------------------------------------------------------------------------------------


def _alike(of: MappedFunction) -> object:
    """The same for virtual functions that can stand in one line; others are told one by one."""
    function = of.function
    if not function.physical:
        return function.address
    same = (function.physical, function.product, function.driver, function.cell)
    return (*same, of.verdict, of.why, of.along, of.owners)


def _depths(functions: Iterable[MappedFunction]) -> Mapping[str, int]:
    """How deep each is: they come in the order of a tree."""
    depths: dict[str, int] = {}
    for of in functions:
        function = of.function
        above = function.physical if function.physical in depths else function.upstream
        depths[function.address] = depths.get(above, -1) + 1
    return depths


def _by_parent(host: MappedDevices) -> tuple[Mapping[str, list[MdevType]], Mapping[str, list[MappedMdev]]]:
    types: defaultdict[str, list[MdevType]] = defaultdict(list)
    made: defaultdict[str, list[MappedMdev]] = defaultdict(list)
    for type_ in host.mdev_types:
        types[type_.parent].append(type_)
    for of in host.mdevs:
        made[of.mdev.parent].append(of)
    return types, made


def _mdev_rows(types: Iterable[MdevType], made: Iterable[MappedMdev], depth: int) -> Iterator[Row]:
    for type_ in types:
        title = f" ({_title(type_.title)})" if type_.title.lower() not in {"", type_.id.lower()} else ""
        yield Row(depth, Verdict.NEVER, "", name_of(type_.id), f"{type_.available} more can be made{title}")
    for of in made:
        mdev = of.mdev
        group = "" if mdev.group is None else str(mdev.group)
        what = name_of(mdev.uuid) + ("" if mdev.active else ", only defined")
        yield Row(depth, of.verdict, group, name_of(mdev.type), what, _says(of.verdict, "", of.owners))
