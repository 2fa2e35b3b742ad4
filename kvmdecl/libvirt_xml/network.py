"""A virtual network as libvirt XML."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.overlay import to_text

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedNetwork
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest.networks import Dhcp, Dns, DnsService, Network


def network_xml(network: ResolvedNetwork) -> str:
    """The declared definition of a network that libvirt runs; one of mode `bridge` has none."""
    spec = network.spec
    return to_text(
        node(
            "network",
            node("name", network.name),
            node("uuid", network.uuid),
            spec.mode != "isolated" and node("forward", mode=_forwarding(spec), dev=spec.device),
            spec.mode != "macvtap" and node("bridge", name=network.bridge, stp="on", delay="0"),
            spec.domain is not None and node("domain", name=spec.domain, localOnly="yes"),
            spec.dns is not None and _dns(spec.dns),
            spec.subnet is not None and _ip(spec.subnet, spec.dhcp),
        )
    )


def _forwarding(spec: Network) -> str:
    """Libvirt has no word for macvtap: these modes of a network without a bridge are it (virNetworkDefParseXML)."""
    return (spec.macvtap_mode or "bridge") if spec.mode == "macvtap" else spec.mode


def _dns(dns: Dns) -> Element | None:
    records = (
        *(node("forwarder", addr=one.address, domain=one.domain) for one in dns.forwarders),
        *(node("txt", name=text.name, value=text.value) for text in dns.txt),
        *(_service(service) for service in dns.srv),
        *(node("host", *(node("hostname", name) for name in host.names), ip=host.ip) for host in dns.hosts),
    )
    return node("dns", *records) if records else None


def _service(service: DnsService) -> Element:
    """An SRV record; libvirt leaves out numbers that are 0."""
    return node(
        "srv",
        service=service.service,
        protocol=service.protocol,
        domain=service.domain,
        target=service.target,
        port=str(service.port),
        priority=str(service.priority) if service.priority else None,
        weight=str(service.weight) if service.weight else None,
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
