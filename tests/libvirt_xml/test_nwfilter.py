"""Network filters: their XML, what is refused, how two are told apart, and what libvirt makes of them."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest
from lxml import etree
from pydantic import ValidationError

from kvmdecl.cluster import ResolvedFilter
from kvmdecl.libvirt_xml.nwfilter import filter_differences, filter_xml
from kvmdecl.manifest import FilterRule, NetworkFilter
from tests.libvirt_xml.examples import UUID

RULES: dict[str, Any] = {
    "another filter": "clean-traffic",
    "another filter with values": {"filter": "clean-traffic", "parameters": {"IP": ["10.0.0.5", "10.0.0.6"]}},
    "everything": {"action": "drop"},
    "everything of ipv4": {"action": "drop", "protocol": "all", "priority": 900, "stateful": False},
    "ports": {"action": "accept", "direction": "in", "protocol": "tcp", "dst_port": "22", "src_port": "1024-65535"},
    "a network": {"action": "accept", "protocol": "udp", "src_ip": "10.0.0.0/8", "dst_ip": "10.1.2.3"},
    "a range": {"action": "reject", "protocol": "sctp", "src_ip": "10.0.0.5-10.0.0.9"},
    "variables": {
        "action": "return",
        "protocol": "ip",
        "ip_protocol": "udp",
        "src_mac": "$MAC",
        "src_ip": "$IP",
        "dst_port": "$PORT[@1]",
    },
    "a state": {"action": "accept", "protocol": "all", "state": ["NEW", "ESTABLISHED"], "connections_above": 5},
    "a set": {"action": "drop", "protocol": "all", "ipset": {"name": "blocked", "flags": "src,dst"}},
    "flags": {"action": "drop", "protocol": "tcp", "tcp_flags": "SYN,ACK/SYN", "dscp": 10, "comment": "a <b>"},
    "icmp": {"action": "accept", "protocol": "icmp", "icmp_type": 8, "icmp_code": 0},
    "icmpv6": {"action": "accept", "protocol": "icmpv6", "icmp_type": 135, "src_ip": "fd00::/64"},
    "ipv6": {"action": "accept", "protocol": "tcp-ipv6", "src_ip": "fd00::1-fd00::9", "dst_port": "443"},
    "frames of ipv6": {"action": "continue", "protocol": "ipv6", "ip_protocol": "udp", "dst_port": "53"},
    "frames": {"action": "drop", "protocol": "mac", "match": False, "ether_type": "arp", "dst_mac": "$MAC"},
    "masks": {
        "action": "drop",
        "protocol": "mac",
        "src_mac": "52:54:00:AB:00:00",
        "src_mac_mask": "ff:ff:ff:00:00:00",
    },
    "a vlan": {"action": "accept", "protocol": "vlan", "vlan": 42, "ether_type": "ipv6"},
    "arp": {
        "action": "accept",
        "direction": "out",
        "protocol": "arp",
        "arp_opcode": "Request",
        "arp_src_ip": "$IP",
        "arp_src_mac": "$MAC",
        "gratuitous": True,
    },
}  # fmt: skip


def declared(*rules: Any, **given: Any) -> str:
    return filter_xml(ResolvedFilter("web", UUID, NetworkFilter(rules=rules, **given), ()))


@pytest.mark.parametrize("name", RULES)
def test_every_rule_fits_libvirts_schema(against_schema, name):
    assert against_schema("nwfilter", declared(RULES[name])) == []


def test_a_chain_with_a_priority_fits_libvirts_schema(against_schema):
    assert against_schema("nwfilter", declared(*RULES.values(), chain="ipv4-web", priority=-700)) == []


@pytest.mark.parametrize(
    ("rule", "at"),
    [
        ({}, "action"),
        ({"filter": "a", "action": "drop"}, "filter"),
        ({"filter": "a", "priority": 3}, "priority"),
        ({"action": "drop", "parameters": {"IP": "10.0.0.1"}}, "parameters"),
        ({"action": "drop", "dst_port": "22"}, "dst_port"),
        ({"action": "drop", "protocol": "icmp", "dst_port": "22"}, "dst_port"),
        ({"action": "drop", "protocol": "tcp", "dst_port": "70000"}, "dst_port"),
        ({"action": "drop", "protocol": "tcp", "dst_port": "9-5"}, "dst_port"),
        ({"action": "drop", "protocol": "ip", "dst_port": "9"}, "dst_port"),
        ({"action": "drop", "protocol": "tcp", "src_ip": "fd00::1"}, "src_ip"),
        ({"action": "drop", "protocol": "tcp-ipv6", "src_ip": "10.0.0.1"}, "src_ip"),
        ({"action": "drop", "protocol": "tcp-ipv6", "dst_ip": "fd00::1-fd00::9"}, "dst_ip"),
        ({"action": "drop", "protocol": "ip", "src_ip": "10.0.0.1-10.0.0.9"}, "src_ip"),
        ({"action": "drop", "protocol": "all", "src_ip": "10.0.0.0/8-10.0.0.9"}, "src_ip"),
        ({"action": "drop", "protocol": "all", "src_ip": "web"}, "src_ip"),
        ({"action": "drop", "protocol": "mac", "src_mac_mask": "ff:ff:ff:00:00:00"}, "src_mac_mask"),
        ({"action": "drop", "protocol": "tcp-ipv6", "state": ["NEW"]}, "state"),
    ],
)
def test_what_cannot_be_is_refused_at_its_key(rule, at):
    with pytest.raises(ValidationError) as refused:
        FilterRule.model_validate(rule)

    (error,) = refused.value.errors()
    assert (error["type"], error["ctx"]["at"]) == ("manifest.bad-filter", (at,))


SSH = {"action": "accept", "direction": "in", "protocol": "tcp", "dst_port": "22"}
WEB = SSH | {"dst_port": "80"}
REST = {"action": "drop"}


@pytest.mark.parametrize(
    ("wanted", "there", "expected"),
    [
        ([SSH, REST], [SSH, REST], []),
        ([SSH, WEB, REST], [SSH, REST], [("rules.1", None, "accept in tcp dstportstart=80")]),
        ([SSH, REST], [SSH, WEB, REST], [("rules", "accept in tcp dstportstart=80", None)]),
        ([WEB], [SSH], [("rules.0", "accept in tcp dstportstart=22", "accept in tcp dstportstart=80")]),
        (["clean-traffic"], [], [("rules.0", None, "filter clean-traffic")]),
        ([REST | {"priority": 500}], [REST], []),
    ],
)
def test_filters_are_told_apart_rule_by_rule_and_in_both_directions(wanted, there, expected):
    assert list(filter_differences(declared(*wanted), declared(*there))) == expected


def test_another_chain_or_priority_is_a_difference():
    found = filter_differences(declared(chain="ipv4", priority=3), declared())

    assert found == (("chain", "root", "ipv4"), ("priority", None, "3"))


def test_a_chain_keeps_no_priority_of_0():
    with pytest.raises(ValidationError, match="forgets a priority of 0"):
        NetworkFilter(chain="ipv4", priority="0")


@pytest.mark.xdist_group("lab")
def test_every_rule_reads_back_as_it_was_declared(clean_lab, lab_host):
    connection = libvirt.open(lab_host.uri())
    try:
        for given in (
            {},
            {"chain": "ipv4", "priority": -700},
            {"chain": "arp-web"},
            {"chain": "ipv6", "priority": 1},
        ):
            for name, rule in RULES.items():
                text = declared(rule, **given)

                kept = connection.nwfilterDefineXML(text).XMLDesc()

                assert filter_differences(text, kept) == (), (name, given)
        many = declared(*RULES.values())
        kept = connection.nwfilterDefineXML(many).XMLDesc()
        assert filter_differences(many, kept) == ()
        assert len(etree.fromstring(kept)) == len(RULES) + 1
    finally:
        connection.close()
