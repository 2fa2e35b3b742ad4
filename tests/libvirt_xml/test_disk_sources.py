"""Disks on storage servers: definitions, changes, and how they fare on a real host."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.overlay import complete, overlay
from kvmdecl.manifest import Disk
from kvmdecl.manifest.disk_sources import Source
from kvmdecl.plan import Impact
from kvmdecl.state import Kind, Origin
from tests.libvirt_xml.examples import declared, disk, kept, observed
from tests.libvirt_xml.test_on_libvirt import DUMP, host
from tests.libvirt_xml.test_on_libvirt import declared as declared_on_host

__all__ = ["host"]

SECRET = "a3a4f1a0-0b8f-44c5-9b0a-2f6b1f6a1c11"
NBD = {"protocol": "nbd", "servers": ["nbd.example:10810"], "name": "db"}
SOCKET = {"protocol": "nbd", "socket": "/srv/nbd.sock"}
RBD = {"protocol": "rbd", "servers": ["ceph-1:6789", "[2001:db8::1]"], "name": "vms/db"}
ISCSI = {"protocol": "iscsi", "servers": ["san.example"], "name": "iqn.2026-01.com.example:vms/2"}
GLUSTER = {"protocol": "gluster", "servers": ["g1", "g2:24007"], "name": "vms/db.raw"}
WEB = {"protocol": "https", "servers": ["files.example"], "name": "images/live.iso"}

NVME = {"nvme": "0000:01:00.0"}

SOURCES: dict[str, dict[str, Any]] = {
    "nbd": {"source": NBD | {"tls": False}},
    "nbd without a name": {"source": SOCKET},
    "rbd": {"source": RBD | {"auth": {"user": "kvm", "secret": "ceph"}}, "server_secret": SECRET},
    "rbd as its configuration says": {
        "source": {"protocol": "rbd", "name": "vms/db", "snapshot": "s1", "config_file": "/etc/ceph/b.conf"}
    },
    "iscsi": {
        "source": ISCSI
        | {"auth": {"user": "kvm", "secret": "san"}, "initiator": "iqn.2026-01.com.example:host"},
        "server_secret": SECRET,
    },
    "iscsi without a unit": {"source": ISCSI | {"name": "iqn.2026-01.com.example:vms"}},
    "gluster": {"source": GLUSTER},
    "gluster by a socket": {"source": {"protocol": "gluster", "socket": "/run/g.sock", "name": "vms/db.raw"}},
    "https": {
        "source": WEB | {"verify": False, "query": "v=2", "timeout": "10s", "readahead": "128KiB"},
        "readonly": True,
    },
    "http": {"source": WEB | {"protocol": "http", "servers": ["files.example:8080"]}, "readonly": True},
    "ftp": {"source": WEB | {"protocol": "ftp"}, "readonly": True},
    "nvme": {"source": NVME},
    "another namespace of nvme": {"source": NVME | {"namespace": 2, "managed": False}},
    "ftps": {"source": WEB | {"protocol": "ftps", "verify": True}, "readonly": True},
}


def on_server(**given: Any) -> dict[str, Any]:
    return {"disks": (disk(**{"size": None, "format": "raw", "pool": "", "volume": ""} | given),)}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_fits_libvirts_schema(against_schema, name):
    assert against_schema("domain", complete(declared(**on_server(**SOURCES[name])))) == []


@pytest.mark.xdist_group("lab")
def test_every_guest_reads_back_as_it_was_declared_also_after_all_others(host):
    before = declared_on_host()
    domain = host.define(complete(before))
    for name, given in [*SOURCES.items(), *reversed(SOURCES.items())]:
        after = declared_on_host(**on_server(**given))

        domain = host.define(overlay(domain.XMLDesc(DUMP), after, before))

        assert differences(after, before, domain.XMLDesc(DUMP), Kind.DOMAIN) == (), name
        before = after


@pytest.fixture
def nbd_server(lab_host) -> Iterator[None]:
    """A server with an empty disk, which listens on the host's /srv/nbd.sock."""
    image, socket = (lab_host.folder / "srv" / name for name in ("nbd.raw", "nbd.sock"))
    image.write_bytes(bytes(1 << 20))
    with subprocess.Popen(["qemu-nbd", "-t", "-e", "4", "-f", "raw", "-k", socket, image]) as server:
        while not socket.exists() and server.poll() is None:
            time.sleep(0.02)
        if socket.exists():  # for a QEMU that is not root
            socket.chmod(0o666)
        yield
        server.kill()


@pytest.mark.xdist_group("lab")
def test_a_guest_that_runs_from_a_server_needs_nothing(host, nbd_server):
    text = declared_on_host(nics=(), **on_server(source=SOCKET))
    domain = host.define(complete(text))

    domain.create()

    assert domain.blockInfo("vda")[0] == 1 << 20
    found = assess(text, text, host.observe(domain), Origin())
    assert (found.changes, found.live, found.pending) == ((), (), ())


@pytest.mark.parametrize(
    ("before", "after", "impact"),
    [
        (NBD, NBD | {"name": "other"}, Impact.DATA_LOSS),
        (NBD, NBD | {"servers": ["elsewhere"]}, Impact.DATA_LOSS),
        (NBD, NBD | {"tls": True}, Impact.NEXT_BOOT),
        (NVME, NVME | {"managed": False}, Impact.NEXT_BOOT),
        (NVME, NVME | {"namespace": 2}, Impact.DATA_LOSS),
        (NVME, {"nvme": "0000:02:00.0"}, Impact.DATA_LOSS),
        (RBD, RBD | {"servers": ["ceph-1:6789", "ceph-3"]}, Impact.NEXT_BOOT),
        (GLUSTER, GLUSTER | {"servers": ["g2:24007", "g1", "g3"]}, Impact.NEXT_BOOT),
        (GLUSTER, GLUSTER | {"name": "vms/other.raw"}, Impact.DATA_LOSS),
    ],
)
def test_what_a_change_does_to_a_running_guest(before, after, impact):
    old, new = (declared(**on_server(source=source)) for source in (before, after))
    was = kept(old)

    found = assess(new, old, observed(was, was), Origin())

    assert {change.impact for change in found.changes} == {impact}
    assert found.live == ()


@pytest.mark.parametrize(
    ("make", "at"),
    [
        (Source, ()),
        (lambda: Source(path="/srv/x", protocol="nbd"), ()),
        (lambda: Source(path="/srv/x", name="db"), ("name",)),
        (lambda: Source(protocol="nbd"), ("protocol",)),
        (lambda: Source(**NVME | {"protocol": "nbd"}), ()),
        (lambda: Source(**NVME | {"name": "db"}), ("name",)),
        (lambda: Source(path="/dev/vg0/db", namespace=1), ("namespace",)),
        (lambda: Source(**NBD | {"managed": False}), ("managed",)),
        (lambda: Source(protocol="rbd"), ("protocol",)),
        (lambda: Source(**NBD | {"socket": "/run/x"}), ("socket",)),
        (lambda: Source(**NBD | {"servers": ["a", "b"]}), ("servers", 1)),
        (lambda: Source(**NBD | {"auth": {"user": "kvm", "secret": "x"}}), ("auth",)),
        (lambda: Source(**RBD | {"tls": True}), ("tls",)),
        (lambda: Source(**ISCSI | {"socket": "/run/x"}), ("socket",)),
        (lambda: Source(**WEB | {"protocol": "http", "verify": True}), ("verify",)),
        (lambda: Source(**GLUSTER | {"timeout": "5s"}), ("timeout",)),
        (lambda: Disk(source=WEB, format="raw"), ("source", "protocol")),
        (lambda: Disk(source=NBD), ("source",)),
        (lambda: Disk(source=NBD, format="raw", size=2**20), ("size",)),
    ],
)
def test_what_cannot_be_is_refused_at_its_key(make, at):
    with pytest.raises(ValidationError) as refused:
        make()

    (error,) = refused.value.errors()
    assert (error["type"], error["ctx"]["at"]) == ("manifest.bad-disk", at)
