"""Who has which device of a host, and which of them are free to be passed on, from facts and what exists there.

It is shown before anybody asks for a device. What a plan does with those that were asked for is judged by the checks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kvmdecl.dependents import with_uses
from kvmdecl.libvirt_xml.holders import holders
from kvmdecl.libvirt_xml.safe import BadXml, parse_xml
from kvmdecl.nodedevs import Mdev, MdevType, UsbDevice, hex_digits, mdev_types, mdevs, usb_devices
from kvmdecl.passed import passed_on
from kvmdecl.pci import Function, pci_tree
from kvmdecl.state import HostSnapshot

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from kvmdecl.cluster import ResolvedCluster, ResolvedVm
    from kvmdecl.nodedevs import Use
    from kvmdecl.pci import PciTree
    from kvmdecl.state import HostState, Observation

# Host and ISA bridges have the header of a device, but no guest has a use for one.
_OF_THE_BOARD = ("0600", "0601")
NO_IOMMU = "the IOMMU is off"
"""Why no function of such a host can be passed on."""


class Verdict(StrEnum):
    """Whether a guest can be given a device."""

    FREE = "free"
    """Nothing is known that stands against it."""
    MAYBE = "maybe"
    """libvirt cannot tell whether the host needs it."""
    TAKEN = "taken"
    """Somebody has it, or will."""
    HOST = "host"
    """The host needs it."""
    NEVER = "never"
    """No guest can have it."""


class Hold(StrEnum):
    """How an owner has a device."""

    NOW = "now"
    """It runs, and has it."""
    WHEN_STARTED = "when-started"
    """It is defined with it, and off."""
    PLANNED = "planned"
    """The manifest or the lock file gives it to it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has a device: `vm/NAME` of the manifest, `domain/NAME` or `network/NAME` of somebody else."""

    id: str
    hold: Hold


@dataclass(frozen=True, slots=True)
class MappedFunction:
    """A PCI function. `why` says what stands against it; `along` are those that have to be passed on with it."""

    function: Function
    verdict: Verdict
    why: str = ""
    along: tuple[str, ...] = ()
    owners: tuple[Owner, ...] = ()


@dataclass(frozen=True, slots=True)
class MappedUsb:
    """A USB device."""

    device: UsbDevice
    verdict: Verdict
    why: str = ""
    owners: tuple[Owner, ...] = ()


@dataclass(frozen=True, slots=True)
class MappedMdev:
    """A mediated device."""

    mdev: Mdev
    verdict: Verdict
    owners: tuple[Owner, ...] = ()


@dataclass(frozen=True, slots=True)
class MappedDevices:
    """The devices of a host. One that was not read has a reason for that and nothing else.

    `functions` stand in the order of a tree: each below its port, virtual ones below their physical one. `vfio` is None
    where domain capabilities were not read. `groups` are the members of each IOMMU group.
    """

    host: str
    iommu: bool = False
    vfio: bool | None = None
    functions: tuple[MappedFunction, ...] = ()
    groups: tuple[tuple[int, tuple[str, ...]], ...] = ()
    usb: tuple[MappedUsb, ...] = ()
    mdev_types: tuple[MdevType, ...] = ()
    mdevs: tuple[MappedMdev, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeviceMap:
    """The devices of hosts, in the manifest's order. `cluster` is empty where no manifest was read."""

    cluster: str
    hosts: tuple[MappedDevices, ...]

    @property
    def complete(self) -> bool:
        """Whether all hosts were read."""
        return not any(host.reason for host in self.hosts)


def device_map(observations: Mapping[str, Observation], cluster: ResolvedCluster | None = None) -> DeviceMap:
    """The devices of all hosts that were asked, and of whom in the cluster they are."""
    return DeviceMap(
        cluster.name if cluster is not None else "",
        tuple(
            devices_of(seen, cluster)
            if isinstance(seen, HostSnapshot)
            else MappedDevices(name, reason=seen.diagnostic.summary)
            for name, seen in observations.items()
        ),
    )


def devices_of(seen: HostSnapshot, cluster: ResolvedCluster | None = None) -> MappedDevices:
    """The devices of one host."""
    reached = {host.name: host.uri.host for host in cluster.hosts} if cluster is not None else {}
    facts = with_uses(seen.facts, seen.state, reached.get(seen.host, ""))
    tree, owners, made = pci_tree(facts), _Owners(seen, cluster), mdevs(facts)
    owners.add_cards(tree)
    iommu = facts.iommu or bool(tree.groups)  # before 4.7 libvirt did not tell by itself
    usb = tuple(_usb(device, owners.of_usb(device)) for device in usb_devices(facts))
    taken = {of.device.controller for of in usb if of.owners}
    judge = _Judge(tree, iommu, owners, made, taken)
    return MappedDevices(
        seen.host,
        iommu,
        facts.vfio,
        tuple(map(judge.judged, _in_order(tree))),
        tuple((number, tuple(f.address for f in members)) for number, members in tree.groups.items()),
        usb,
        mdev_types(facts),
        tuple(_mdev(mdev, owners.of(mdev.uuid)) for mdev in made),
    )


def _usb(device: UsbDevice, owners: tuple[Owner, ...]) -> MappedUsb:
    if device.is_hub:
        return MappedUsb(device, Verdict.NEVER)
    if owners:
        return MappedUsb(device, Verdict.TAKEN, owners=owners)
    verdict, why = _of_uses(device.uses)
    return MappedUsb(device, verdict, why)


def _mdev(mdev: Mdev, owners: tuple[Owner, ...]) -> MappedMdev:
    return MappedMdev(mdev, Verdict.TAKEN if owners else Verdict.FREE, owners)


def _in_order(tree: PciTree) -> Iterator[Function]:
    """Each function after its port, virtual ones after their physical one; none is lost, whatever a host answers."""
    below: defaultdict[str, list[Function]] = defaultdict(list)
    for function in tree.functions.values():
        above = function.physical if function.physical in tree.functions else function.upstream
        below[above if above in tree.functions else ""].append(function)
    left, seen = [*reversed(below[""])], set[str]()
    while left:
        function = left.pop()
        if function.address not in seen:
            seen.add(function.address)
            yield function
            left += reversed(below[function.address])
    yield from (function for function in tree.functions.values() if function.address not in seen)


# -- owners --------------------------------------------------------------------------------------------------


class _Owners:
    """Who has the devices of a host: those that exist there first, then what the manifest would have."""

    def __init__(self, seen: HostSnapshot, cluster: ResolvedCluster | None) -> None:
        self._owners: defaultdict[str, dict[str, Owner]] = defaultdict(dict)
        self._cards: list[tuple[str, Owner]] = []
        ours = {vm.uuid: vm.name for vm in cluster.vms} if cluster is not None else {}
        for holder in holders(seen.state):
            hold = Hold.NOW if holder.active else Hold.WHEN_STARTED
            owner = Owner(_id(holder.kind, holder.name, ours.get(holder.uuid)), hold)
            self._add(holder.addresses, owner)
            self._cards += [(holder.card, owner)] if holder.card else []
        for name, uuid, active, keys in _others(seen.state):
            hold = Hold.NOW if active else Hold.WHEN_STARTED
            self._add(keys, Owner(_id("domain", name, ours.get(uuid)), hold))
        for vm in cluster.vms if cluster is not None else ():
            self._add(_wanted(vm, seen.host, cluster), Owner(f"vm/{vm.name}", Hold.PLANNED))

    def of(self, key: str) -> tuple[Owner, ...]:
        """Those of a PCI function by its address, or of a mediated device by its UUID."""
        return tuple(self._owners[key].values()) if key in self._owners else ()

    def of_usb(self, device: UsbDevice) -> tuple[Owner, ...]:
        """Those of a USB device, which is named by what it is or by where it is."""
        found = (*self.of(f"{device.vendor}:{device.product}"), *self.of(f"usb {device.bus}.{device.device}"))
        return tuple({owner.id: owner for owner in reversed(found)}.values())

    def add_cards(self, tree: PciTree) -> None:
        """A network that names a card has all of its virtual functions."""
        for name, owner in self._cards:
            for function in tree.functions.values():
                if any(use.name == name for use in function.uses):
                    self._add(function.virtual, owner)

    def _add(self, keys: Iterable[str], owner: Owner) -> None:
        for key in keys:
            self._owners[key].setdefault(owner.id, owner)


def _id(kind: str, name: str, vm: str | None) -> str:
    return f"{kind}/{name}" if vm is None else f"vm/{vm}"


def _wanted(vm: ResolvedVm, host: str, cluster: ResolvedCluster | None) -> Iterator[str]:
    """What of a host the manifest or the lock file gives to a vm."""
    if vm.state == "absent":
        return
    locked = (cluster.lock or {}).get(vm.name) if cluster is not None else None
    if locked is not None and locked.agrees and locked.place.host == host:
        yield from (address for addresses in locked.place.devices for address in addresses)
    if vm.host == host:
        yield from (passed.address for passed in passed_on(vm))
        for device in vm.spec.hostdevs:
            if device.mdev is not None:
                yield device.mdev.uuid
            elif device.usb is not None and device.usb.vendor is not None:
                yield f"{device.usb.vendor}:{device.usb.product}".lower()
            elif device.usb is not None:
                yield f"usb {device.usb.bus}.{device.usb.device}"


def _others(state: HostState) -> Iterator[tuple[str, str, bool, list[str]]]:
    """Domains with USB and mediated devices: name, UUID, whether it runs, and what they are named by."""
    for domain in state.domains:
        xml = domain.live_xml if domain.active and domain.live_xml is not None else domain.xml
        if "hostdev" not in xml:
            continue
        try:
            sources = parse_xml(xml).findall("devices/hostdev/source")
        except BadXml:
            continue
        keys = []
        for source in sources:
            vendor, product, address = (source.find(tag) for tag in ("vendor", "product", "address"))
            if vendor is not None and product is not None:
                keys.append(":".join(hex_digits(part.get("id", ""), 4) for part in (vendor, product)))
            if address is not None and address.get("uuid"):
                keys.append(address.get("uuid", "").lower())
            elif address is not None and address.get("device"):
                keys.append(f"usb {address.get('bus')}.{address.get('device')}")
        if keys:
            yield domain.name, domain.uuid, domain.active, keys


# -- verdicts ------------------------------------------------------------------------------------------------


class _Judge:
    """Says of each function whether a guest can be given it."""

    def __init__(
        self, tree: PciTree, iommu: bool, owners: _Owners, made: Iterable[Mdev], usb: Container[str]
    ) -> None:
        self._tree = tree
        self._iommu = iommu
        self._owners = owners
        self._usb = usb  # controllers of USB devices that somebody has
        self._parents = {mdev.parent for mdev in made if mdev.active}

    def judged(self, function: Function) -> MappedFunction:
        """A function with a verdict, and why."""
        owners = self._owners.of(function.address)
        verdict, why = self._of_itself(function, owners)
        if verdict in {Verdict.NEVER, Verdict.TAKEN, Verdict.HOST}:
            return MappedFunction(function, verdict, why, owners=owners)
        along, with_group, of_group = self._of_group(function)
        if _weight(with_group) > _weight(verdict):
            verdict, why = with_group, of_group
        shown = along if verdict in {Verdict.FREE, Verdict.MAYBE} else ()
        return MappedFunction(function, verdict, why, shown, owners)

    def _of_itself(self, function: Function, owners: tuple[Owner, ...]) -> tuple[Verdict, str]:
        if function.is_bridge:
            return Verdict.NEVER, ""
        if function.class_code.startswith(_OF_THE_BOARD):
            return Verdict.NEVER, "part of the board"
        if owners:
            return Verdict.TAKEN, ""
        if not function.is_told:
            return Verdict.NEVER, "libvirt tells nothing of it"
        if function.group is None:
            return Verdict.NEVER, "in no IOMMU group" if self._iommu else NO_IOMMU
        if any(self._owners.of(address) for address in function.virtual):
            return Verdict.TAKEN, "its virtual functions are taken"
        if function.address in self._usb:
            return Verdict.TAKEN, "USB devices on it are taken"
        return self._of_work(function)

    def _of_group(self, function: Function) -> tuple[tuple[str, ...], Verdict, str]:
        """Who has to go along, and the worst that is known of them."""
        along, worst, why = [], Verdict.FREE, ""
        for other in self._tree.companions(function):
            if other.is_told and not other.driver and not self._owners.of(other.address):
                continue  # it may stay: nobody works with it
            if other.is_held_by_host or not other.is_told:
                along.append(other.address)
            verdict, what = self._of_companion(other)
            if _weight(verdict) > _weight(worst):
                worst, why = verdict, f"{other.address} of its group: {what}"
        return tuple(along), worst, why

    def _of_companion(self, other: Function) -> tuple[Verdict, str]:
        owners = self._owners.of(other.address)
        if owners:
            return Verdict.TAKEN, ", ".join(owner.id for owner in owners)
        if not other.is_told:
            return Verdict.MAYBE, "libvirt tells nothing of it"
        if other.class_code.startswith(_OF_THE_BOARD):
            return Verdict.HOST, f"part of the board, and {other.driver} has it"
        return self._of_work(other)

    def _of_work(self, function: Function) -> tuple[Verdict, str]:
        if function.address in self._parents:
            return Verdict.HOST, "mediated devices are made of it"
        verdict, why = _of_uses(function.uses, is_virtual=bool(function.physical))
        if verdict is Verdict.FREE and function.virtual:
            return Verdict.MAYBE, "its virtual functions would go"
        return verdict, why


def _weight(verdict: Verdict) -> int:
    return list(Verdict).index(verdict)


def _of_uses(uses: Iterable[Use], *, is_virtual: bool = False) -> tuple[Verdict, str]:
    """What the host would miss, or may miss. A virtual function is made for guests, whatever link it has."""
    there = list(uses)
    needs = [f"{use.name}: {use.purpose}" for use in there if use.purpose]
    if needs:
        return Verdict.HOST, "; ".join(needs)
    maybe = [
        f"{use.name} has a link" if use.kind == "network" else f"{use.name} may be in use"
        for use in there
        if use.kind != "network" or (use.link == "up" and not is_virtual)
    ]
    return (Verdict.MAYBE, "; ".join(maybe)) if maybe else (Verdict.FREE, "")
