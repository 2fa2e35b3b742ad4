"""NICs as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import boot, node, pci_address
from kvmdecl.libvirt_xml.nwfilter import filterref
from kvmdecl.libvirt_xml.traffic import bandwidth, vlan, yes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from kvmdecl.cluster import ResolvedNic
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest.nics import Nic, NicDriver, Offloads, Rom, VhostUser


def interface(nic: ResolvedNic) -> Element:
    """A NIC, of whatever kind."""
    spec = nic.spec
    type_, source = _source(nic)
    is_function = type_ == "hostdev"
    return node(
        "interface",
        node("mac", address=nic.mac),
        source,
        not is_function and node("model", type=spec.model),
        spec.user == "passt" and node("backend", type="passt"),
        _driver(spec),
        spec.mtu is not None and node("mtu", size=str(spec.mtu)),
        vlan(spec.vlan),
        bandwidth(spec.bandwidth),
        spec.filter is not None and filterref(spec.filter.name, spec.filter.parameters),
        spec.isolated and node("port", isolated="yes"),
        spec.coalesce is not None and _coalesce(spec.coalesce),
        not is_function and node("link", state=spec.link),
        spec.tap is not None and node("target", dev=spec.tap),
        *_team(nic),
        _rom(spec.rom),
        boot(nic.boot_order),
        type=type_,
        trustGuestRxFilters=yes(spec.trust_guest_rx_filters),
        managed="yes" if is_function and spec.managed else None,
    )


def _source(nic: ResolvedNic) -> tuple[str, Element | None]:
    """Libvirt's word for the kind of NIC, and what it is plugged into."""
    spec = nic.spec
    if nic.is_bridge:
        return "bridge", node("source", bridge=nic.source)
    if spec.device is not None:
        return "direct", node("source", dev=spec.device, mode=spec.macvtap_mode or "bridge")
    if spec.pci is not None:
        return "hostdev", node("source", node("address", type="pci", **pci_address(spec.pci)))
    if spec.vf is not None:
        return "hostdev", None  # which it is placement tells
    if spec.vhost_user is not None:
        return "vhostuser", _socket(spec.vhost_user)
    if spec.vdpa is not None:
        return "vdpa", node("source", dev=spec.vdpa)
    if spec.user is not None:
        return "user", None
    return "network", node("source", network=nic.source, portgroup=spec.portgroup)


def _team(nic: ResolvedNic) -> Iterator[Element]:
    """Two NICs that are one to the guest: the one that goes names the one that stays by its alias."""
    alias = f"ua-team-{nic.spec.team}"
    if nic.failover == "persistent":
        yield node("alias", name=alias)
        yield node("teaming", type="persistent")
    elif nic.failover == "transient":
        yield node("teaming", type="transient", persistent=alias)


def _socket(socket: VhostUser) -> Element:
    again = socket.reconnect is not None and node("reconnect", enabled="yes", timeout=str(socket.reconnect))
    return node("source", again, type="unix", path=socket.path, mode=socket.mode)


def _driver(spec: Nic) -> Element | None:
    driver: NicDriver = spec.driver
    offloads: Offloads = spec.offloads
    parts = tuple(
        node(side, **flags)
        for side, flags in (("host", _flags(offloads.host)), ("guest", _flags(offloads.guest)))
        if flags
    )
    given = {
        "name": driver.name,
        "txmode": driver.tx_mode,
        "queues": None if spec.queues is None else str(spec.queues),
        "rx_queue_size": driver.rx_queue_size,
        "tx_queue_size": driver.tx_queue_size,
    } | _flags(driver)
    if not parts and not any(given.values()):
        return None
    return node("driver", *parts, **given)


def _flags(section: BaseModel) -> dict[str, str]:
    """What is switched `on` or `off`; what is not said is left to libvirt."""
    values = ((name, getattr(section, name)) for name in type(section).model_fields)
    return {name: "on" if value else "off" for name, value in values if isinstance(value, bool)}


def _coalesce(frames: int) -> Element:
    return node("coalesce", node("rx", node("frames", max=str(frames))))


def _rom(rom: Rom) -> Element | None:
    if rom.bar is None and rom.file is None:
        return None
    return node("rom", bar=None if rom.bar is None else ("on" if rom.bar else "off"), file=rom.file)
