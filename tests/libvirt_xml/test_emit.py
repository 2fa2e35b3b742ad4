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
}


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


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_fits_libvirts_schema(against_schema: Schema, name):
    assert against_schema("network", network(NETWORKS[name])) == []
    marked = with_marker(network(NETWORKS[name]), Marker("demo", UUID, "inner", "1", "0", "<network/>"))
    assert against_schema("network", marked) == []


def test_pools_and_volumes_fit_libvirts_schema(against_schema: Schema):
    pool = ResolvedPool("vms", UUID, Pool(path="/srv/vms"), ("kvm-1",))

    assert against_schema("storagepool", pool_xml(pool)) == []
    assert against_schema("storagevol", volume_xml("a.raw", "raw", 1024, allocation=1024)) == []
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
