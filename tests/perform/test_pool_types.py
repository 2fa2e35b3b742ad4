"""A pool on a device of its own: mounted, and formatted only when that was said and nothing is on it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from kvmdecl.cluster import ResolvedPool
from kvmdecl.diagnostics import TaskFailed
from kvmdecl.libvirt_xml.pool import pool_xml
from kvmdecl.manifest import Pool
from kvmdecl.names import MIB, derive_uuid
from kvmdecl.state import Kind
from kvmdecl.tasks import CreatePool, CreateVolume, DeletePool, UpdatePool
from tests.perform.conftest import CLUSTER, Hand

UUID = derive_uuid(CLUSTER, "pool", "data")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/loop-control").exists() or not shutil.which("mkfs.ext4"),
    reason="loop devices need root, and a file system mkfs.ext4",
)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    """An empty block device."""
    file = tmp_path / "device.img"
    file.touch()
    os.truncate(file, 64 * MIB)
    found = _run("losetup", "--find", "--show", str(file)).strip()
    yield found
    _run("losetup", "--detach", found)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def create(device: str, *, build: bool) -> CreatePool:
    spec = Pool(type="fs", path="/srv/data", devices=(device,), format="ext4", build=build)
    xml = pool_xml(ResolvedPool("data", UUID, spec, ("kvm-1",)))
    return CreatePool("data", UUID, xml, autostart=True, build=build)


def test_an_empty_device_is_formatted_mounted_and_holds_volumes(hand: Hand, device: str):
    hand.do(create(device, build=True))
    hand.do(CreateVolume("data", "db.qcow2", "disk", "qcow2", 8 * MIB, "off", None, None, "db"))

    pool = hand.connection.storagePoolLookupByName("data")
    assert pool.info()[1] < 64 * MIB, "it is the device's file system, not the one of /srv"
    assert "db.qcow2" in [volume.name for volume in hand.look_at_volumes("data")]
    hand.do(DeletePool("data", UUID))
    assert _run("blkid", "-o", "value", "-s", "TYPE", device).strip() == "ext4", "its content stays"


def test_a_device_that_holds_something_is_never_formatted(hand: Hand, device: str):
    _run("mkfs.ext4", "-q", "-L", "precious", device)

    with pytest.raises(TaskFailed):
        hand.do(create(device, build=True))

    assert _run("blkid", "-o", "value", "-s", "LABEL", device).strip() == "precious"
    assert hand.connection.listAllStoragePools() == [], "what cannot be built is not left behind"
    assert hand.ledger.entries == ()


def test_a_device_is_not_formatted_unless_that_was_said(hand: Hand, device: str):
    with pytest.raises(TaskFailed):
        hand.do(create(device, build=False))

    assert Path(device).read_bytes().count(0) == 64 * MIB


def test_a_file_system_that_is_there_is_mounted_with_what_is_on_it(hand: Hand, device: str):
    _run("mkfs.ext4", "-q", device)
    hand.do(create(device, build=False))
    hand.do(CreateVolume("data", "db.raw", "disk", "raw", 8 * MIB, "off", None, None, "db"))
    hand.do(DeletePool("data", UUID))

    hand.do(create(device, build=False))

    assert "db.raw" in [volume.name for volume in hand.look_at_volumes("data")]


def test_a_pool_whose_making_was_interrupted_is_finished(hand: Hand, device: str):
    task = create(device, build=True)
    hand.connection.storagePoolDefineXML(task.xml)

    hand.do(UpdatePool("data", UUID, start=True, autostart=True, build=True))

    assert hand.connection.storagePoolLookupByName("data").isActive()
    assert [(entry.kind, entry.name, entry.complete) for entry in hand.ledger.entries] == [
        (Kind.POOL, "data", True)
    ]


def test_a_pool_is_not_unmounted_under_a_guest(hand: Hand, device: str):
    hand.do(create(device, build=True))
    hand.do(CreateVolume("data", "db.raw", "disk", "raw", 8 * MIB, "off", None, None, "db"))
    guest = hand.connection.createXML(
        "<domain type='qemu'><name>db</name><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices>"
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/srv/data/db.raw'/>"
        "<target dev='vda' bus='virtio'/></disk></devices></domain>",
        libvirt.VIR_DOMAIN_START_PAUSED,
    )

    with pytest.raises(TaskFailed) as failed:
        hand.do(DeletePool("data", UUID))
    assert failed.value.diagnostic.code == "step.pool-in-use"
    assert hand.connection.storagePoolLookupByName("data").isActive()

    guest.destroy()
    hand.do(DeletePool("data", UUID))
    assert hand.connection.listAllStoragePools() == []
