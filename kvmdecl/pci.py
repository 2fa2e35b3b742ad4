"""A host's PCI functions, its IOMMU groups, and what the host itself does with them. Pure: facts in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmdecl.facts import HostFacts, NodeDevice

_BRIDGE_CLASS = "06"
_VFIO_DRIVERS = frozenset({"vfio-pci", "pci-stub"})


@dataclass(frozen=True, slots=True)
class Use:
    """What a host does with a PCI function, through the devices that its driver makes of it.

    Attributes:
        kind: `network` for a network interface, `disk` for a block device, `display` for a screen or GPU.
        name: the host's name for it, such as `eth0` or `/dev/nvme0n1`.
        purpose: what is known to depend on it, such as `port of bridge br0`; empty where nobody knows of anything.
    """

    kind: Literal["network", "disk", "display"]
    name: str
    purpose: str = ""


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
        is_bridge: whether it is a bridge or a port, which no guest can have.
        physical: address of the function that it is a virtual one of, empty for others.
        virtual: addresses of its virtual functions.
        max_virtual: how many of these it can have at most.
        mdev_types: types of mediated devices that it can make.
        uses: what the host does with it.
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
        while function.upstream in self.functions:
            function = self.functions[function.upstream]
            yield function


def pci_tree(facts: HostFacts) -> PciTree:
    """The PCI functions of a host, as libvirt lists them."""
    by_name = {device.name: device for device in facts.devices}
    children: dict[str, list[NodeDevice]] = {}
    for device in facts.devices:
        children.setdefault(device.parent, []).append(device)
    functions = {
        function.address: function
        for device in facts.devices
        if device.capability == "pci" and (function := _function(device, by_name, children)).address
    }
    groups: dict[int, list[Function]] = {}
    for address in sorted(functions):
        if (group := functions[address].group) is not None:
            groups.setdefault(group, []).append(functions[address])
    return PciTree(
        dict(sorted(functions.items())),
        {number: tuple(members) for number, members in sorted(groups.items())},
    )


def _function(
    device: NodeDevice, by_name: Mapping[str, NodeDevice], children: Mapping[str, list[NodeDevice]]
) -> Function:
    facts = dict(device.properties)
    code = _digits(facts.get("class", ""), 6)
    parent = by_name.get(device.parent)
    return Function(
        address=facts.get("address", ""),
        vendor=_digits(facts.get("vendor", ""), 4),
        product=_digits(facts.get("product", ""), 4),
        class_code=code,
        title=" ".join(filter(None, (facts.get("vendor_name"), facts.get("product_name")))),
        driver=facts.get("driver", ""),
        cell=_number(facts.get("numa_cell")),
        group=_number(facts.get("iommu_group")),
        upstream=dict(parent.properties).get("address", "") if parent is not None else "",
        is_bridge="bridge" in facts or code.startswith(_BRIDGE_CLASS),
        physical=facts.get("physical_function", ""),
        virtual=tuple(facts.get("virtual_functions", "").split()),
        max_virtual=_number(facts.get("max_virtual_functions")) or 0,
        mdev_types=tuple(facts.get("mdev_types", "").split()),
        uses=tuple(_uses(_below(device.name, children))),
    )


def _below(name: str, children: Mapping[str, list[NodeDevice]]) -> Iterator[NodeDevice]:
    """What the host's driver makes of a function; not the functions behind a bridge."""
    for child in children.get(name, ()):
        if child.capability != "pci":
            yield child
            yield from _below(child.name, children)


def _uses(devices: Iterable[NodeDevice]) -> Iterator[Use]:
    for device in devices:
        facts = dict(device.properties)
        if device.capability == "net":
            yield Use("network", facts.get("interface", device.name))
        elif device.capability == "storage":
            yield Use("disk", facts.get("block", device.name))
        elif device.capability == "drm" and facts.get("type") == "primary":
            yield Use("display", device.name)


def _digits(text: str, count: int) -> str:
    digits = text.removeprefix("0x").lower()
    return digits.zfill(count) if digits else ""


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
