"""Disks that begin as full copies: made by the host, once, and only while nobody writes to the original."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import libvirt
import pytest

from kvmdecl.diagnostics import TaskFailed
from kvmdecl.hosts.ledger import LedgerWriter
from kvmdecl.names import MIB
from kvmdecl.state import Kind, LedgerEntry
from kvmdecl.tasks import CreateVolume, ResizeVolume
from tests.perform.conftest import CLUSTER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.perform.conftest import Hand

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="looks at volumes with qemu-img")

DATA = os.urandom(MIB)
LARGE = 150  # times that: enough to be copied for a while


def disk(name: str, format_: str, capacity: int | None, **given: object) -> CreateVolume:
    task = CreateVolume("vms", name, "disk", format_, capacity, "off", None, None, name.partition(".")[0])
    return replace(task, **given)  # type: ignore[arg-type]


@pytest.fixture
def original(hand: Hand, pool: libvirt.virStoragePool) -> Path:
    """A raw volume `golden.raw` of 8 MiB with something in it, that kvmdecl did not make."""
    path = hand.path("/srv/vms/golden.raw")
    path.write_bytes(DATA.ljust(8 * MIB, b"\0"))
    pool.refresh()
    return path


def content(hand: Hand, name: str, format_: str) -> bytes:
    """What a guest would read on the disk."""
    path = hand.path(f"/srv/vms/{name}")
    out = path.with_suffix(".out")
    subprocess.run(["qemu-img", "convert", "-f", format_, "-O", "raw", path, out], check=True)
    return out.read_bytes()


@pytest.mark.usefixtures("original")
@pytest.mark.parametrize("size", [None, 8 * MIB, 16 * MIB])
@pytest.mark.parametrize("chain", [("raw",), ("qcow2",), ("qcow2", "qcow2"), ("qcow2", "raw")])
def test_a_copy_holds_all_that_the_original_does_in_its_own_format_and_size(
    hand: Hand, chain: tuple[str, ...], size: int | None
):
    source = "golden.raw"
    for number, format_ in enumerate(chain):
        name = f"web-{number}.root.{format_}"
        hand.do(disk(name, format_, size, clone=f"vms/{source}"))
        source = name

    (volume,) = [volume for volume in hand.look_at_volumes() if volume.name == source]
    assert (volume.capacity, volume.backing) == (size or 8 * MIB, None)
    assert content(hand, source, chain[-1]) == DATA.ljust(size or 8 * MIB, b"\0")
    noted = hand.ledger.find(Kind.VOLUME, "vms/web-0.root." + chain[0])
    assert (noted.applied, noted.complete) == ("copy of vms/golden.raw", True)


@pytest.mark.usefixtures("original")
def test_a_copy_of_a_linked_disk_stands_on_its_own(hand: Hand):
    hand.do(disk("web.root.qcow2", "qcow2", None, backing="golden.raw"))
    hand.do(disk("copy.root.qcow2", "qcow2", None, clone="vms/web.root.qcow2"))
    hand.path("/srv/vms/golden.raw").unlink()

    assert content(hand, "copy.root.qcow2", "qcow2").startswith(DATA)


@pytest.mark.usefixtures("original")
def test_a_copy_may_be_encrypted_and_larger(hand: Hand):
    secret = hand.connection.secretDefineXML(
        "<secret private='yes'><usage type='volume'><volume>c</volume></usage></secret>"
    )
    secret.setValue(b"open sesame")
    sealed = disk("web.root.qcow2", "qcow2", 16 * MIB, clone="vms/golden.raw", encryption=secret.UUIDString())
    hand.do(sealed)

    assert DATA[:4096] not in hand.path("/srv/vms/web.root.qcow2").read_bytes()
    (volume,) = [v for v in hand.look_at_volumes() if v.name == sealed.name]
    assert (volume.capacity, volume.encrypted) == (16 * MIB, True)
    with pytest.raises(TaskFailed, match="which is encrypted"):
        hand.do(disk("copy.root.raw", "raw", None, clone="vms/web.root.qcow2"))


@pytest.mark.usefixtures("original")
def test_a_copy_smaller_than_the_original_is_not_begun(hand: Hand):
    with pytest.raises(TaskFailed) as failed:
        hand.do(disk("web.root.raw", "raw", 4 * MIB, clone="vms/golden.raw"))
    assert failed.value.diagnostic.code == "step.would-shrink"
    assert hand.ledger.entries == ()


def guest(hand: Hand, file: str, extra: str = "") -> libvirt.virDomain:
    """A guest that has a file for its disk, started and paused."""
    return hand.connection.createXML(
        "<domain type='qemu'><name>db</name><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices>"
        f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{file}'/>{extra}"
        "<target dev='vda' bus='virtio'/></disk></devices></domain>",
        libvirt.VIR_DOMAIN_START_PAUSED,
    )


@pytest.mark.usefixtures("original")
def test_what_a_guest_writes_to_is_not_copied_and_what_it_only_reads_is(hand: Hand):
    copy = disk("web.root.raw", "raw", None, clone="vms/golden.raw")
    writer = guest(hand, "/srv/vms/golden.raw")
    with pytest.raises(TaskFailed) as failed:
        hand.do(copy)
    assert failed.value.diagnostic.code == "step.cannot-copy"
    assert "written to by db" in failed.value.diagnostic.summary
    assert hand.ledger.entries == ()
    writer.destroy()

    reader = guest(hand, "/srv/vms/golden.raw", "<readonly/>")
    hand.do(copy)
    reader.destroy()


def test_a_copy_is_taken_away_again_if_a_guest_began_to_write_to_the_original_meanwhile(
    hand: Hand, original: Path
):
    original.write_bytes(DATA * LARGE)
    hand.connection.storagePoolLookupByName("vms").refresh()
    started = threading.Timer(0.05, guest, (hand, "/srv/vms/golden.raw"))
    started.start()

    with pytest.raises(TaskFailed) as failed:
        hand.do(disk("web.root.raw", "raw", None, clone="vms/golden.raw"))
    started.join()

    assert failed.value.diagnostic.code == "step.cannot-copy"
    assert not hand.path("/srv/vms/web.root.raw").exists()
    assert hand.ledger.entries == ()
    hand.connection.lookupByName("db").destroy()


def test_a_copy_whose_making_was_interrupted_is_made_again_once_libvirt_has_let_go_of_it(
    hand: Hand, original: Path
):
    original.write_bytes(DATA * LARGE)
    pool = hand.connection.storagePoolLookupByName("vms")
    pool.refresh()
    task = disk("web.root.raw", "raw", None, clone="vms/golden.raw")
    LedgerWriter(hand.connection, CLUSTER).note(
        LedgerEntry(Kind.VOLUME, "vms/web.root.raw", "web", "copy of vms/golden.raw", complete=False)
    )
    xml = "<volume><name>web.root.raw</name><capacity>0</capacity><target><format type='raw'/></target></volume>"
    source = pool.storageVolLookupByName("golden.raw")
    orphaned = threading.Thread(target=pool.createXMLFrom, args=(xml, source, 0))
    orphaned.start()  # kvmdecl was killed, and libvirtd copies on
    while "web.root.raw" not in pool.listVolumes():
        pass

    hand.do(task)

    orphaned.join()
    assert hand.path("/srv/vms/web.root.raw").read_bytes() == original.read_bytes()
    assert hand.ledger.find(Kind.VOLUME, "vms/web.root.raw").complete
    told = [progress for progress in hand.told if progress.unit == "bytes"]
    assert told[-1].total >= LARGE * MIB
    assert any(progress.done for progress in told), "it is told how far the copy is"


@pytest.mark.usefixtures("original")
def test_a_copy_is_never_made_again_when_it_is_complete(hand: Hand):
    task = disk("web.root.raw", "raw", None, clone="vms/golden.raw")
    hand.do(task)
    hand.path("/srv/vms/web.root.raw").write_bytes(b"precious".ljust(8 * MIB, b"\0"))

    with pytest.raises(TaskFailed) as failed:
        hand.do(task)

    assert failed.value.diagnostic.code == "step.not-ours"
    hand.do(ResizeVolume("vms", "web.root.raw", 16 * MIB, None))
    assert hand.path("/srv/vms/web.root.raw").read_bytes().startswith(b"precious")
