"""`networks:` what a NIC may be plugged into."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from kvmdecl.manifest.base import Section
from kvmdecl.manifest.traffic import Bandwidth, Vlan, one_or_several
from kvmdecl.names import (
    Bool,
    Duration,
    Form,
    Integer,
    IpAddress,
    Mac,
    Name,
    PciAddress,
    PoolPath,
    Positive,
    Subnet,
    Text,
)

Lease = Annotated[Duration, Field(ge=120)]  # dnsmasq knows no shorter ones


class NetworkBoot(Section):
    """What a guest that boots from the network is told (BOOTP)."""

    shorthand = "file"

    file: Annotated[Text, Field(min_length=1, max_length=255, pattern=r"^[ -~]+$")]
    """Name of the file to load, for example `pxelinux.0`."""
    server: IpAddress | None = None
    """Where to load it from; the host itself if not given."""


class DhcpHost(Section):
    """A fixed lease."""

    mac: Mac | None = None
    """MAC address of the NIC (IPv4)."""
    id: Annotated[str, Field(pattern="^[0-9A-Fa-f]{1,2}(:[0-9A-Fa-f]{1,2}){2,127}$")] | None = None
    """DHCP identifier (DUID) of the guest, which stands for the MAC address in IPv6: `0:3:0:1:52:54:0:12:34:56`."""
    ip: IpAddress
    """Address that it always gets."""
    name: Name | None = None
    """Host name handed out with the lease."""
    lease: Lease | None = None
    """How long it may keep the address before it asks again; that of the range if not given."""


class Dhcp(Section):
    """Address leases that libvirt's dnsmasq hands out."""

    start: IpAddress
    """First address of the range."""
    end: IpAddress
    """Last address of the range."""
    hosts: tuple[DhcpHost, ...] = ()
    """Fixed leases."""
    lease: Lease | None = None
    """How long guests may keep an address before they ask again (`12h`); an hour if not given."""
    boot: NetworkBoot | None = None
    """Let guests boot from the network (IPv4): `boot: pxelinux.0`."""
    tftp: PoolPath | None = None
    """Directory of the host that dnsmasq serves by TFTP (IPv4)."""


class IpRange(Section):
    """A further network of the guests."""

    shorthand = "subnet"

    subnet: Subnet
    """Network in CIDR notation, of IPv4 or IPv6: `fd00:1::/64`. Guests of IPv6 learn it without DHCP, too."""
    address: IpAddress | None = None
    """The host's own address in it; the first one if not given."""
    dhcp: Dhcp | None = None
    """Leases in it."""

    @property
    def host_address(self) -> str:
        """The host's own address."""
        return self.address or str(ipaddress.ip_network(self.subnet).network_address + 1)


class Route(Section):
    """A route that the host learns with the network."""

    to: Subnet
    """Network that it leads to."""
    via: IpAddress
    """Guest that knows the way, by its address in the network."""
    metric: Annotated[Integer, Field(ge=1, le=2**32 - 1)] | None = None
    """Of several routes the lower one is taken."""


class Nat(Section):
    """How addresses are translated."""

    ipv6: Bool = False
    """Translate IPv6, too."""
    addresses: Annotated[str, Field(pattern=r"^[0-9.]{7,15}(-[0-9.]{7,15})?$")] | None = None
    """Address or range of the host that guests are seen with (`10.20.30.40-10.20.30.44`)."""
    ports: Annotated[str, Form("[1-9][0-9]{0,4}-[1-9][0-9]{0,4}", "are no ports", "1024-65535")] | None = None
    """Ports that guests are seen with (`60000-65000`); 1024 to 65535 if not given."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key, kind in (("addresses", ipaddress.IPv4Address), ("ports", int)):
            ends = (getattr(self, key) or "").partition("-")
            try:
                low, high = (int(kind(end or ends[0])) for end in (ends[0], ends[2])) if ends[0] else (0, 0)
            except ValueError:
                raise _wrong("these are no addresses", "write for example `10.20.30.40`", key) from None
            if low > high or (key == "ports" and high > 65535):
                raise _wrong(f"the {key} end before they start, or too late", "put the lower end first", key)
        return self


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

    shorthand = "enabled"

    enabled: Bool = True
    """`false`: no name server for the network (`dns: false`)."""
    forward_plain_names: Bool = True
    """Pass questions about names without a dot on to the host's name servers."""
    hosts: tuple[DnsHost, ...] = ()
    """Names of addresses."""
    txt: tuple[DnsText, ...] = ()
    """TXT records."""
    srv: tuple[DnsService, ...] = ()
    """SRV records."""
    forwarders: tuple[DnsForwarder, ...] = ()
    """Other name servers."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.enabled and (self.hosts or self.txt or self.srv or self.forwarders):
            hint = "drop `enabled: false`, or the records"
            raise _wrong("a name server that is off has no records", hint, "enabled")
        return self


class Domain(Section):
    """A DNS domain."""

    shorthand = "name"

    name: DnsName
    """Its name."""
    local_only: Bool = True
    """Never pass questions about its names on to the host's name servers."""


InterfaceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$")]
Devices = Annotated[
    tuple[InterfaceName, ...],
    BeforeValidator(one_or_several),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Bridge(Section):
    """A bridge. All but its name is for one that libvirt makes."""

    shorthand = "name"

    name: InterfaceName | None = None
    """Name of the device."""
    stp: Bool = True
    """Spanning tree protocol: find loops."""
    delay: Annotated[Integer, Field(ge=0, le=255)] = 0
    """Seconds that a new port listens before it forwards."""
    mac: Mac | None = None
    """Its MAC address; one that libvirt chooses if not given."""
    mac_table: Literal["kernel", "libvirt"] | None = None
    """Who keeps the table of addresses; `libvirt` spares the bridge learning and flooding."""
    zone: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,17}$")] | None = None
    """Zone of firewalld; `libvirt` if not given, where firewalld runs."""


class PortGroup(Section):
    """A kind of port of a network; a NIC names it with `portgroup`."""

    default: Bool = False
    """For NICs that name none."""
    vlan: Vlan | None = None
    """VLANs of its ports (`vlan: 42`)."""
    bandwidth: Bandwidth | None = None
    """Limits of each of its ports."""
    trust_guest_rx_filters: Bool = False
    """Let guests choose which multicast and MAC addresses they receive."""
    profile: Annotated[str, Field(pattern="^[A-Za-z0-9_.-]{1,39}$")] | None = None
    """Port profile of Open vSwitch."""


PortGroupName = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$")]
_ROUTED = ("nat", "route", "open")
_OWN = (*_ROUTED, "isolated")
_MODES_OF_KEYS: Mapping[str, tuple[str, ...]] = {
    "macvtap_mode": ("macvtap",),
    "bridge": ("bridge", *_OWN),
    **dict.fromkeys(("subnet", "address", "dhcp", "subnets", "routes", "domain", "dns", "mtu", "ipv6"), _OWN),
    "nat": ("nat",),
    "device": ("nat", "route", "macvtap", "hostdev"),
    "pci": ("hostdev",),
    "managed": ("hostdev",),
    "openvswitch": ("bridge",),
    "vlan": ("bridge", "macvtap", "hostdev"),
    "portgroups": ("bridge", *_OWN, "macvtap", "hostdev"),
    "bandwidth": _OWN,
    "isolated": ("bridge", *_OWN),
    "trust_guest_rx_filters": ("bridge", *_OWN, "macvtap"),
    "xml": ("bridge", *_OWN, "macvtap", "hostdev"),
}
"""The modes that have a key."""


class Network(Section):
    """A network: either a bridge that the hosts already have, or a virtual network that libvirt runs on each host."""

    mode: Literal["bridge", "existing", "nat", "route", "open", "isolated", "macvtap", "hostdev"] = "bridge"
    """`bridge`: the host's own bridge; `existing`: a libvirt network of this name that the hosts have already, used as
    it is and never changed. The others are libvirt networks, made on each host: `open` is `route` without
    firewall rules, `macvtap` puts guests onto a device of the host without a bridge (host and guests do not see each
    other), `hostdev` gives each NIC a virtual function of a network card (SR-IOV)."""
    macvtap_mode: Literal["bridge", "vepa", "private", "passthrough"] | None = None
    """For `macvtap`: how guests of one host see each other; `bridge` (directly) if not given."""
    bridge: Bridge | None = None
    """Bridge device: an existing one for `mode: bridge`, else the one that libvirt makes (named if not given)."""
    openvswitch: Bool = False
    """The host's bridge is one of Open vSwitch."""
    subnet: Subnet | None = None
    """Network of the guests, for example `192.168.100.0/24`."""
    address: IpAddress | None = None
    """The host's own address in it; the first one if not given."""
    dhcp: Dhcp | None = None
    """Leases; without it guests configure addresses themselves."""
    subnets: tuple[IpRange, ...] = ()
    """Further networks of the guests beside `subnet`, such as one of IPv6: `[fd00:1::/64]`."""
    routes: tuple[Route, ...] = ()
    """Networks behind guests: `[{to: 10.9.0.0/16, via: 192.168.100.5}]`."""
    nat: Nat | None = None
    """How `mode: nat` translates addresses."""
    ipv6: Bool = False
    """Let guests speak IPv6 among themselves, where no subnet is of IPv6."""
    domain: Domain | None = None
    """DNS domain that dnsmasq serves to the guests."""
    dns: Dns | None = None
    """Names that dnsmasq answers beside those in leases. Records change while the network runs."""
    device: Devices | None = None
    """For `nat`, `route`: host device that traffic may leave through (default: any). For `macvtap`: the device, or
    several to choose a free one from. For `hostdev`: the card whose virtual functions are given out."""
    pci: tuple[PciAddress, ...] = ()
    """For `hostdev`, instead of a device: addresses of the virtual functions (`["0000:03:10.0"]`)."""
    managed: Bool = True
    """For `hostdev`: let libvirt take functions from the host's driver and give them back."""
    vlan: Vlan | None = None
    """VLANs of all its ports (`vlan: 42`): Open vSwitch, `hostdev`, `macvtap` of mode `passthrough`; a Linux bridge
    from libvirt 11.0."""
    portgroups: dict[PortGroupName, PortGroup] = Field(default_factory=dict)
    """Kinds of ports by name. They change while the network runs; NICs get the change at their next start."""
    bandwidth: Bandwidth | None = None
    """Limits of all traffic between the network and its host."""
    mtu: Annotated[Positive, Field(ge=68, le=65535)] | None = None
    """MTU of the bridge and the NICs."""
    isolated: Bool = False
    """Guests of one host see the host and the outside, but not each other."""
    trust_guest_rx_filters: Bool = False
    """Let guests choose which multicast and MAC addresses they receive."""
    autostart: Bool = True
    """Start the network with its host."""
    hosts: tuple[Name, ...] | None = None
    """Hosts that get it; all of them if not given."""
    xml: Text | None = None
    """libvirt XML laid over the definition, for what no key names; elements find their place by identity."""
    state: Literal["active", "absent"] = "active"
    """`absent` plans its deletion."""

    @property
    def has_object(self) -> bool:
        """Whether libvirt has an object for it: a plain bridge of the host needs none."""
        own = (
            self.openvswitch,
            self.vlan,
            self.portgroups,
            self.isolated,
            self.trust_guest_rx_filters,
            self.xml,
        )
        return self.mode != "existing" and (self.mode != "bridge" or any(own))

    @property
    def may_have_vlans(self) -> bool:
        """Whether its ports can be of VLANs (a Linux bridge: from libvirt 11.0)."""
        passthrough = self.mode == "macvtap" and self.macvtap_mode == "passthrough"
        return self.mode in {"bridge", "hostdev", "existing"} or passthrough

    @property
    def ranges(self) -> tuple[IpRange, ...]:
        """All networks of its guests."""
        if self.subnet is None:
            return self.subnets
        return (IpRange(subnet=self.subnet, address=self.address, dhcp=self.dhcp), *self.subnets)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mode == "bridge" and (self.bridge is None or self.bridge.name is None):
            raise _wrong(
                "a bridged network names no bridge",
                "add `bridge: br0`, or choose `mode: nat`, `route` or `isolated`",
            )
        for key, modes in _MODES_OF_KEYS.items():
            given = getattr(self, key) != type(self).model_fields[key].get_default(call_default_factory=True)
            if given and self.mode not in modes:
                why = _MODE_HINTS.get(self.mode, "leave it out, or choose another mode")
                raise _wrong(f"a network of mode {self.mode} has no {key}", why, key)
        if self.mode in _ROUTED and not self.subnet:
            raise _wrong(f"a network of mode {self.mode} needs a subnet", "add `subnet: 192.168.100.0/24`")
        self._check_devices()
        self._check_ports()
        self._check_ranges()
        if self.dns:
            self._check_dns(self.dns)
        return self

    def _check_devices(self) -> None:
        if self.mode == "bridge" and self.bridge and self.bridge != Bridge(name=self.bridge.name):
            raise _wrong("a bridge of the host is what it is", "keep its name alone", "bridge")
        if self.mode == "macvtap" and self.device is None:
            raise _wrong("a macvtap network names no device", "add `device: eth1`, a device of the host")
        if self.mode == "hostdev" and (self.device is None) == (not self.pci):
            hint = "add `device: eth1`, a card with virtual functions, or their addresses in `pci`"
            raise _wrong("a hostdev network names either a device or addresses", hint)
        if self.device and len(self.device) > 1 and self.mode != "macvtap":
            raise _wrong("only a macvtap network has several devices", "keep one", "device")

    def _check_ports(self) -> None:
        tagged: list[tuple[str, ...]] = [("vlan",)] if self.vlan else []
        tagged += [("portgroups", name, "vlan") for name, group in self.portgroups.items() if group.vlan]
        if tagged and not self.may_have_vlans:
            hint = "use a bridge of Open vSwitch, or `mode: hostdev`"
            raise _wrong(f"a network of mode {self.mode} has no VLANs", hint, *tagged[0])
        defaults = [name for name, group in self.portgroups.items() if group.default]
        if len(defaults) > 1:
            hint = "keep one of them"
            raise _wrong("two port groups are the default", hint, "portgroups", defaults[1], "default")
        for name, group in self.portgroups.items():
            if group.profile is not None and not self.openvswitch:
                hint = "add `openvswitch: true`, or leave it out"
                raise _wrong("only Open vSwitch has port profiles", hint, "portgroups", name, "profile")

    def _check_ranges(self) -> None:
        for key in ("dhcp", "address", "routes"):
            if getattr(self, key) and not self.ranges:
                raise _wrong(f"{key} needs a subnet", "add `subnet: 192.168.100.0/24`", key)
        if self.dhcp and not self.subnet:
            raise _wrong("dhcp needs a subnet", "add `subnet: 192.168.100.0/24`", "dhcp")
        for index, entry in enumerate(self.ranges):
            at = () if index == 0 and self.subnet else ("subnets", index - (self.subnet is not None))
            subnet = ipaddress.ip_network(entry.subnet)
            if entry.address and ipaddress.ip_address(entry.address) not in subnet:
                summary = f"{entry.address} is outside of the subnet {subnet}"
                raise _wrong(summary, "choose an address of the subnet", *at, "address")
            if entry.dhcp:
                _check_dhcp(entry, entry.dhcp, *at, "dhcp")
        networks = [ipaddress.ip_network(entry.subnet) for entry in self.ranges]
        for index, route in enumerate(self.routes):
            if not any(ipaddress.ip_address(route.via) in network for network in networks):
                summary = f"{route.via} is in no subnet of the network"
                raise _wrong(summary, "name a guest by its address here", "routes", index, "via")
            if ipaddress.ip_network(route.to).version != ipaddress.ip_address(route.via).version:
                raise _wrong("a route has one version of IP", "use one in both", "routes", index)

    def _check_dns(self, dns: Dns) -> None:
        if not self.ranges:
            raise _wrong("dns needs a subnet, where it can be asked", "add `subnet: 192.168.100.0/24`", "dns")
        for key, names in (
            ("hosts", [host.ip for host in dns.hosts]),
            ("txt", [record.name for record in dns.txt]),
            ("srv", [f"_{s.service}._{s.protocol} at {s.target}" for s in dns.srv]),
        ):
            for index, name in enumerate(names):
                if name in names[:index]:
                    raise _wrong(f"{name} is there twice", "say everything about it once", "dns", key, index)


_MODE_HINTS = {
    "bridge": "leave it to the bridge's network, or choose `mode: nat`, `route` or `isolated`",
    "existing": "leave it out, or choose another mode to have kvmdecl make the network",
    "macvtap": "leave it to the device's network, or choose `mode: nat` or `route`",
}


def _check_dhcp(entry: IpRange, dhcp: Dhcp, *at: str | int) -> None:
    subnet = ipaddress.ip_network(entry.subnet)
    own = ipaddress.ip_address(entry.host_address)
    for address, below in _addresses(dhcp):
        if ipaddress.ip_address(address) not in subnet:
            summary = f"{address} is outside of the subnet {subnet}"
            raise _wrong(summary, "choose addresses of the subnet", *at, *below)
    start, end = ipaddress.ip_address(dhcp.start), ipaddress.ip_address(dhcp.end)
    if int(start) > int(end):
        summary = f"the dhcp range ends ({end}) before it starts ({start})"
        raise _wrong(summary, "swap `start` and `end`", *at)
    if int(start) <= int(own) <= int(end):
        summary = f"the dhcp range contains {own}, the host's own address"
        raise _wrong(summary, f"start at {own + 1}", *at)
    if subnet.version == 6 and (dhcp.boot or dhcp.tftp):
        raise _wrong(
            "guests boot from a network of IPv4", "leave it out", *at, "boot" if dhcp.boot else "tftp"
        )
    for index, host in enumerate(dhcp.hosts):
        needed, other = ("mac", "id") if subnet.version == 4 else ("id", "mac")
        if getattr(host, other) is not None:
            raise _wrong(
                f"a lease of IPv{subnet.version} has no {other}",
                f"add `{needed}`",
                *at,
                "hosts",
                index,
                other,
            )
        if getattr(host, needed) is None and host.name is None:
            raise _wrong(f"a lease needs its {needed}", f"add `{needed}`", *at, "hosts", index)


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
