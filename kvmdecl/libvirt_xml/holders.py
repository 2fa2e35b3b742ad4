"""Who has PCI functions of a host, or would take them: domains and virtual networks -> addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.state import HostState, ObservedDomain, ObservedNetwork

_MARKS = ("hostdev", "nvme")
"""One of these words is in every definition that has something to do with a function: most are never parsed."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A domain that has PCI functions of its host, or a virtual network that hands some out (`mode: hostdev`).

    Attributes:
        kind: which of the two.
        name: of the domain or network.
        uuid: its UUID.
        active: whether it runs; what does not run has nothing, and takes it when it starts.
        autostart: whether it starts with its host.
        addresses: of the functions, in the order of the definition, of what runs now if it runs.
        card: of a network: name of the network card whose virtual functions it hands out, empty if they are listed.
    """

    kind: Literal["domain", "network"]
    name: str
    uuid: str
    active: bool
    autostart: bool
    addresses: tuple[str, ...]
    card: str = ""


def holders(state: HostState) -> tuple[Holder, ...]:
    """All on a host that have PCI functions or would take some. A definition that cannot be read has none."""
    return (*filter(None, map(_domain, state.domains)), *filter(None, map(_network, state.networks)))


def _domain(domain: ObservedDomain) -> Holder | None:
    root = _parsed(domain.live_xml if domain.active and domain.live_xml is not None else domain.xml)
    addresses = () if root is None else tuple(dict.fromkeys(_passed(root)))
    if not addresses:
        return None
    return Holder("domain", domain.name, domain.uuid, domain.active, domain.autostart, addresses)


def _network(network: ObservedNetwork) -> Holder | None:
    root = _parsed(network.live_xml if network.active and network.live_xml is not None else network.xml)
    forward = None if root is None else root.find("forward[@mode='hostdev']")
    if forward is None:
        return None
    card = forward.find("pf")
    return Holder(
        "network",
        network.name,
        network.uuid,
        network.active,
        network.autostart,
        tuple(_address(place) for place in forward.iterfind("address[@type='pci']")),
        "" if card is None else card.get("dev", ""),
    )


def devices_in(xml: str) -> tuple[str, ...]:
    """The functions that a definition names, by address, and its mediated devices, by UUID."""
    root = _parsed(xml)
    return () if root is None else tuple(dict.fromkeys((*_passed(root), *mdevs_in(xml))))


def functions_by_mac(xml: str) -> dict[str, str]:
    """The functions that are passed on as network interfaces, by MAC address."""
    root = _parsed(xml)
    found: dict[str, str] = {}
    for nic in root.iterfind("devices/interface[@type='hostdev']") if root is not None else ():
        mac, place = nic.find("mac"), nic.find("source/address")
        if mac is not None and place is not None:
            found[mac.get("address", "").lower()] = _address(place)
    return found


def mdevs_in(xml: str) -> tuple[str, ...]:
    """UUIDs of the mediated devices that a definition names."""
    root = _parsed(xml)
    places = root.iterfind("devices/hostdev[@type='mdev']/source/address") if root is not None else ()
    return tuple(place.get("uuid", "").lower() for place in places)


def _parsed(xml: str) -> Element | None:
    if not any(mark in xml for mark in _MARKS):
        return None
    from kvmdecl.libvirt_xml.safe import BadXml, parse_xml

    try:
        return parse_xml(xml)
    except BadXml:
        return None


def _passed(root: Element) -> Iterator[str]:
    for path in (
        "devices/hostdev[@type='pci']/source/address",
        "devices/interface[@type='hostdev']/source/address",
        "devices/disk[@type='nvme']/source/address",
    ):
        yield from map(_address, root.iterfind(path))


def _address(place: Element) -> str:
    domain, bus, slot, function = (
        _number(place.get(part, "0")) for part in ("domain", "bus", "slot", "function")
    )
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0
