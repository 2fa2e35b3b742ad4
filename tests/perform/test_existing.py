"""Disks and drives that the host has already, as libvirt keeps them."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest

from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.overlay import complete, overlay
from kvmdecl.manifest import Cdrom
from kvmdecl.state import Kind
from tests.libvirt_xml.examples import declared, disk
from tests.perform.conftest import Hand

pytestmark = pytest.mark.xdist_group("lab")

DATA = {"size": None, "source": "/srv/data.qcow2", "format": "qcow2", "volume": "", "pool": ""}
ISO = Cdrom(source="/srv/tools.iso")

EXAMPLES: dict[str, dict[str, Any]] = {
    "a file": {"disks": (disk(**DATA),)},
    "a block device": {"disks": (disk(**DATA | {"source": "/dev/vg0/db", "format": "raw"}),)},
    "a target of one's choice": {"disks": (disk(**DATA | {"target": "vdq"}),)},
    "a disk of an old chipset": {
        "machine": "pc",
        "disks": (disk(**DATA | {"bus": "ide", "target": "hda"}),),
    },
}


@pytest.mark.lab
@pytest.mark.parametrize("story", EXAMPLES)
def test_libvirt_keeps_what_is_declared_of(story: str, hand: Hand):
    wanted = declared(type="qemu", **EXAMPLES[story])

    domain = hand.connection.defineXMLFlags(complete(wanted), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)

    kept = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert differences(wanted, None, kept, Kind.DOMAIN) == ()
    assert differences(wanted, None, overlay(kept, wanted), Kind.DOMAIN) == ()


def test_a_disk_that_exists_is_given_neither_a_name_nor_a_serial_of_ours():
    """The guest runs with the disk as it is: neither could be changed under it."""
    theirs = (
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/data.qcow2'/>"
    )
    theirs += "<target dev='vda' bus='virtio'/></disk>"
    wanted = declared(disks=(disk(**DATA),))
    observed = declared(disks=()).replace("<devices>", f"<devices>{theirs}")

    assert differences(wanted, None, observed, Kind.DOMAIN) == ()
