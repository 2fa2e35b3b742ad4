"""Look at guests for the gates of a rollout: do they run, do their agents answer, what was leased to them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import libvirt

from kvmdecl.gates import Agent, Guest
from kvmdecl.hosts.perform.domains import agent_answers
from kvmdecl.hosts.protocol import GuestsSeen, LookAtGuests
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.state import Address, Kind

_AT_ONCE = 4  # a silent agent takes libvirt's 5 s; libvirtd hears no more than 5 calls of a client at a time


def look_at_guests(connection: libvirt.virConnect, asked: LookAtGuests) -> GuestsSeen:
    """Look at the guests of one host; changes nothing.

    Raises:
        libvirt.libvirtError: the host did not answer.
        BadXml: it answered with what is no definition.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        seen = pool.map(lambda name: _look(connection, asked, name), asked.guests)
        return GuestsSeen(tuple(seen))


def _look(connection: libvirt.virConnect, asked: LookAtGuests, name: str) -> Guest:
    address = Address(asked.host, Kind.DOMAIN, name)
    try:
        domain = connection.lookupByName(name)
        if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
            return Guest(address, running=False)
        agent = _agent(domain) if "agent" in asked.reads else None
        return Guest(address, True, agent, _leased(domain) if "addresses" in asked.reads else ())
    except libvirt.libvirtError as error:
        # It was undefined or powered off: by somebody else, while it was looked at.
        if error.get_error_code() in {libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID}:
            return Guest(address, running=False)
        raise


def _agent(domain: libvirt.virDomain) -> Agent:
    """The live definition says whether anybody in the guest has opened the agent's channel."""
    channels = parse_xml(domain.XMLDesc(0)).iterfind("devices/channel/target[@name='org.qemu.guest_agent.0']")
    states = {channel.get("state") for channel in channels}
    if not states:
        return Agent.NO_CHANNEL
    if "connected" not in states:
        return Agent.ABSENT
    return Agent.ANSWERS if agent_answers(domain) else Agent.SILENT


def _leased(domain: libvirt.virDomain) -> tuple[str, ...]:
    """What the DHCP servers of the host's networks gave to it (virDomainInterfaceAddresses)."""
    found = domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE) or {}
    return tuple(address["addr"] for nic in found.values() for address in nic["addrs"] or ())
