"""Which of a host's devices guests may be given, and what each is to those who ask for one. Pure.

What is asked for by what it is (`pci: {class: "0302"}`) is nothing that the host uses, or might: what is mounted, and
which interface the host is reached by, libvirt does not tell. What is named by its address is offered all the same:
whether it can be passed on is for checks to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.dependents import with_uses
from kvmdecl.libvirt_xml.holders import holders, mdevs_in
from kvmdecl.manifest import PciKind, VirtualFunction
from kvmdecl.nodedevs import mdevs
from kvmdecl.passed import passed_on
from kvmdecl.pci import pci_tree
from kvmdecl.solver import PciDevice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.cluster import ResolvedCluster, ResolvedVm
    from kvmdecl.manifest import DeviceAlias, DeviceRequest
    from kvmdecl.nodedevs import Mdev
    from kvmdecl.pci import Function
    from kvmdecl.state import HostSnapshot

    Request = DeviceRequest | VirtualFunction
    Asked = Mapping[str, Request]
    """Requests by their words: those that say the same are one."""

_VGA = "0300"


def asked_for(vms: Iterable[ResolvedVm]) -> Asked:
    """All that vms ask for of devices."""
    found: dict[str, Request] = {}
    for vm in vms:
        if vm.state != "absent":
            found.update((request.word, request) for _, request in vm.spec.device_requests)
    return found


class HostDevices:
    """The devices of one host.

    Args:
        host: its name.
        snapshot: what it is and has.
        cluster: that it is of.
        asked: what is wanted of it.
        where: the hosts of vms that are known to be on one.
    """

    def __init__(
        self,
        host: str,
        snapshot: HostSnapshot,
        cluster: ResolvedCluster,
        asked: Asked,
        where: Mapping[str, str],
    ) -> None:
        self._host = host
        self._where = where
        self._asked = asked
        self._aliases = cluster.devices
        facts = with_uses(snapshot.facts, snapshot.state)
        self._tree = pci_tree(facts)
        self._mdevs = mdevs(facts)
        self._takers = dict(self._taken(snapshot, cluster))
        self._owned = {
            function.group: self._takers[function.address]
            for function in self._tree.functions.values()
            if function.address in self._takers and function.group is not None
        }

    def offered(self) -> tuple[PciDevice, ...]:
        """Those that somebody who asks may get, by address."""
        made: dict[str, list[str]] = {}
        for mdev in self._mdevs:
            made.setdefault(mdev.parent, []).append(mdev.uuid)
        functions = (
            PciDevice(
                function.address,
                models,
                function.cell,
                function.group if function.group is not None else -1 - number,
                frozenset((*_relatives(function), *made.get(function.address, ()))),
                self._switch(function),
            )
            for number, function in enumerate(self._tree.functions.values())
            if (models := tuple(self._models(function)))
        )
        return (*functions, *self._offered_mdevs())

    def companions(self, address: str) -> tuple[str, ...]:
        """Who goes where a function goes that is passed on with its group."""
        function = self._tree.functions.get(address)
        return () if function is None else tuple(f.address for f in self._tree.companions(function))

    def against(self, word: str) -> Iterator[str]:
        """Of each function that a request might mean and cannot have: why not."""
        request = self._asked[word]
        for function in self._tree.functions.values():
            if self._is_meant(function, request) and word not in self._models(function):
                yield f"{function.address}: {self._hindrance(function, request)}"

    # -- what is offered -----------------------------------------------------------------------------------

    def _models(self, function: Function) -> Iterator[str]:
        for word, request in self._asked.items():
            if self._is_meant(function, request) and not self._hindrance(function, request):
                yield word

    def _is_meant(self, function: Function, request: Request) -> bool:
        """Whether a function is what a request says, whoever has it."""
        if isinstance(request, VirtualFunction):
            card = self._tree.functions.get(function.physical)
            return card is not None and self._is_it(card, request)
        return request.mdev is None and self._is_it(function, request)

    def _is_it(self, function: Function, request: Request) -> bool:
        alias = self._aliases.get(request.alias or "")
        if alias is not None and alias.at:
            return function.address in alias.at.get(self._host, ())
        kind = alias if alias is not None else request.pci
        return kind is not None and _is_of(function, kind)

    def _is_named(self, request: Request) -> bool:
        """Whether a request says where the device is."""
        alias = self._aliases.get(request.alias or "")
        if isinstance(request, VirtualFunction):
            return False
        return bool(alias.at if alias is not None else request.pci is not None and request.pci.address)

    def _hindrance(self, function: Function, request: Request) -> str:
        """Why nobody gets a function who asks so; empty if nothing is against it."""
        relatives = [self._takers[other] for other in _relatives(function) if other in self._takers]
        if taker := self._takers.get(function.address) or next(iter(relatives), ""):
            return f"{taker} has it"
        if function.group in self._owned:
            return f"{self._owned[function.group]} has its IOMMU group"
        if self._is_named(request):
            return ""
        return self._in_use(function) or self._not_alone(function, request)

    def _not_alone(self, function: Function, request: Request) -> str:
        whole = not isinstance(request, VirtualFunction) and request.group == "whole"
        for other in self._tree.companions(function):
            if whole and (use := self._in_use(other, is_companion=True)):
                return f"{other.address} of its IOMMU group is not free: {use}"
            if not whole and other.is_held_by_host:
                return f"{other.address} of its IOMMU group is with the host's driver {other.driver} (`group: whole`)"
        return ""

    def _in_use(self, function: Function, *, is_companion: bool = False) -> str:
        """What the host does with a function, or might; empty if it can be asked for by what it is."""
        if function.is_bridge or function.class_code.startswith("06"):
            return "it is a bridge"
        if function.group is None:
            return "no IOMMU is on"
        if function.virtual and not is_companion:
            return "it has virtual functions"
        if any(mdev.active and mdev.parent == function.address for mdev in self._mdevs):
            return "it has mediated devices"
        for use in function.uses:
            if use.purpose:
                return f"{use.name}: {use.purpose}"
            if use.kind == "disk":
                return f"the host may use its disk {use.name}"
            if use.kind == "network" and not function.physical and use.link != "down":
                return f"the host may use its interface {use.name}"
            if use.kind == "display" and function.class_code.startswith(_VGA):
                return "the host may show its console on it"
        return ""

    def _offered_mdevs(self) -> Iterator[PciDevice]:
        for number, mdev in enumerate(self._mdevs):
            parent = self._tree.functions.get(mdev.parent)
            models = tuple(word for word, request in self._asked.items() if _is_part(mdev, request))
            if models and mdev.active and not {mdev.uuid, mdev.parent} & self._takers.keys():
                yield PciDevice(
                    mdev.uuid,
                    models,
                    None if parent is None else parent.cell,
                    mdev.group if mdev.group is not None else -1 - len(self._tree.functions) - number,
                    frozenset({mdev.parent}),
                    "" if parent is None else self._switch(parent),
                )

    def _switch(self, function: Function) -> str:
        """The switch above a function, or the port if it is in none: a switch is a port with ports below."""
        above = [port.address for port in self._tree.above(function)]
        return above[1] if len(above) > 1 else above[0] if above else ""

    # -- who has what --------------------------------------------------------------------------------------

    def _taken(self, snapshot: HostSnapshot, cluster: ResolvedCluster) -> Iterator[tuple[str, str]]:
        """Address, and who has it: what runs unmanaged, networks that hand functions out, vms that name one."""
        ours = {vm.uuid for vm in cluster.vms}
        for holder in holders(snapshot.state):
            if holder.active and not (holder.kind == "domain" and holder.uuid in ours):
                addresses = (*holder.addresses, *self._functions_of(holder.card))
                yield from ((address, f"{holder.kind} {holder.name}") for address in addresses)
        for domain in snapshot.state.domains:
            if domain.active and domain.uuid not in ours:
                yield from (
                    (uuid, f"domain {domain.name}") for uuid in mdevs_in(domain.live_xml or domain.xml)
                )
        for network in cluster.networks:
            if network.spec.mode == "hostdev" and self._host in network.hosts:
                named = network.spec.device
                cards = (named,) if isinstance(named, str) else named or ()
                addresses = (*network.spec.pci, *(f for card in cards for f in self._functions_of(card)))
                yield from ((address, f"network {network.name}") for address in addresses)
        for vm in cluster.vms:
            if vm.state != "absent" and self._where.get(vm.name, vm.host) in {None, self._host}:
                yield from ((passed.address, f"vm {vm.name}") for passed in passed_on(vm))
                yield from (
                    (device.mdev.uuid, f"vm {vm.name}")
                    for device in vm.spec.hostdevs
                    if device.mdev is not None
                )

    def _functions_of(self, interface: str) -> tuple[str, ...]:
        """The virtual functions of the card with a network interface."""
        cards = (
            function
            for function in self._tree.functions.values()
            if interface and any(use.kind == "network" and use.name == interface for use in function.uses)
        )
        return next((card.virtual for card in cards), ())


def _relatives(function: Function) -> tuple[str, ...]:
    """Whom nobody can have beside a function: its virtual functions go with it, and it keeps them."""
    return (*function.virtual, *((function.physical,) if function.physical else ()))


def _is_of(function: Function, kind: PciKind | DeviceAlias) -> bool:
    if isinstance(kind, PciKind) and kind.address is not None:
        return function.address == kind.address
    return (
        (kind.vendor is None or kind.vendor.lower() == function.vendor)
        and (kind.device is None or kind.device.lower() == function.product)
        and function.class_code.startswith(kind.class_.lower() if kind.class_ is not None else "")
    )


def _is_part(mdev: Mdev, request: Request) -> bool:
    return not isinstance(request, VirtualFunction) and request.mdev == mdev.type
