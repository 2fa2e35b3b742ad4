"""Volumes are made, filled and grown; a torn upload is known for what it is and made again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pycdlib
import pytest

from kvmdecl.diagnostics import Moved, TaskFailed
from kvmdecl.hosts.ledger import LedgerWriter
from kvmdecl.state import (
    FileContent,
    Kind,
    LedgerEntry,
    SecretSource,
    SeedContent,
    SeedSecret,
    VolumeOptions,
)
from kvmdecl.tasks import CreateVolume, DeleteVolume, ResizeVolume

if TYPE_CHECKING:
    from pathlib import Path

    from tests.perform.conftest import Hand

CLUSTER = "edge"

MIB = 1 << 20


def disk(name: str = "web-1.root.qcow2", **changes: object) -> CreateVolume:
    task = CreateVolume(
        pool="vms",
        name=name,
        role="disk",
        format="qcow2",
        capacity=8 * MIB,
        preallocation="off",
        backing=None,
        content=None,
        owner="web-1",
    )
    return replace(task, **changes)  # type: ignore[arg-type]


def image(path: Path, name: str = "debian.raw", format_: str = "raw") -> CreateVolume:
    data = path.read_bytes()
    content = FileContent(str(path), hashlib.sha256(data).hexdigest(), len(data))
    return disk(name, role="image", format=format_, capacity=None, content=content, owner="")


@pytest.fixture
def raw_image(tmp_path: Path) -> Path:
    """3 MiB with a hole of 1 MiB, and an end that fills no whole piece."""
    path = tmp_path / "debian.raw"
    path.write_bytes(os.urandom(MIB) + bytes(MIB) + os.urandom(MIB - 300 * 512))
    return path


def of(hand: Hand, task: CreateVolume) -> Path:
    return hand.path(f"/srv/vms/{task.name}")


def entry(task: CreateVolume, *, complete: bool) -> LedgerEntry:
    applied = task.content.sha256 if isinstance(task.content, FileContent) else task.backing or ""
    return LedgerEntry(Kind.VOLUME, f"vms/{task.name}", task.owner, applied, complete=complete)


pytestmark = pytest.mark.usefixtures("pool")


@pytest.mark.parametrize(
    ("format_", "preallocation", "at_least", "at_most"),
    [
        ("raw", "off", 0, MIB),
        ("raw", "falloc", 8 * MIB, 9 * MIB),
        ("raw", "full", 8 * MIB, 9 * MIB),
        ("qcow2", "off", 0, MIB),
        ("qcow2", "metadata", 0, MIB),
        ("qcow2", "falloc", 8 * MIB, 9 * MIB),
    ],
)
def test_an_empty_disk_has_its_size_and_takes_the_room_that_was_asked_for(
    hand: Hand, format_: str, preallocation: str, at_least: int, at_most: int
):
    task = disk(f"web-1.data.{format_}", format=format_, preallocation=preallocation)
    hand.do(task)
    volume = hand.connection.storagePoolLookupByName("vms").storageVolLookupByName(task.name)
    _, capacity, _ = volume.info()
    assert capacity == 8 * MIB
    assert at_least <= of(hand, task).stat().st_blocks * 512 <= at_most
    assert hand.ledger.entries == (entry(task, complete=True),)


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="looks at the volume with qemu-img")
@pytest.mark.parametrize(
    "options", [VolumeOptions(), VolumeOptions(128 << 10, lazy_refcounts=True, nocow=True)]
)
def test_a_disk_is_made_with_its_options(hand: Hand, options: VolumeOptions):
    task = disk(options=options)
    hand.do(task)
    told = subprocess.run(
        ["qemu-img", "info", "--output=json", of(hand, task)], check=True, capture_output=True
    )
    info = json.loads(told.stdout)
    data = info["format-specific"]["data"]
    assert info["cluster-size"] == (options.cluster_size or 64 << 10)
    assert (data["compat"], data["lazy-refcounts"]) == ("1.1", options.lazy_refcounts)


@pytest.mark.parametrize("task", [disk(preallocation="full"), disk(preallocation="metadata", backing="x")])
def test_a_preallocation_that_libvirt_cannot_do_is_refused_and_leaves_nothing(hand: Hand, task: CreateVolume):
    with pytest.raises(TaskFailed) as failed:
        hand.do(task)
    assert failed.value.diagnostic.code == "step.preallocation"
    assert not of(hand, disk()).exists()


def test_a_volume_that_libvirt_refuses_to_make_leaves_no_note(hand: Hand):
    with pytest.raises(TaskFailed):
        hand.do(disk(format="raw", capacity=1 << 62))
    assert hand.ledger.entries == ()


def test_an_image_arrives_byte_for_byte_with_its_holes_and_tells_how_far_it_is(hand: Hand, raw_image: Path):
    task = image(raw_image)
    hand.do(task)
    assert of(hand, task).read_bytes() == raw_image.read_bytes()
    assert of(hand, task).stat().st_blocks * 512 <= raw_image.stat().st_size - MIB // 2
    assert hand.told[-1].done == hand.told[-1].total == raw_image.stat().st_size
    assert {progress.unit for progress in hand.told} == {"bytes"}
    assert hand.ledger.entries == (entry(task, complete=True),)


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="makes its image with qemu-img")
def test_a_disk_on_an_uploaded_qcow2_image_has_the_images_size_unless_it_says_more(
    hand: Hand, tmp_path: Path
):
    path = tmp_path / "debian.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "16M"], check=True)
    base = image(path, "debian.qcow2", "qcow2")
    hand.do(base)
    assert of(hand, base).read_bytes()[: path.stat().st_size] == path.read_bytes()
    hand.do(disk(capacity=None, backing=base.name))
    hand.do(disk("web-2.root.qcow2", capacity=32 * MIB, backing=base.name))
    volumes = {volume.name: volume for volume in hand.look_at_volumes()}
    assert volumes["debian.qcow2"].capacity == volumes["web-1.root.qcow2"].capacity == 16 * MIB
    assert volumes["web-2.root.qcow2"].capacity == 32 * MIB
    assert volumes["web-2.root.qcow2"].backing == "/srv/vms/debian.qcow2"
    assert hand.ledger.find(Kind.VOLUME, "vms/web-1.root.qcow2").applied == "debian.qcow2"


def test_a_disk_smaller_than_its_image_is_refused(hand: Hand, raw_image: Path):
    hand.do(image(raw_image))
    with pytest.raises(TaskFailed) as failed:
        hand.do(disk(capacity=MIB, backing="debian.raw"))
    assert failed.value.diagnostic.code == "step.would-shrink"


def test_a_seed_is_built_and_uploaded(hand: Hand):
    files = (("meta-data", "instance-id: web-1\n"), ("user-data", "#cloud-config\n"))
    task = disk("web-1.seed.iso", role="seed", format="raw", capacity=None, content=SeedContent(files))
    hand.do(task)
    seed = pycdlib.PyCdlib()
    seed.open_fp(io.BytesIO(of(hand, task).read_bytes()))
    out = io.BytesIO()
    seed.get_file_from_iso_fp(out, joliet_path="/user-data")
    assert out.getvalue() == b"#cloud-config\n"


def seed_with_a_secret() -> CreateVolume:
    files = (("meta-data", ""), ("user-data", "#cloud-config\npassword: ${secret:pw|json}\n"))
    secret = SeedSecret("pw", "login", "1", SecretSource(env="KVMDECL_SECRET_LOGIN"))
    content = SeedContent(files, secrets=(secret,))
    return disk("web-1.seed.iso", role="seed", format="raw", capacity=None, content=content)


def test_the_value_of_a_secret_is_in_the_seed_and_nowhere_else(hand: Hand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KVMDECL_SECRET_LOGIN", 'hunter"2')
    task = seed_with_a_secret()
    hand.do(task)
    assert b'#cloud-config\npassword: "hunter\\"2"\n' in of(hand, task).read_bytes()
    assert "hunter" not in repr((task, hand.ledger, hand.told))


def test_a_seed_whose_secret_is_not_at_hand_is_not_begun(hand: Hand):
    with pytest.raises(TaskFailed) as failed:
        hand.do(seed_with_a_secret())
    assert failed.value.diagnostic.code == "step.secret-unreadable"
    assert (hand.ledger.entries, hand.look_at_volumes()) == ((), ())


def test_a_torn_upload_is_repaired(hand: Hand, raw_image: Path):
    task = image(raw_image)
    hand.do(task)
    of(hand, task).write_bytes(raw_image.read_bytes()[: MIB // 2])  # as after kill -9 in the middle
    LedgerWriter(hand.connection, CLUSTER).note(entry(task, complete=False))
    hand.connection.storagePoolLookupByName("vms").refresh()
    hand.do(task)
    assert of(hand, task).read_bytes() == raw_image.read_bytes()
    assert hand.ledger.entries == (entry(task, complete=True),)


def test_an_empty_disk_whose_making_was_interrupted_is_finished_and_never_made_again(hand: Hand):
    task = disk(format="raw", name="web-1.data.raw")
    hand.do(task)
    of(hand, task).write_bytes(b"precious".ljust(8 * MIB, b"\0"))
    LedgerWriter(hand.connection, CLUSTER).note(entry(task, complete=False))
    hand.do(task)
    assert of(hand, task).read_bytes().startswith(b"precious")
    assert hand.ledger.entries == (entry(task, complete=True),)


@pytest.mark.parametrize("complete", [True, None])
def test_a_volume_that_is_not_a_torn_upload_of_ours_is_never_made_again(
    hand: Hand, raw_image: Path, complete: bool | None
):
    task = image(raw_image)
    hand.do(task)
    if complete is None:
        LedgerWriter(hand.connection, CLUSTER).forget(Kind.VOLUME, f"vms/{task.name}")
    of(hand, task).write_bytes(b"x" * 3 * MIB)
    with pytest.raises(TaskFailed) as failed:
        hand.do(task)
    assert failed.value.diagnostic.code == "step.not-ours"
    assert of(hand, task).read_bytes() == b"x" * 3 * MIB


def test_a_file_that_changed_since_the_plan_leaves_no_volume_and_no_note(hand: Hand, raw_image: Path):
    task = image(raw_image)
    with raw_image.open("r+b") as file:
        file.write(b"other")
    with pytest.raises(TaskFailed) as failed:
        hand.do(task)
    assert failed.value.diagnostic.code == "step.content-changed"
    assert "sha256" in failed.value.diagnostic.summary
    assert (hand.look(hand.address(task)), hand.ledger.entries) == (None, ())


def test_a_file_that_is_gone_is_a_failed_step(hand: Hand, raw_image: Path):
    task = image(raw_image)
    raw_image.unlink()
    with pytest.raises(TaskFailed) as failed:
        hand.do(task)
    assert failed.value.diagnostic.code == "step.content-changed"
    assert "No such file" in failed.value.diagnostic.summary
    assert hand.look(hand.address(task)) is None


@pytest.mark.parametrize(("format_", "how"), [("raw", "falloc"), ("raw", "full"), ("qcow2", "falloc")])
def test_an_allocation_that_has_no_room_is_not_begun(hand: Hand, format_: str, how: str):
    huge = disk(f"huge.{format_}", format=format_, capacity=1 << 43, preallocation=how)
    with pytest.raises(TaskFailed) as failed:
        hand.do(huge)
    assert failed.value.diagnostic.code == "step.pool-full"
    assert hand.ledger.entries == ()
    assert not of(hand, huge).exists()


def test_an_upload_that_has_no_room_is_not_begun(hand: Hand, tmp_path: Path):
    path = tmp_path / "huge.raw"
    with path.open("wb") as file:
        file.truncate(1 << 43)  # 8 TiB, all of it a hole
    huge = disk(
        "huge.raw", role="image", format="raw", capacity=None, content=FileContent(str(path), "0" * 64, None)
    )
    with pytest.raises(TaskFailed) as failed:
        hand.do(huge)
    assert failed.value.diagnostic.code == "step.pool-full"
    assert hand.look(hand.address(huge)) is None


def test_a_volume_that_somebody_made_meanwhile_is_not_touched(hand: Hand):
    hand.connection.storagePoolLookupByName("vms").createXML(
        "<volume><name>web-1.root.qcow2</name><capacity>512</capacity></volume>"
    )
    with pytest.raises(Moved, match="appeared"):
        hand.do(disk(), planned=None)
    assert hand.ledger.entries == ()


def test_a_volume_that_destroy_left_behind_is_taken_up_again_by_the_next_apply(hand: Hand):
    hand.do(disk())
    of(hand, disk()).touch()
    before = of(hand, disk()).stat()
    (remark,) = hand.do(disk(), planned=None).remarks
    assert remark == "it was there already, made by an earlier run, and is kept as it is"
    after = of(hand, disk()).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("other", [disk(capacity=4 * MIB), disk(format="raw"), disk(owner="web-2")])
def test_a_volume_that_was_left_behind_and_is_another_one_is_not_touched(hand: Hand, other: CreateVolume):
    hand.do(disk())
    with pytest.raises(Moved, match="appeared"):
        hand.do(other, planned=None)
    assert hand.ledger.entries == (entry(disk(), complete=True),)


def test_a_volume_grows_and_never_shrinks(hand: Hand):
    hand.do(disk())
    hand.do(ResizeVolume("vms", disk().name, 16 * MIB, None))
    with pytest.raises(TaskFailed) as failed:
        hand.do(ResizeVolume("vms", disk().name, 8 * MIB, None))
    assert failed.value.diagnostic.code == "step.would-shrink"
    (volume,) = hand.look_at_volumes()
    assert volume.capacity == 16 * MIB


def test_a_deleted_volume_is_gone_and_forgotten(hand: Hand):
    hand.do(disk())
    hand.do(DeleteVolume("vms", disk().name))
    assert not of(hand, disk()).exists()
    assert hand.ledger.entries == ()


def test_a_volume_of_somebody_else_is_never_deleted(hand: Hand):
    hand.do(disk())
    LedgerWriter(hand.connection, CLUSTER).forget(Kind.VOLUME, f"vms/{disk().name}")
    with pytest.raises(TaskFailed) as failed:
        hand.do(DeleteVolume("vms", disk().name))
    assert failed.value.diagnostic.code == "step.not-ours"
    assert of(hand, disk()).exists()


def test_an_iso_image_is_uploaded_as_the_raw_file_that_it_is(hand: Hand, tmp_path: Path):
    path, iso = tmp_path / "installer.iso", pycdlib.PyCdlib()
    iso.new(vol_ident="INSTALLER")
    iso.write(str(path))
    iso.close()
    task = image(path, "installer.raw")
    hand.do(task)
    assert of(hand, task).read_bytes() == path.read_bytes()
    assert hand.ledger.find(Kind.VOLUME, "vms/installer.raw") == entry(task, complete=True)
