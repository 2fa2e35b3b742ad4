from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from lxml import etree

from kvmdecl.cluster import ResolvedNetwork, ResolvedPool
from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.marker import Marker, with_marker
from kvmdecl.libvirt_xml.network import network_xml
from kvmdecl.libvirt_xml.overlay import complete, overlay
from kvmdecl.libvirt_xml.pool import pool_xml
from kvmdecl.libvirt_xml.volume import volume_xml
from kvmdecl.manifest import Network, Pool
from kvmdecl.state import VolumeOptions
from tests.libvirt_xml.examples import POOLS, SEED, UUID, declared, disk, kept, vm, vms, with_foreign

Schema = Callable[[str, str], list[str]]

NETWORKS = {
    "isolated": {"mode": "isolated"},
    "isolated with leases": {
        "mode": "isolated",
        "subnet": "10.9.0.0/16",
        "domain": "lab.example",
        "dhcp": {
            "start": "10.9.0.10",
            "end": "10.9.0.20",
            "hosts": [{"mac": "52:54:00:00:00:01", "ip": "10.9.0.9", "name": "web"}],
        },
    },
    "nat": {"mode": "nat", "subnet": "192.168.150.0/24", "device": "eth0"},
    "names": {
        "mode": "nat",
        "subnet": "192.168.150.0/24",
        "domain": "lab.example",
        "dns": {
            "hosts": [
                {"ip": "192.168.150.2", "names": ["gw.lab.example", "gw"]},
                {"ip": "fd00::2", "names": ["six"]},
            ],
            "txt": [{"name": "note.lab.example", "value": "v=spf1 -all; a & b < c"}],
            "srv": [
                {"service": "ldap", "protocol": "tcp", "target": "gw.lab.example", "port": 389},
                {
                    "service": "ldap",
                    "protocol": "tcp",
                    "target": "six",
                    "port": 389,
                    "priority": 2,
                    "weight": 3,
                    "domain": "other.example",
                },
            ],
            "forwarders": [
                {"address": "192.0.2.1"},
                {"domain": "corp.example", "address": "192.0.2.2"},
                {"domain": "here.example"},
            ],
        },
    },
    "open": {"mode": "open", "subnet": "10.8.0.0/24"},
    "macvtap": {"mode": "macvtap", "device": "eth0"},
    "macvtap of one guest": {"mode": "macvtap", "device": "eth0", "macvtap_mode": "passthrough"},
    "route": {"mode": "route", "subnet": "fd00:1::/64"},
    "a bridge of its own making": {
        "mode": "nat",
        "subnet": "10.8.0.0/24",
        "bridge": {
            "name": "kv-own",
            "stp": False,
            "delay": 3,
            "mac": "52:54:00:aa:bb:01",
            "mac_table": "libvirt",
        },
        "mtu": 9000,
        "isolated": True,
        "trust_guest_rx_filters": True,
    },
    "a zone of firewalld": {"mode": "isolated", "bridge": {"zone": "public"}, "ipv6": True},
    "limits": {"mode": "nat", "subnet": "10.8.0.0/24", "bandwidth": {"inbound": "10MiB", "outbound": "5MiB"}},
    "several subnets": {
        "mode": "nat",
        "subnet": "10.8.0.0/24",
        "address": "10.8.0.254",
        "dhcp": {
            "start": "10.8.0.10",
            "end": "10.8.0.20",
            "lease": "12h",
            "hosts": [{"mac": "52:54:00:00:00:01", "ip": "10.8.0.9", "lease": "1h"}],
            "boot": {"file": "pxelinux.0", "server": "10.8.0.3"},
            "tftp": "/srv/tftp",
        },
        "subnets": [
            "10.8.1.0/24",
            {
                "subnet": "fd00:1::/64",
                "dhcp": {
                    "start": "fd00:1::10",
                    "end": "fd00:1::99",
                    "hosts": [
                        {"id": "0:3:0:1:52:54:0:0:0:1", "ip": "fd00:1::5", "name": "web"},
                        {"name": "db", "ip": "fd00:1::6"},
                    ],
                },
            },
            "fd00:2::/64",
        ],
        "nat": {"ipv6": True, "addresses": "10.20.0.1-10.20.0.9", "ports": "60000-65000"},
        "routes": [
            {"to": "10.50.0.0/16", "via": "10.8.0.7", "metric": 3},
            {"to": "fd00:9::/64", "via": "fd00:1::7"},
        ],
        "domain": {"name": "lab.example", "local_only": False},
        "dns": {"forward_plain_names": False},
    },
    "no name server": {"mode": "nat", "subnet": "10.8.0.0/24", "dns": False},
    "Open vSwitch": {
        "bridge": "br0",
        "openvswitch": True,
        "vlan": {"tags": [5, 6], "native": 5, "native_mode": "tagged"},
        "portgroups": {
            "staff": {"default": True, "vlan": 42, "profile": "p-1"},
            "lab": {"vlan": {"tags": 7, "trunk": True}, "bandwidth": {"inbound": "1MiB"}},
        },
    },
    "kinds of ports of a bridge": {
        "bridge": "br0",
        "portgroups": {
            "a": {"trust_guest_rx_filters": True},
            "b": {"default": True, "bandwidth": {"outbound": "1MiB"}},
        },
    },
    "several devices for macvtap": {"mode": "macvtap", "device": ["eth0", "br0"]},
    "macvtap with a vlan": {"mode": "macvtap", "macvtap_mode": "passthrough", "device": "eth0", "vlan": 3},
    "functions of a card": {"mode": "hostdev", "device": "eth0", "vlan": 3, "portgroups": {"a": {"vlan": 9}}},
}
SCHEMA_ONLY = {
    "chosen functions": {"mode": "hostdev", "pci": ["0000:03:10.0", "0000:03:10.1"], "managed": False},
    "vlans of a bridge": {"bridge": "br0", "vlan": 3, "portgroups": {"a": {"vlan": [4, 5]}}},
}
"""What the libvirt of a lab refuses to define: it asks for the card, or is too old."""


def network(spec: dict[str, object]) -> str:
    model = Network.model_validate(spec)
    return network_xml(ResolvedNetwork("inner", UUID, model, "kv-inner", ("kvm-1",)))


@settings(max_examples=100, deadline=None)
@given(guest=vms())
def test_every_guest_that_is_emitted_fits_libvirts_schema(against_schema: Schema, guest):
    text = complete(domain_xml(guest, POOLS))

    assert against_schema("domain", text) == []
    assert against_schema("domain", with_marker(text, Marker("demo", UUID, "web-1", "1", "0", text))) == []


@settings(max_examples=30, deadline=None)
@given(one=vms(), other=vms())
def test_every_overlay_fits_libvirts_schema(against_schema: Schema, one, other):
    before, after = domain_xml(one, POOLS), domain_xml(other, POOLS)

    assert against_schema("domain", overlay(with_foreign(kept(before)), after, before)) == []


@pytest.mark.parametrize("name", [*NETWORKS, *SCHEMA_ONLY])
def test_every_network_fits_libvirts_schema(against_schema: Schema, name):
    spec = (NETWORKS | SCHEMA_ONLY)[name]
    assert against_schema("network", network(spec)) == []
    marked = with_marker(network(spec), Marker("demo", UUID, "inner", "1", "0", "<network/>"))
    assert against_schema("network", marked) == []


def test_pools_and_volumes_fit_libvirts_schema(against_schema: Schema):
    pool = ResolvedPool("vms", UUID, Pool(path="/srv/vms"), ("kvm-1",))

    assert against_schema("storagepool", pool_xml(pool)) == []
    assert against_schema("storagevol", volume_xml("a.raw", "raw", 1024, allocation=1024)) == []
    every = VolumeOptions(64 << 10, lazy_refcounts=True, nocow=True)
    assert against_schema("storagevol", volume_xml("a.qcow2", "qcow2", 1024, options=every)) == []
    backed = volume_xml("a.qcow2", "qcow2", 1024, backing_path="/srv/b", backing_format="raw")
    assert against_schema("storagevol", backed) == []


@settings(max_examples=20, deadline=None)
@given(vms())
def test_the_same_guest_is_the_same_text(guest):
    assert domain_xml(guest, POOLS) == domain_xml(guest, POOLS)


def test_no_text_of_a_manifest_becomes_markup():
    text = declared(description="</description><on_crash>preserve</on_crash>", disks=(disk(volume="a<b&c"),))

    root = etree.fromstring(text)

    assert root.find("on_crash") is None
    assert root.findtext("description") == "</description><on_crash>preserve</on_crash>"
    assert root.find("devices/disk/source").get("file") == "/srv/vms/a<b&c"


def test_an_emulated_guest_gets_the_best_cpu_that_its_emulator_has():
    modes = [
        etree.fromstring(declared(type=type_, cpu_model=model)).find("cpu").get("mode")
        for type_, model in [("kvm", "host-model"), ("qemu", "host-model"), ("qemu", "host-passthrough")]
    ]

    assert modes == ["host-model", "maximum", "maximum"]


def test_a_named_cpu_is_never_replaced_by_a_lesser_one():
    model = etree.fromstring(declared(cpu_model="EPYC-Rome")).find("cpu/model")

    assert (model.text, model.get("fallback")) == ("EPYC-Rome", "forbid")


def test_nothing_is_declared_that_libvirt_fills_in():
    root = etree.fromstring(domain_xml(vm(**SEED), POOLS))

    assert not root.xpath("//address | //emulator | //target/@dev | devices/controller | on_reboot")


def test_a_blank_description_is_none():
    assert etree.fromstring(declared(description=" \r\n ")).find("description") is None


def test_a_scsi_disk_brings_its_controller():
    root = etree.fromstring(declared(disks=(disk(bus="scsi"),)))

    assert root.xpath("devices/controller/@model") == ["virtio-scsi"]
