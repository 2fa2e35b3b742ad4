"""A host's PCI functions, its IOMMU groups, and what the host itself does with them. Pure: facts in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kvmdecl.nodedevs import NodeDevices, Use, hex_digits, number_in, title_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.facts import HostFacts, NodeDevice

# PCI-to-PCI and CardBus, whose configuration space has another header. Host and ISA bridges are functions like others.
_BRIDGE_CLASSES = ("0604", "0607", "0609")
_VGA = "0300"
_VFIO_DRIVERS = frozenset({"vfio-pci", "pci-stub"})


@dataclass(frozen=True, slots=True)
class Link:
    """A PCI Express link (`pci-express/link`): gigatransfers per second and lanes, now and at most; 0 if not told."""

    speed: float = 0
    width: int = 0
    max_speed: float = 0
    max_width: int = 0


@dataclass(frozen=True, slots=True)
class Function:
    """A PCI function of a host (virNodeDevice, capability `pci`).

    Attributes:
        address: as `0000:41:00.0`.
        vendor: four hexadecimal digits, empty if not told; so are `product`, and the six of `class_code`.
        title: vendor and product in words, as the host's PCI database has them.
        driver: of the host that it is bound to, empty for none.
        cell: id of its NUMA cell, None where the firmware does not say.
        group: number of its IOMMU group, None where no IOMMU is on.
        upstream: address of the bridge or port above it, empty at the top.
        is_bridge: whether it is a bridge to another bus or a port, as its header type says. It keeps its driver when
            others of its group are passed on, and no guest can have it. Host and ISA bridges are none in this sense.
        physical: address of the function that it is a virtual one of, empty for others.
        virtual: addresses of its virtual functions.
        max_virtual: how many of these it can have at most.
        mdev_types: types of mediated devices that it can make.
        uses: what the host does with it.
        link: its PCI Express link, None where it has none or libvirt does not tell.
        part: number of the part, from its vital product data, as is `serial`; empty if it has none.
        is_told: False if libvirt names it as a member of a group and tells nothing else of it.
    """

    address: str
    vendor: str = ""
    product: str = ""
    class_code: str = ""
    title: str = ""
    driver: str = ""
    cell: int | None = None
    group: int | None = None
    upstream: str = ""
    is_bridge: bool = False
    physical: str = ""
    virtual: tuple[str, ...] = ()
    max_virtual: int = 0
    mdev_types: tuple[str, ...] = ()
    uses: tuple[Use, ...] = ()
    link: Link | None = None
    part: str = ""
    serial: str = ""
    is_told: bool = True

    @property
    def slot(self) -> str:
        """Its address without the function: functions of one slot are parts of one device."""
        return self.address.rpartition(".")[0]

    @property
    def is_held_by_host(self) -> bool:
        """Whether a driver of the host has it, which is not one that only keeps it for guests."""
        return bool(self.driver) and self.driver not in _VFIO_DRIVERS


@dataclass(frozen=True, slots=True)
class PciTree:
    """All PCI functions of a host by address, and by IOMMU group."""

    functions: Mapping[str, Function] = field(default_factory=dict)
    groups: Mapping[int, tuple[Function, ...]] = field(default_factory=dict)

    def companions(self, function: Function) -> tuple[Function, ...]:
        """Who has to go where the function goes: the others of its group, but for bridges and ports.

        The kernel lets a guest have a function only if all others of the group are with no driver of the host; bridges
        and root ports may keep theirs (Linux, vfio_iommu_group viability).
        """
        if function.group is None:
            return ()
        return tuple(f for f in self.groups[function.group] if f is not function and not f.is_bridge)

    def above(self, function: Function) -> Iterator[Function]:
        """The bridges and ports between the function and the root, the nearest first."""
        seen = {function.address}
        while (
            function.upstream in self.functions and function.upstream not in seen
        ):  # a host may answer with a ring
            function = self.functions[function.upstream]
            seen.add(function.address)
            yield function


def pci_tree(facts: HostFacts) -> PciTree:
    """The PCI functions of a host, as libvirt lists them.

    What `facts.in_use` says of interfaces and disks is the purpose of their functions' uses.
    """
    there = NodeDevices(facts)
    functions: dict[str, Function] = {}
    members: dict[str, int] = {}
    for device, properties in there.of("pci"):
        function = _function(device, properties, there)
        if function.address:
            functions[function.address] = function
        if function.group is not None:
            members |= dict.fromkeys(properties.get("iommu_members", "").split(), function.group)
    _mark_only_display(functions)
    for address, number in members.items():
        functions.setdefault(address, Function(address, group=number, is_told=False))
    groups: dict[int, list[Function]] = {}
    for address in sorted(functions):
        if (group := functions[address].group) is not None:
            groups.setdefault(group, []).append(functions[address])
    return PciTree(
        dict(sorted(functions.items())),
        {number: tuple(of) for number, of in sorted(groups.items())},
    )


def _function(device: NodeDevice, properties: Mapping[str, str], there: NodeDevices) -> Function:
    code = hex_digits(properties.get("class", ""), 6)
    return Function(
        address=properties.get("address", ""),
        vendor=hex_digits(properties.get("vendor", ""), 4),
        product=hex_digits(properties.get("product", ""), 4),
        class_code=code,
        title=title_of(properties),
        driver=properties.get("driver", ""),
        cell=number_in(properties, "numa_cell"),
        group=number_in(properties, "iommu_group"),
        upstream=there.address_of(device.parent),
        is_bridge="bridge" in properties or code.startswith(_BRIDGE_CLASSES),
        physical=properties.get("physical_function", ""),
        virtual=tuple(properties.get("virtual_functions", "").split()),
        max_virtual=number_in(properties, "max_virtual_functions") or 0,
        mdev_types=tuple(properties.get("mdev_types", "").split()),
        uses=there.uses(device),
        link=_link(properties),
        part=properties.get("vpd.part_number", ""),
        serial=properties.get("vpd.serial_number", ""),
    )


def _mark_only_display(functions: dict[str, Function]) -> None:
    """Libvirt does not tell which display the firmware chose; where there is but one, it is that."""
    displays = [function for function in functions.values() if function.class_code.startswith(_VGA)]
    if len(displays) != 1 or displays[0].driver in _VFIO_DRIVERS:
        return
    (display,) = displays
    others = tuple(use for use in display.uses if use.kind != "display")
    name = next((use.name for use in display.uses if use.kind == "display"), "console")
    only = Use("display", name, "the host's only display")
    functions[display.address] = replace(display, uses=(only, *others))


def _link(properties: Mapping[str, str]) -> Link | None:
    widths = number_in(properties, "link_width"), number_in(properties, "max_link_width")
    if widths == (None, None):
        return None
    now, most = _speed(properties.get("link_speed")), _speed(properties.get("max_link_speed"))
    return Link(now, widths[0] or 0, most, widths[1] or 0)


def _speed(text: str | None) -> float:
    """As libvirt writes it: 2.5, 5, 8, 16, 32 or 64."""
    whole, _, tenth = (text or "").partition(".")
    return (
        float(f"{whole}.{tenth or 0}")
        if f"{whole}{tenth}".isdecimal() and len(f"{whole}{tenth}") < 8
        else 0.0
    )
