"""`networks:` what a NIC may be plugged into."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from kvmdecl.manifest.base import Section
from kvmdecl.names import Bool, IpAddress, Mac, Name, Subnet


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


InterfaceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$")]


class Network(Section):
    """A network: either a bridge that the hosts already have, or a virtual network that libvirt runs on each host."""

    mode: Literal["bridge", "nat", "route", "isolated"] = "bridge"
    """`bridge`: the host's own bridge. `nat`, `route`, `isolated`: a libvirt network, made on each host."""
    bridge: InterfaceName | None = None
    """Bridge device: an existing one for `mode: bridge`, else the one that libvirt makes (named if not given)."""
    subnet: Subnet | None = None
    """Network of the guests, for example `192.168.100.0/24`; the host takes its first address."""
    dhcp: Dhcp | None = None
    """Leases; without it guests configure addresses themselves."""
    domain: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")] | None = None
    """DNS domain that dnsmasq serves to the guests."""
    device: InterfaceName | None = None
    """For `nat` and `route`: the host device that traffic may leave through (default: any)."""
    autostart: Bool = True
    """Start the network with its host."""
    hosts: tuple[Name, ...] | None = None
    """Hosts that get it; all of them if not given."""
    state: Literal["active", "absent"] = "active"
    """`absent` plans its deletion."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mode == "bridge" and self.bridge is None:
            raise _wrong(
                "a bridged network names no bridge",
                "add `bridge: br0`, or choose `mode: nat`, `route` or `isolated`",
            )
        if self.mode == "bridge" and (self.subnet or self.dhcp or self.domain or self.device):
            raise _wrong(
                "a bridged network has no subnet, dhcp, domain or device of its own",
                "leave them to the bridge's network, or choose `mode: nat`, `route` or `isolated`",
            )
        if self.mode == "isolated" and self.device:
            raise _wrong(
                "an isolated network has no device to leave through", "drop `device`, or choose `mode: nat`"
            )
        if self.mode in {"nat", "route"} and not self.subnet:
            raise _wrong(f"a network of mode {self.mode} needs a subnet", "add `subnet: 192.168.100.0/24`")
        if self.dhcp:
            self._check_dhcp(self.dhcp)
        return self

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
