"""What depends on a host's network interfaces, disks and displays, as far as libvirt can tell. Pure.

libvirt knows its own networks, pools and guests, and which interfaces are parts of others. It does not know what is
mounted, and of addresses only where it was built with netcf.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.safe import BadXml, parse_xml
from kvmdecl.nodedevs import NodeDevices, scsi_devices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.facts import HostFacts, HostInterface
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.state import HostState

_PARTITION = re.compile(r"(/dev/disk/.+)-part\d{1,4}|(/dev/.*\d)p\d{1,4}|(/dev/.*[a-z])\d{1,4}", re.ASCII)
_ADAPTER = re.compile(r"(?:scsi_)?host(\d{1,9})", re.ASCII)
_ABOVE = {"bridge": "port of bridge", "bond": "member of bond", "vlan": "below VLAN"}
_GUEST_HAS = ("'block'", "'direct'", '"block"', '"direct"')
_SHOWN = 3


def with_uses(facts: HostFacts, state: HostState, address: str = "") -> HostFacts:
    """A host's facts with what depends on its devices (`in_use`): the purpose of `Use` in all that is made of them.

    Args:
        facts: of the host.
        state: what exists on it.
        address: at which kvmdecl reaches it, as the manifest has it; a name instead of an IP address says nothing here.
    """
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for name, purpose in (*_interfaces(facts, state, address), *_disks(facts, state)):
        found[name][purpose] = None
    return replace(facts, in_use=tuple((name, ", ".join(found[name])) for name in sorted(found)))


# -- network interfaces --------------------------------------------------------------------------------------


def _interfaces(facts: HostFacts, state: HostState, address: str) -> Iterator[tuple[str, str]]:
    """What depends on an interface depends on all that it is made of."""
    over = {interface.name: interface for interface in facts.connections}
    for interface in facts.connections:
        for name in _parts(interface.name, over):
            if name in interface.over:
                yield name, f"{_ABOVE.get(interface.kind, 'part of')} {interface.name}"
    told = (*_addresses(facts.connections, address), *_networks(state), *_macvtaps(state))
    for name, purpose in told:
        for part in _parts(name, over):
            yield part, purpose


def _parts(name: str, over: Mapping[str, HostInterface]) -> Iterator[str]:
    """An interface and all that it is made of, each once."""
    left, seen = [name], {name}
    while left:
        yield (this := left.pop(0))
        below = over[this].over if this in over else ()
        left += [part for part in below if part not in seen]
        seen.update(below)


def _addresses(interfaces: Iterable[HostInterface], reached: str) -> Iterator[tuple[str, str]]:
    for interface in interfaces:
        for address in interface.addresses:
            if not address.startswith(("127.", "::1", "fe80:")):
                how = ", by which kvmdecl reaches the host" if address == reached else ""
                yield interface.name, f"has address {address}{how}"


def _networks(state: HostState) -> Iterator[tuple[str, str]]:
    for network in state.networks:
        forward = _parsed(network.xml, "forward")
        if forward is None:
            continue
        devices = {forward.get("dev"), *(element.get("dev") for element in forward.iterfind("interface"))}
        yield from ((name, f"way out of network {network.name}") for name in sorted(filter(None, devices)))
        for element in forward.iterfind("pf"):
            yield element.get("dev", ""), f"network {network.name} has its virtual functions"


def _macvtaps(state: HostState) -> Iterator[tuple[str, str]]:
    guests: defaultdict[str, list[str]] = defaultdict(list)
    for guest, root in _guests(state):
        for source in root.iterfind("devices/interface[@type='direct']/source"):
            guests[source.get("dev", "")].append(guest)
    yield from ((name, f"way out of {_few(of)}") for name, of in guests.items())


# -- disks ---------------------------------------------------------------------------------------------------


def _disks(facts: HostFacts, state: HostState) -> Iterator[tuple[str, str]]:
    there = NodeDevices(facts)
    names = {
        name: properties["block"]
        for _, properties in there.of("storage")
        if "block" in properties
        for name in (properties["block"], *properties.get("links", "").split())
    }
    if not names:
        return
    for pool in state.pools:
        for path in _pool_devices(pool.xml, facts):
            if (disk := _disk_of(path, names)) is not None:
                yield disk, f"pool {pool.name}"
    guests: defaultdict[str, list[str]] = defaultdict(list)
    for guest, root in _guests(state):
        for source in root.iterfind("devices/disk[@type='block']/source"):
            if (disk := _disk_of(source.get("dev", ""), names)) is not None:
                guests[disk].append(guest)
    yield from ((disk, f"disk of {_few(of)}") for disk, of in guests.items())


def _pool_devices(xml: str, facts: HostFacts) -> Iterator[str]:
    """Block devices that a pool is made of, or that are on its adapter."""
    source = _parsed(xml, "source")
    if source is None:
        return
    yield from (device.get("path", "") for device in source.iterfind("device"))
    adapter = source.find("adapter")
    if adapter is not None and (match := _ADAPTER.fullmatch(adapter.get("name", ""))):
        units = (unit for unit in scsi_devices(facts) if unit.adapter == int(match[1]))
        yield from (use.name for unit in units for use in unit.uses if use.kind == "disk")


def _disk_of(path: str, names: Mapping[str, str]) -> str | None:
    """The disk that a path leads to, or that its partition is on; None if libvirt knows of none."""
    if path in names:
        return names[path]
    match = _PARTITION.fullmatch(path)
    return names.get(next(filter(None, match.groups()))) if match else None


# -- all -----------------------------------------------------------------------------------------------------


def _guests(state: HostState) -> Iterator[tuple[str, Element]]:
    """Those that have a block device or a network interface of the host. Most have none, and are not parsed."""
    for domain in state.domains:
        if any(mark in domain.xml for mark in _GUEST_HAS) and (root := _parsed(domain.xml)) is not None:
            yield domain.name, root


def _parsed(xml: str, path: str = ".") -> Element | None:
    """A document, or a part of it. What cannot be read has no say here; reading the host complains of it."""
    try:
        return parse_xml(xml).find(path)
    except BadXml:
        return None


def _few(guests: list[str]) -> str:
    names = sorted(set(guests))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"guest{'s' * (len(names) > 1)} {', '.join(names[:_SHOWN])}{more}"
