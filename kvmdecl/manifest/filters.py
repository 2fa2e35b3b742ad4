"""`filters:` network filters (libvirt's nwfilters): what the traffic of NICs has to pass."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import Bool, Integer, Text

FilterName = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
FilterValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/-]{1,64}$")]
FilterParameters = dict[
    Annotated[str, Field(pattern="^[A-Za-z0-9_]{1,64}$")], FilterValue | tuple[FilterValue, ...]
]

_VARIABLE = r"\$[A-Za-z0-9_]{1,64}(?:\[@?[0-9]{1,4}\])?"
_IS_VARIABLE = re.compile(_VARIABLE, re.ASCII)
_MAC = r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}"
MacValue = Annotated[str, Field(pattern=f"^(?:{_MAC}|{_VARIABLE})$")]
AddressValue = Annotated[str, Field(pattern=r"^[0-9A-Za-z_.:/$@\[\]-]{1,128}$")]
PortValue = Annotated[str, Field(pattern=f"^(?:[0-9]{{1,5}}(?:-[0-9]{{1,5}})?|{_VARIABLE})$")]
Priority = Annotated[Integer, Field(ge=-1000, le=1000)]
Byte = Annotated[Integer, Field(ge=0, le=255)]
_FLAG = "(?:SYN|ACK|URG|PSH|FIN|RST)"
_FLAGS = f"(?:{_FLAG}(?:,{_FLAG}){{0,5}}|ALL|NONE)"

_LINK = ("mac", "vlan", "arp", "rarp", "ip", "ipv6")
_IPV4 = ("tcp", "udp", "sctp", "icmp", "igmp", "all", "esp", "ah", "udplite")
_IPV6 = (
    *("tcp-ipv6", "udp-ipv6", "sctp-ipv6", "icmpv6", "all-ipv6", "esp-ipv6", "ah-ipv6"),
    "udplite-ipv6",
)
_PORTS = ("ip", "ipv6", "tcp", "udp", "sctp", "tcp-ipv6", "udp-ipv6", "sctp-ipv6")
_ARP = ("arp", "rarp")

KEYS_OF_PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    "match": (*_LINK, *_IPV4, *_IPV6),
    "comment": (*_LINK, *_IPV4, *_IPV6),
    "src_mac": (*_LINK, *_IPV4),
    "src_mac_mask": _LINK,
    "dst_mac": _LINK,
    "dst_mac_mask": _LINK,
    "src_ip": ("ip", "ipv6", *_IPV4, *_IPV6),
    "dst_ip": ("ip", "ipv6", *_IPV4, *_IPV6),
    "src_port": _PORTS,
    "dst_port": _PORTS,
    "state": _IPV4,
    "connections_above": _IPV4,
    "ipset": _IPV4,
    "tcp_flags": ("tcp", "tcp-ipv6"),
    "icmp_type": ("icmp", "icmpv6"),
    "icmp_code": ("icmp", "icmpv6"),
    "dscp": ("ip", *_IPV4, *_IPV6),
    "ip_protocol": ("ip", "ipv6"),
    "ether_type": ("mac", "vlan"),
    "vlan": ("vlan",),
    "arp_opcode": _ARP,
    "arp_src_mac": _ARP,
    "arp_src_ip": _ARP,
    "arp_dst_mac": _ARP,
    "arp_dst_ip": _ARP,
    "gratuitous": _ARP,
}
"""The protocols that each key of a rule is for (libvirt's schema of nwfilters)."""


class IpSet(Section):
    """A set of addresses that somebody keeps on the host (ipset)."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:+-]{1,31}$")]
    """Its name there."""
    flags: Annotated[str, Field(pattern="^(?:src|dst)(?:,(?:src|dst)){0,5}$")]
    """What is looked up in it: `src`, `dst`, or several for a set of tuples (`src,dst`)."""


class FilterRule(Section):
    """A rule, or another filter in its place (`- clean-traffic`). Most keys of a rule are for certain protocols."""

    shorthand = "filter"

    filter: FilterName | None = None
    """Another filter whose rules apply here: one of this manifest, or one that the hosts have."""
    parameters: FilterParameters = Field(default_factory=dict)
    """Values for that filter's variables: `{IP: 10.0.0.5}`, or several for one."""
    action: Literal["accept", "drop", "reject", "continue", "return"] | None = None
    """What becomes of traffic that the rule is about."""
    direction: Literal["in", "out", "inout"] = "inout"
    """Traffic to the guest (`in`), from the guest (`out`), or both."""
    priority: Priority = 500
    """Rules with lower numbers come first."""
    stateful: Bool = True
    """Let answers to accepted traffic pass, too."""
    protocol: (
        Literal[
            "mac", "vlan", "arp", "rarp", "ip", "ipv6",
            "tcp", "udp", "sctp", "icmp", "igmp", "all", "esp", "ah", "udplite",
            "tcp-ipv6", "udp-ipv6", "sctp-ipv6", "icmpv6", "all-ipv6", "esp-ipv6", "ah-ipv6", "udplite-ipv6",
        ]
        | None
    ) = None  # fmt: skip
    """What the rule is about; all traffic if not given. `all` is everything of IPv4."""
    match: Bool = True
    """`false`: about everything that does not fit what follows."""
    src_mac: MacValue | None = None
    """MAC address of the sender, or a variable: `$MAC`."""
    src_mac_mask: MacValue | None = None
    """The bits of it that count."""
    dst_mac: MacValue | None = None
    """MAC address of the receiver."""
    dst_mac_mask: MacValue | None = None
    """The bits of it that count."""
    src_ip: AddressValue | None = None
    """Sender: an address, a network (`10.0.0.0/8`), a range (`10.0.0.5-10.0.0.9`) or a variable (`$IP`)."""
    dst_ip: AddressValue | None = None
    """Receiver, likewise."""
    src_port: PortValue | None = None
    """Port of the sender (`53`), a range (`1024-65535`) or a variable."""
    dst_port: PortValue | None = None
    """Port of the receiver, likewise."""
    state: tuple[Literal["NEW", "ESTABLISHED", "RELATED", "INVALID", "NONE"], ...] = ()
    """States of the connection."""
    connections_above: Annotated[Integer, Field(ge=0, le=65535)] | None = None
    """Only when there are more connections than this."""
    ipset: IpSet | None = None
    """Only addresses in a set of the host: `{name: blocked, flags: src}`."""
    tcp_flags: Annotated[str, Field(pattern=f"^{_FLAGS}/{_FLAGS}$")] | None = None
    """Flags that are looked at, and those of them that are set: `SYN,ACK/SYN`."""
    icmp_type: Byte | None = None
    """Type of the ICMP message."""
    icmp_code: Byte | None = None
    """Code of the ICMP message."""
    dscp: Annotated[Integer, Field(ge=0, le=63)] | None = None
    """Differentiated services code point."""
    ip_protocol: Literal["tcp", "udp", "udplite", "esp", "ah", "icmp", "igmp", "sctp", "icmpv6"] | None = None
    """Protocol inside of IP (for `ip` and `ipv6`, which look at frames)."""
    ether_type: Literal["arp", "rarp", "ipv4", "ipv6", "vlan"] | None = None
    """Protocol inside of the frame."""
    vlan: Annotated[Integer, Field(ge=0, le=4095)] | None = None
    """VLAN that a tagged frame is of."""
    arp_opcode: (
        Literal[
            "Request", "Reply", "Request_Reverse", "Reply_Reverse", "DRARP_Request", "DRARP_Reply", "DRARP_Error",
            "InARP_Request", "ARP_NAK",
        ]
        | None
    ) = None  # fmt: skip
    """Kind of the ARP message."""
    arp_src_mac: MacValue | None = None
    """MAC address of the sender inside of the message."""
    arp_src_ip: AddressValue | None = None
    """Its address inside of the message."""
    arp_dst_mac: MacValue | None = None
    """MAC address that is asked for, or answered."""
    arp_dst_ip: AddressValue | None = None
    """Address that is asked for, or answered."""
    gratuitous: Bool | None = None
    """`true`: only announcements that nobody asked for."""
    comment: Annotated[Text, Field(max_length=256)] | None = None
    """Text for people; it stands in the host's rules."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        given = self.model_fields_set
        if (self.filter is None) == (self.action is None):
            summary, hint = (
                "an entry is either a rule or another filter",
                "write `action: accept` or `filter: NAME`",
            )
            raise wrong("filter", summary, hint, "filter" if self.filter else "action")
        if self.filter is not None:
            for key in sorted(given - {"filter", "parameters"}):
                raise wrong("filter", f"a filter in the place of a rule has no {key}", "leave it out", key)
            return self
        if self.parameters:
            raise wrong("filter", "parameters are for another filter", "add `filter: NAME`", "parameters")
        self._check_protocol()
        return self

    def _check_protocol(self) -> None:
        for key, protocols in KEYS_OF_PROTOCOLS.items():
            if key in self.model_fields_set and self.protocol not in protocols:
                named = f"of protocol {self.protocol}" if self.protocol else "without a protocol"
                hint = f"it is for {', '.join(protocols)}"
                raise wrong("filter", f"a rule {named} has no {key}", hint, key)
        for key in ("src_ip", "dst_ip", "arp_src_ip", "arp_dst_ip"):
            value = getattr(self, key)
            if value is not None and (why := self._refused_address(key, value)):
                raise wrong("filter", f"{value} {why}", "write for example `10.0.0.0/8`, or `$IP`", key)
        for key in ("src_port", "dst_port"):
            given = getattr(self, key) or ""
            ends = [int(end) for end in given.split("-") if end.isdecimal()]
            if given and self.protocol in {"ip", "ipv6"} and self.ip_protocol not in {"tcp", "udp", "sctp"}:
                hint = "add `ip_protocol: tcp`, or use `protocol: tcp`"
                raise wrong("filter", f"ports of protocol {self.protocol} need to say of what", hint, key)
            if any(end > 65535 for end in ends) or ends != sorted(ends):
                raise wrong("filter", "these are no ports", "write for example `1024-65535`", key)
        for key in ("src_mac", "dst_mac"):
            if getattr(self, f"{key}_mask") is not None and getattr(self, key) is None:
                raise wrong("filter", "a mask without its address", f"add `{key}`", f"{key}_mask")

    def _refused_address(self, key: str, value: str) -> str:
        """Why an address cannot be, empty if it can."""
        first, dash, last = value.partition("-")
        if dash and self.protocol not in {*_IPV4, *_IPV6}:
            return f"is a range, which protocol {self.protocol} does not know"
        if dash and key == "dst_ip" and self.protocol in _IPV6:
            return (
                "is a range of receivers, which libvirt does not take of IPv6 (virNWFilterRuleDetailsParse)"
            )
        ends = [first, last] if dash else [first]
        version = 6 if self.protocol in {"ipv6", *_IPV6} else 4
        for end in ends:
            address, slash, mask = end.partition("/")
            if _IS_VARIABLE.fullmatch(address) and (
                not slash or mask.isdecimal() or _IS_VARIABLE.fullmatch(mask)
            ):
                continue
            try:
                found = ipaddress.ip_interface(end)
            except ValueError:
                return "is no address"
            if found.version != version:
                return f"is no address of IPv{version}"
            if slash and dash:
                return "is neither a range nor a network"
        return ""


class NetworkFilter(Section):
    """A network filter: every host gets it; a NIC names it with `filter`.

    A change of its rules is in force at once for all running guests that use it.
    """

    chain: Annotated[
        str,
        Field(
            pattern=r"^(?:root|(?:mac|stp|arp)[A-Za-z0-9_.:-]{0,9}|(?:vlan|rarp|ipv4|ipv6)[A-Za-z0-9_.:-]{0,8})$"
        ),
    ] = "root"
    """Chain of the rules: `root`, or `mac`, `stp`, `vlan`, `arp`, `rarp`, `ipv4`, `ipv6`, or a name that begins so."""
    priority: Priority | None = None
    """Chains with lower numbers come first; the usual number of such a chain if not given (`ipv4` -700, `arp` -500)."""
    rules: tuple[FilterRule, ...] = ()
    """Rules and other filters, in order."""
    state: Literal["active", "absent"] = "active"
    """`absent` plans its deletion."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.priority == 0 and self.chain != "root":
            hint = "write `1` or `-1`, or leave it out"
            raise wrong("filter", "libvirt forgets a priority of 0 when it restarts", hint, "priority")
        return self
