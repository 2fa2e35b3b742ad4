"""`networks:` what a NIC may be plugged into."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from kvmdecl.manifest.base import Section
from kvmdecl.names import Bool, Integer, IpAddress, Mac, Name, Subnet, Text


class DhcpHost(Section):
    """A fixed lease."""

    mac: Mac
    """MAC address of the NIC."""
    ip: IpAddress
    """Address that it always gets."""
    name: Name | None = None
    """Host name handed out with the lease."""


class Dhcp(Section):
    """Address leases that libvirt's dnsmasq hands out."""

    start: IpAddress
    """First address of the range."""
    end: IpAddress
    """Last address of the range."""
    hosts: tuple[DhcpHost, ...] = ()
    """Fixed leases."""


DnsName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
# libvirt writes records into dnsmasq's configuration as they are: nothing that means something there.
RecordText = Annotated[str, Field(pattern=r"^[ !$-+./0-9:-\[\]-~-]{1,255}$")]
ServiceName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Number16 = Annotated[Integer, Field(ge=0, le=65535)]


class DnsHost(Section):
    """Names of one address."""

    ip: IpAddress
    """Address that the names lead to."""
    names: Annotated[tuple[DnsName, ...], Field(min_length=1)]
    """Its names; the first is the one that the address leads to."""


class DnsText(Section):
    """A TXT record."""

    name: DnsName
    """Name of the record."""
    value: RecordText
    """Its text: printable ASCII without quotes, backslash, comma and `#`."""


class DnsService(Section):
    """An SRV record: where a service is found."""

    service: ServiceName
    """Name of the service without underscore, for example `ldap`."""
    protocol: Literal["tcp", "udp"]
    """Its transport."""
    target: DnsName
    """Host name of the machine that offers it."""
    port: Annotated[Integer, Field(ge=1, le=65535)]
    """Its port there."""
    domain: DnsName | None = None
    """Domain that has the service (default: the network's)."""
    priority: Number16 = 0
    """Clients try lower ones first."""
    weight: Number16 = 0
    """Share among those of the same priority."""


class DnsForwarder(Section):
    """Where questions go that the network cannot answer itself; without any, to the host's own name servers."""

    address: IpAddress | None = None
    """Name server to ask. Without it, questions about `domain` are not passed on."""
    domain: DnsName | None = None
    """Only questions about this domain (default: all)."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.address is None and self.domain is None:
            raise _wrong("a forwarder has neither address nor domain", "add `address:`, `domain:`, or both")
        return self


class Dns(Section):
    """What dnsmasq answers to the guests, beside the names in leases."""

    hosts: tuple[DnsHost, ...] = ()
    """Names of addresses."""
    txt: tuple[DnsText, ...] = ()
    """TXT records."""
    srv: tuple[DnsService, ...] = ()
    """SRV records."""
    forwarders: tuple[DnsForwarder, ...] = ()
    """Other name servers."""


InterfaceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$")]


class Network(Section):
    """A network: either a bridge that the hosts already have, or a virtual network that libvirt runs on each host."""

    mode: Literal["bridge", "existing", "nat", "route", "open", "isolated", "macvtap"] = "bridge"
    """`bridge`: the host's own bridge; `existing`: a libvirt network of this name that the hosts have already, used as
    it is and never changed. The others are libvirt networks, made on each host: `open` is `route` without
    firewall rules, `macvtap` puts guests onto a device of the host without a bridge (host and guests do not see each
    other)."""
    macvtap_mode: Literal["bridge", "vepa", "private", "passthrough"] | None = None
    """For `macvtap`: how guests of one host see each other; `bridge` (directly) if not given."""
    bridge: InterfaceName | None = None
    """Bridge device: an existing one for `mode: bridge`, else the one that libvirt makes (named if not given)."""
    subnet: Subnet | None = None
    """Network of the guests, for example `192.168.100.0/24`; the host takes its first address."""
    dhcp: Dhcp | None = None
    """Leases; without it guests configure addresses themselves."""
    domain: DnsName | None = None
    """DNS domain that dnsmasq serves to the guests."""
    dns: Dns | None = None
    """Names that dnsmasq answers beside those in leases. Records change while the network runs."""
    device: InterfaceName | None = None
    """For `nat`, `route`: host device that traffic may leave through (default: any). For `macvtap`: the device."""
    autostart: Bool = True
    """Start the network with its host."""
    hosts: tuple[Name, ...] | None = None
    """Hosts that get it; all of them if not given."""
    xml: Text | None = None
    """libvirt XML laid over the definition, for what no key names; elements find their place by identity."""
    state: Literal["active", "absent"] = "active"
    """`absent` plans its deletion."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mode == "bridge" and self.bridge is None:
            raise _wrong(
                "a bridged network names no bridge",
                "add `bridge: br0`, or choose `mode: nat`, `route` or `isolated`",
            )
        own = (self.subnet, self.dhcp, self.domain, self.dns, self.device, self.xml)
        if self.mode == "bridge" and any(own):
            raise _wrong(
                "a bridged network has no subnet, dhcp, domain, dns, device or xml of its own",
                "leave them to the bridge's network, or choose `mode: nat`, `route` or `isolated`",
            )
        if self.mode == "existing" and (self.bridge or any(own)):
            raise _wrong(
                "an existing network is what it is: it has no bridge, subnet, dhcp, domain, dns, device or xml here",
                "leave them out, or choose another mode to have kvmdecl make the network",
            )
        self._check_macvtap()
        if self.mode == "open" and self.device:
            raise _wrong(
                "an open network has no rules about devices", "drop `device`, or choose `mode: route`"
            )
        if self.mode == "isolated" and self.device:
            raise _wrong(
                "an isolated network has no device to leave through", "drop `device`, or choose `mode: nat`"
            )
        if self.mode in {"nat", "route", "open"} and not self.subnet:
            raise _wrong(f"a network of mode {self.mode} needs a subnet", "add `subnet: 192.168.100.0/24`")
        if self.dhcp:
            self._check_dhcp(self.dhcp)
        if self.dns:
            self._check_dns(self.dns)
        return self

    def _check_macvtap(self) -> None:
        if self.mode != "macvtap":
            if self.macvtap_mode is not None:
                raise _wrong(
                    "only a macvtap network has a macvtap mode", "add `mode: macvtap`", "macvtap_mode"
                )
            return
        if self.device is None:
            raise _wrong("a macvtap network names no device", "add `device: eth1`, a device of the host")
        if self.bridge or self.subnet or self.dhcp or self.domain or self.dns:
            summary = "a macvtap network has no bridge, subnet, dhcp, domain or dns of its own"
            raise _wrong(summary, "leave them to the device's network, or choose `mode: nat` or `route`")

    def _check_dhcp(self, dhcp: Dhcp) -> None:
        if not self.subnet:
            raise _wrong("dhcp needs a subnet", "add `subnet: 192.168.100.0/24`")
        subnet = ipaddress.ip_network(self.subnet)
        gateway = subnet.network_address + 1
        for address, at in _addresses(dhcp):
            if ipaddress.ip_address(address) not in subnet:
                summary = f"{address} is outside of the subnet {subnet}"
                raise _wrong(summary, "choose addresses of the subnet", "dhcp", *at)
        start, end = ipaddress.ip_address(dhcp.start), ipaddress.ip_address(dhcp.end)
        if int(start) > int(end):
            summary = f"the dhcp range ends ({end}) before it starts ({start})"
            raise _wrong(summary, "swap `start` and `end`", "dhcp")
        if int(start) <= int(gateway) <= int(end):
            summary = f"the dhcp range contains {gateway}, the host's own address"
            raise _wrong(summary, f"start at {gateway + 1}", "dhcp")

    def _check_dns(self, dns: Dns) -> None:
        if not self.subnet:
            raise _wrong("dns needs a subnet, where it can be asked", "add `subnet: 192.168.100.0/24`", "dns")
        for key, names in (
            ("hosts", [host.ip for host in dns.hosts]),
            ("txt", [record.name for record in dns.txt]),
            ("srv", [f"_{s.service}._{s.protocol} at {s.target}" for s in dns.srv]),
        ):
            for index, name in enumerate(names):
                if name in names[:index]:
                    raise _wrong(f"{name} is there twice", "say everything about it once", "dns", key, index)


def _addresses(dhcp: Dhcp) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """All addresses that are handed out, and where each is said."""
    yield dhcp.start, ("start",)
    yield dhcp.end, ("end",)
    for index, host in enumerate(dhcp.hosts):
        yield host.ip, ("hosts", index, "ip")


def _wrong(summary: str, hint: str, *at: str | int) -> PydanticCustomError:
    """`at` leads from the network to what is meant."""
    return PydanticCustomError(
        "manifest.bad-network", "{summary}", {"summary": summary, "hint": hint, "at": at}
    )
