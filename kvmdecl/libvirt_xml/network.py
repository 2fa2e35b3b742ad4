"""A virtual network as libvirt XML."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node, pci_address
from kvmdecl.libvirt_xml.overlay import to_text
from kvmdecl.libvirt_xml.traffic import bandwidth, vlan, yes
from kvmdecl.manifest.networks import Bridge, Nat

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedNetwork
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest.networks import (
        Dhcp,
        Dns,
        DnsService,
        Domain,
        IpRange,
        Network,
        PortGroup,
        Route,
    )


def network_xml(network: ResolvedNetwork) -> str:
    """The declared definition of a network that libvirt has an object for (`Network.has_object`)."""
    spec = network.spec
    return to_text(
        node(
            "network",
            node("name", network.name),
            node("uuid", network.uuid),
            spec.mode != "isolated" and _forward(spec),
            spec.mode not in {"macvtap", "hostdev"} and _bridge(network.bridge, spec),
            spec.bridge is not None and spec.bridge.mac is not None and node("mac", address=spec.bridge.mac),
            spec.mtu is not None and node("mtu", size=str(spec.mtu)),
            bandwidth(spec.bandwidth),
            vlan(spec.vlan),
            spec.openvswitch and node("virtualport", type="openvswitch"),
            *(_portgroup(name, group) for name, group in spec.portgroups.items()),
            spec.isolated and node("port", isolated="yes"),
            spec.domain is not None and _domain(spec.domain),
            spec.dns is not None and _dns(spec.dns),
            *map(_ip, spec.ranges),
            *map(_route, spec.routes),
            ipv6=yes(spec.ipv6),
            trustGuestRxFilters=yes(spec.trust_guest_rx_filters),
        )
    )


def _forward(spec: Network) -> Element:
    """Libvirt has no word for macvtap: these modes of a network without a bridge are it (virNetworkDefParseXML)."""
    mode = (spec.macvtap_mode or "bridge") if spec.mode == "macvtap" else spec.mode
    devices = spec.device or ()
    if mode != "hostdev":
        return node(
            "forward", _nat(spec.nat or Nat()), *(node("interface", dev=d) for d in devices), mode=mode
        )
    functions = (node("address", type="pci", **pci_address(address)) for address in spec.pci)
    cards = (node("pf", dev=device) for device in devices)
    return node("forward", *cards, *functions, mode=mode, managed="yes" if spec.managed else "no")


def _nat(nat: Nat) -> Element | None:
    if nat == Nat():
        return None
    first, _, last = (nat.addresses or "").partition("-")
    low, _, high = (nat.ports or "").partition("-")
    return node(
        "nat",
        bool(first) and node("address", start=first, end=last or first),
        bool(low) and node("port", start=low, end=high),
        ipv6=yes(nat.ipv6),
    )


def _bridge(name: str, spec: Network) -> Element:
    if spec.mode == "bridge":
        return node("bridge", name=name)
    bridge = spec.bridge or Bridge()
    return node(
        "bridge",
        name=name,
        stp="on" if bridge.stp else "off",
        delay=str(bridge.delay),
        macTableManager=bridge.mac_table,
        zone=bridge.zone,
    )


def _portgroup(name: str, group: PortGroup) -> Element:
    parameters = node("parameters", profileid=group.profile)
    profile = group.profile is not None and node("virtualport", parameters, type="openvswitch")
    return node(
        "portgroup",
        profile,
        bandwidth(group.bandwidth),
        vlan(group.vlan),
        name=name,
        default=yes(group.default),
        trustGuestRxFilters=yes(group.trust_guest_rx_filters),
    )


def _domain(domain: Domain) -> Element:
    return node("domain", name=domain.name, localOnly="yes" if domain.local_only else "no")


def _route(route: Route) -> Element:
    target = ip_network(route.to)
    return node(
        "route",
        family=f"ipv{target.version}",
        address=str(target.network_address),
        prefix=str(target.prefixlen),
        gateway=route.via,
        metric=None if route.metric is None else str(route.metric),
    )


def _dns(dns: Dns) -> Element | None:
    records = (
        *(node("forwarder", addr=one.address, domain=one.domain) for one in dns.forwarders),
        *(node("txt", name=text.name, value=text.value) for text in dns.txt),
        *(_service(service) for service in dns.srv),
        *(node("host", *(node("hostname", name) for name in host.names), ip=host.ip) for host in dns.hosts),
    )
    plain = None if dns.forward_plain_names else "no"
    enabled = None if dns.enabled else "no"
    if not (records or plain or enabled):
        return None
    return node("dns", *records, enable=enabled, forwardPlainNames=plain)


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


def _ip(entry: IpRange) -> Element:
    network = ip_network(entry.subnet)
    tftp = entry.dhcp.tftp if entry.dhcp else None
    return node(
        "ip",
        tftp is not None and node("tftp", root=tftp),
        entry.dhcp is not None and _dhcp(entry.dhcp),
        family=f"ipv{network.version}",
        address=entry.host_address,
        prefix=str(network.prefixlen),
    )


def _dhcp(dhcp: Dhcp) -> Element:
    hosts = (
        node("host", _lease(host.lease), mac=host.mac, id=host.id, name=host.name, ip=host.ip)
        for host in dhcp.hosts
    )
    boot = dhcp.boot is not None and node("bootp", file=dhcp.boot.file, server=dhcp.boot.server)
    return node("dhcp", node("range", _lease(dhcp.lease), start=dhcp.start, end=dhcp.end), *hosts, boot)


def _lease(seconds: int | None) -> Element | None:
    return None if seconds is None else node("lease", expiry=str(seconds), unit="seconds")
