"""Hosts with devices and with what else there is on them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import NAMESPACE_DNS, uuid5

from kvmdecl.state import HostSnapshot, HostState, ObservedDomain, ObservedNetwork, ObservedPool

if TYPE_CHECKING:
    from tests.devices.machines import Machine


def snapshot(name: str, machine: Machine, **state: object) -> HostSnapshot:
    """A host that is such a machine; `state` as the fields of `HostState`."""
    return HostSnapshot(name, machine.facts(), HostState(**state))  # type: ignore[arg-type]


def pool(name: str, source: str) -> ObservedPool:
    """A pool made of `source`."""
    xml = f"<pool><name>{name}</name><source>{source}</source></pool>"
    return ObservedPool(name, f"pool-{name}", xml, True, True, 0, 0, ())


def network(name: str, forward: str) -> ObservedNetwork:
    """A network that forwards in this way."""
    return ObservedNetwork(
        name, f"network-{name}", f"<network><name>{name}</name>{forward}</network>", True, True
    )


def guest(name: str, *devices: str, active: bool = True, uuid: str = "") -> ObservedDomain:
    """A domain with these devices."""
    uuid = uuid or str(uuid5(NAMESPACE_DNS, name))
    xml = f"<domain><name>{name}</name><uuid>{uuid}</uuid><devices>{''.join(devices)}</devices></domain>"
    return ObservedDomain(name, uuid, xml, xml if active else None, active, True, False, False)


def passed(address: str) -> str:
    """A PCI function that is passed on."""
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    place = f"<address domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/>"
    return f"<hostdev mode='subsystem' type='pci' managed='yes'><source>{place}</source></hostdev>"
