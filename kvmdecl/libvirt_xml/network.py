"""A virtual network as libvirt XML."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.overlay import to_text

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedNetwork
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest import Dhcp


def network_xml(network: ResolvedNetwork) -> str:
    """The declared definition of a network that libvirt runs; one of mode `bridge` has none."""
    spec = network.spec
    return to_text(
        node(
            "network",
            node("name", network.name),
            node("uuid", network.uuid),
            spec.mode != "isolated" and node("forward", mode=spec.mode, dev=spec.device),
            node("bridge", name=network.bridge, stp="on", delay="0"),
            spec.domain is not None and node("domain", name=spec.domain, localOnly="yes"),
            spec.subnet is not None and _ip(spec.subnet, spec.dhcp),
        )
    )


def _ip(subnet: str, dhcp: Dhcp | None) -> Element:
    """The host takes the first address of the subnet."""
    network = ip_network(subnet)
    return node(
        "ip",
        dhcp is not None and _dhcp(dhcp),
        family=f"ipv{network.version}",
        address=str(network.network_address + 1),
        prefix=str(network.prefixlen),
    )


def _dhcp(dhcp: Dhcp) -> Element:
    hosts = (node("host", mac=host.mac, name=host.name, ip=host.ip) for host in dhcp.hosts)
    return node("dhcp", node("range", start=dhcp.start, end=dhcp.end), *hosts)
