"""Every type of pool: what libvirt's schema says to it, what a real libvirt keeps of it, and the disks on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import libvirt
import pytest
from lxml import etree

from kvmdecl.cluster import ResolvedPool
from kvmdecl.libvirt_xml.capabilities import parse_pool_types
from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.libvirt_xml.pool import pool_xml
from kvmdecl.libvirt_xml.volume import volume_xml
from kvmdecl.manifest import Pool
from kvmdecl.names import MIB
from kvmdecl.state import Kind
from tests.libvirt_xml.examples import UUID, disk, vm

Schema = Callable[[str, str], list[str]]

PORTAL = {"server": "[fd00::1]:3261", "target": "iqn.2026-01.com.example:vms"}
POOLS: dict[str, dict[str, Any]] = {
    "dir": {"path": "/srv/vms"},
    "fs": {"path": "/srv/fs", "devices": ["/dev/sdb1"], "format": "ext4"},
    "fs of any format": {"type": "fs", "path": "/srv/fs", "devices": ["/dev/disk/by-id/wwn-0x5"]},
    "netfs": {
        "path": "/srv/nfs",
        "server": "nas.example",
        "export": "/vol/vms",
        "format": "nfs",
        "protocol_version": "4.1",
    },
    "netfs of cifs": {
        "type": "netfs",
        "path": "/srv/cifs",
        "server": "nas.example",
        "export": "vms",
        "format": "cifs",
    },
    "logical": {"source": "vg0", "devices": ["/dev/sdb1", "/dev/sdc1"]},
    "disk": {"devices": ["/dev/sdd"], "format": "gpt"},
    "iscsi": {**PORTAL, "initiator": "iqn.2026-01.com.example:kvm-1"},
    "iscsi-direct": {**PORTAL, "server": "san.example", "initiator": "iqn.2026-01.com.example:kvm-1"},
    "rbd": {
        "source": "vms",
        "servers": ["ceph-1.example:6789", "ceph-2.example"],
        "auth": {"user": "kvm", "secret": "ceph"},
    },
    "iscsi with a user": {"type": "iscsi", **PORTAL, "auth": {"user": "kvm", "secret": "chap"}},
    "zfs": {"source": "tank/vms", "devices": ["/dev/sde"]},
    "gluster": {"source": "vol0", "server": "gluster.example"},
    "scsi": {"adapter": "scsi_host3"},
    "scsi of fibre channel": {
        "type": "scsi",
        "adapter": {"parent": "scsi_host5", "wwnn": "20000000c9831b4b", "wwpn": "10000000c9831b4b"},
    },
}

DISKS = {
    "dir": ("file", {"file": "/srv/vms/v"}),
    "fs": ("file", {"file": "/srv/fs/v"}),
    "netfs": ("file", {"file": "/srv/nfs/v"}),
    "logical": ("block", {"dev": "/dev/vg0/v"}),
    "zfs": ("block", {"dev": "/dev/zvol/tank/vms/v"}),
    "disk": ("block", {"dev": "/dev/v"}),
    "rbd": ("network", {"protocol": "rbd", "name": "vms/v"}),
    "gluster": ("network", {"protocol": "gluster", "name": "vol0/v"}),
    "iscsi": ("volume", {"pool": "vms", "volume": "v"}),
    "iscsi-direct": ("volume", {"pool": "vms", "volume": "v"}),
    "scsi": ("volume", {"pool": "vms", "volume": "v"}),
}


def spec(name: str) -> Pool:
    return Pool(**{"type": name, **POOLS[name]})


def declared(name: str) -> str:
    return pool_xml(ResolvedPool("vms", UUID, spec(name), ("kvm-1",), UUID))


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_fits_libvirts_schema(against_schema: Schema, name: str):
    assert against_schema("storagepool", declared(name)) == []


@pytest.mark.parametrize("name", DISKS)
def test_a_disk_finds_its_volume_by_what_the_pool_holds(against_schema: Schema, name: str):
    text = domain_xml(vm(disks=(disk(volume="v", format="raw", server_secret=UUID),)), {"vms": spec(name)})

    found = etree.fromstring(text).find("devices/disk")

    assert found is not None
    source = found.find("source")
    assert source is not None
    assert (found.get("type"), dict(source.attrib)) == DISKS[name]
    assert against_schema("domain", complete(text)) == []


def test_an_object_is_asked_of_every_server_of_its_pool():
    text = domain_xml(vm(disks=(disk(volume="v", format="raw", server_secret=UUID),)), {"vms": spec("rbd")})
    hosts = etree.fromstring(text).iterfind("devices/disk/source/host")
    assert [dict(host.attrib) for host in hosts] == [
        {"name": "ceph-1.example", "port": "6789"},
        {"name": "ceph-2.example"},
    ]


def test_a_volume_that_is_a_device_has_no_format(against_schema: Schema):
    text = volume_xml("v", None, 8 * MIB, allocation=8 * MIB)
    assert "format" not in text
    assert against_schema("storagevol", text) == []


@pytest.fixture
def connection(clean_lab) -> Iterator[libvirt.virConnect]:
    connection = libvirt.open(clean_lab.host("kvm-1").uri())
    yield connection
    connection.close()


@pytest.mark.xdist_group("lab")
@pytest.mark.parametrize("name", POOLS)
def test_a_pool_reads_back_as_it_was_declared(connection: libvirt.virConnect, name: str):
    if spec(name).type not in parse_pool_types(connection.getStoragePoolCapabilities()):
        pytest.skip(f"this libvirt has no backend for {spec(name).type} pools")

    pool = connection.storagePoolDefineXML(declared(name))

    kept = pool.XMLDesc(libvirt.VIR_STORAGE_XML_INACTIVE)
    assert differences(declared(name), declared(name), kept, Kind.POOL) == ()
