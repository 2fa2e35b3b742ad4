"""Image files: found beside the manifest, looked into, digested once, refused when not what is said."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import pytest

from kvmdecl import images
from kvmdecl.diagnostics import Rejected
from kvmdecl.images import Care, read_inputs
from kvmdecl.load import load
from kvmdecl.names import GIB
from tests.resolve.support import BASE, SHA256, rejected, resolved, told

POOL = "storage: {vms: /srv/vms}\n"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def qcow2(size: int, *, backing: int = 0, features: int = 0) -> bytes:
    """The header of an image of this virtual size (version 3)."""
    header = struct.pack(">4sIQIIQ", b"QFI\xfb", 3, backing, 0, 16, size)
    return (header + bytes(40) + struct.pack(">Q", features)).ljust(104, b"\0")


def old(path: Path, content: bytes) -> Path:
    """A file that was written some time ago."""
    path.write_bytes(content)
    os.utime(path, (1_000_000, 1_000_000))
    return path


def test_an_image_is_found_beside_its_manifest_and_digested(tmp_path: Path) -> None:
    content = qcow2(2 * GIB)
    (tmp_path / "debian.qcow2").write_bytes(content)
    (image,) = resolved("images: {debian: debian.qcow2}\n", tmp_path).images
    assert image.content.sha256 == hashlib.sha256(content).hexdigest()
    assert image.content.size == len(content)
    assert image.content.path == str(tmp_path / "debian.qcow2")


def test_a_path_stays_relative_so_that_plans_are_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters" / "cluster.yaml").write_text(BASE + "images: {debian: ../images/debian.qcow2}\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "debian.qcow2").write_bytes(qcow2(GIB))
    monkeypatch.chdir(tmp_path)
    assert read_inputs(load(Path("clusters/cluster.yaml"))).images["debian"].path == "images/debian.qcow2"


def test_a_digest_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = old(tmp_path / "debian.qcow2", qcow2(GIB))
    text = "images: {debian: debian.qcow2}\n"
    first = resolved(text, tmp_path).images[0].content.sha256
    monkeypatch.setattr(images, "_CHUNK", None)  # reading the file once more would fail
    assert resolved(text, tmp_path).images[0].content.sha256 == first
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    old(path, qcow2(2 * GIB))
    assert resolved(text, tmp_path).images[0].content.sha256 != first


def test_a_file_of_this_moment_is_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "debian.qcow2").write_bytes(qcow2(GIB))
    resolved("images: {debian: debian.qcow2}\n", tmp_path)
    assert not (tmp_path / "cache").exists()


def test_a_given_digest_saves_reading_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old(tmp_path / "debian.qcow2", qcow2(GIB))
    monkeypatch.setattr(images, "_CHUNK", None)
    text = f'images: {{debian: {{source: debian.qcow2, sha256: "{SHA256}"}}}}\n'
    assert resolved(text, tmp_path).images[0].content.sha256 == SHA256


def test_a_wrong_digest_is_told_when_asked_to_verify_and_from_then_on(tmp_path: Path) -> None:
    old(tmp_path / "debian.qcow2", qcow2(GIB))
    text = f'images: {{debian: {{source: debian.qcow2, sha256: "{SHA256}"}}}}\n'
    (tmp_path / "cluster.yaml").write_text(BASE + text)
    with pytest.raises(Rejected, match=r"image\.digest-mismatch"):
        read_inputs(load(tmp_path / "cluster.yaml"), Care.VERIFY)
    assert told(text, tmp_path) == [("image.digest-mismatch", f'"{SHA256}"')]


def test_an_image_without_file_needs_its_digest(tmp_path: Path) -> None:
    assert told("images: {debian: debian.qcow2}\n", tmp_path) == [("image.missing", "debian.qcow2")]


@pytest.mark.parametrize("what", ["folder", "fifo"])
def test_only_a_regular_file_is_an_image(tmp_path: Path, what: str) -> None:
    path = tmp_path / "debian.qcow2"
    path.mkdir() if what == "folder" else os.mkfifo(path)
    assert told("images: {debian: debian.qcow2}\n", tmp_path) == [("image.unreadable", "debian.qcow2")]


@pytest.mark.parametrize(
    ("content", "format_"),
    [(b"\0" * 512, "qcow2"), (qcow2(GIB), "raw"), (qcow2(GIB)[:60], "qcow2"), (b"", "qcow2")],
)
def test_a_file_has_the_format_that_is_declared(tmp_path: Path, content: bytes, format_: str) -> None:
    (tmp_path / "disk.img").write_bytes(content)
    text = f"images: {{debian: {{source: disk.img, format: {format_}}}}}\n"
    assert told(text, tmp_path) == [("image.wrong-format", "disk.img")]


@pytest.mark.parametrize("content", [qcow2(GIB, backing=512), qcow2(GIB, features=4)])
def test_an_image_that_leads_to_other_files_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "debian.qcow2").write_bytes(content)
    assert told("images: {debian: debian.qcow2}\n", tmp_path) == [("image.backing-file", "debian.qcow2")]


def test_a_disk_is_not_smaller_than_its_image(tmp_path: Path) -> None:
    (tmp_path / "debian.qcow2").write_bytes(qcow2(3 * GIB))
    text = POOL + "images: {debian: debian.qcow2}\nvms: {web: {image: debian, disk: SIZE}}\n"
    assert resolved(text.replace("SIZE", "3GiB"), tmp_path).vms[0].disks[0].size == 3 * GIB
    (found,) = rejected(text.replace("SIZE", "2GiB"), tmp_path)
    assert found.code == "image.disk-too-small"
    assert found.summary == "the disk has 2GiB and image debian needs 3GiB"


def test_a_raw_images_size_is_that_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(4096))
    text = POOL + "images: {d: {source: disk.img, format: raw}}\nvms: {web: {image: d, disk: 2048B}}\n"
    assert told(text, tmp_path) == [("image.disk-too-small", "2048B")]


@pytest.mark.parametrize(
    ("name", "content"),
    [("missing", None), ("../outside", b"#!"), ("binary", b"#!\xff"), ("big", b"#" * 2**20 + b"##")],
)
def test_a_text_for_cloud_init_is_short_utf8_inside_of_the_manifests_folder(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    if content is not None:
        (home / name).write_bytes(content)
    text = POOL + f"vms: {{web: {{cloud_init: {{user_data_file: {name}}}}}}}\n"
    assert told(text, home) == [("cloud-init.unreadable", name)]


def test_a_link_does_not_lead_out_of_the_manifests_folder(tmp_path: Path) -> None:
    (tmp_path / "user-data").symlink_to("/etc/hostname")
    text = POOL + "vms: {web: {cloud_init: {user_data_file: user-data}}}\n"
    assert told(text, tmp_path) == [("cloud-init.unreadable", "user-data")]


def test_where_only_names_matter_no_image_need_be_at_hand(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(
        "apiVersion: kvmdecl/v1\ncluster: c\nhosts: {h: 'qemu+tls://h/system'}\nimages: {gone: gone.qcow2}\n"
    )

    read = read_inputs(load(tmp_path / "cluster.yaml"), Care.IGNORE)

    assert read.images["gone"].sha256 == ""
