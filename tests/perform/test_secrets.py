"""A secret gets its value from where the manifest says, and only the host ever sees it."""

from __future__ import annotations

import base64
from pathlib import Path

import libvirt
import pytest

from kvmdecl.cluster import ResolvedSecret
from kvmdecl.diagnostics import TaskFailed
from kvmdecl.libvirt_xml.secret import secret_xml, usage_id
from kvmdecl.manifest import Secret
from kvmdecl.names import derive_uuid
from kvmdecl.state import Kind, LedgerEntry, SecretSource
from kvmdecl.tasks import DefineSecret
from tests.perform.conftest import CLUSTER, Hand

pytestmark = pytest.mark.xdist_group("lab")

UUID = derive_uuid(CLUSTER, "secret", "db")
SET = LedgerEntry(Kind.SECRET, "db", "", "1", complete=True)


def task(source: SecretSource, *, private: bool = True, usage: str = "volume") -> DefineSecret:
    spec = Secret.model_validate({"usage": usage, "value": {"env": "KVMDECL_SECRET_DB"}})
    xml = secret_xml(ResolvedSecret("db", UUID, spec, usage_id(CLUSTER, usage, "db"), source))
    # Nobody can read back what is private, a test no more than others.
    return DefineSecret("db", UUID, usage, xml if private else xml.replace("yes", "no"), "1", source)


def value(hand: Hand) -> bytes:
    return hand.connection.secretLookupByUUIDString(UUID).value()


def test_a_secret_is_private_and_its_setting_is_noted(hand: Hand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KVMDECL_SECRET_DB", "correct horse")
    hand.do(task(SecretSource(env="KVMDECL_SECRET_DB")))
    assert hand.ledger.entries == (SET,)
    with pytest.raises(libvirt.libvirtError, match="secret is private"):
        value(hand)


@pytest.mark.parametrize("usage", ["volume", "ceph", "iscsi", "vtpm"])
def test_a_real_libvirt_takes_a_secret_of_every_usage(
    hand: Hand, monkeypatch: pytest.MonkeyPatch, usage: str
):
    monkeypatch.setenv("KVMDECL_SECRET_DB", "x")
    hand.do(task(SecretSource(env="KVMDECL_SECRET_DB"), usage=usage))
    assert hand.connection.secretLookupByUUIDString(UUID).usageID() == usage_id(CLUSTER, usage, "db")


@pytest.mark.parametrize(
    ("content", "encoding", "expected"),
    [
        (b"correct horse\n", "text", b"correct horse"),
        (b"two\nlines\r\n", "text", b"two\nlines"),
        (b"\x00\xff", "text", b"\x00\xff"),
        (base64.b64encode(b"\x00key") + b"\n", "base64", b"\x00key"),
    ],
)
def test_a_file_is_the_value_without_the_line_end_at_its_end(
    hand: Hand, tmp_path: Path, content: bytes, encoding: str, expected: bytes
):
    (tmp_path / "db.key").write_bytes(content)
    source = SecretSource(file=str(tmp_path / "db.key"), folder=str(tmp_path), encoding=encoding)
    hand.do(task(source, private=False))
    assert value(hand) == expected


def _elsewhere(folder: Path) -> None:
    (folder / "db.key").symlink_to("/etc/hostname")


def _loop(folder: Path) -> None:
    (folder / "db.key").symlink_to("db.key")


UNUSABLE = {
    "No such file": lambda folder: None,
    "it is empty": lambda folder: (folder / "db.key").write_text("\n"),
    "it leads out of the manifest's folder": _elsewhere,
    "it cannot be read|Too many levels": _loop,
    "it is no regular file": lambda folder: (folder / "db.key").mkdir(),
    "it has more than 65536 bytes": lambda folder: (folder / "db.key").write_text("x" * 70_000),
}


@pytest.mark.parametrize("why", UNUSABLE)
def test_without_a_value_nothing_is_done(hand: Hand, tmp_path: Path, why: str):
    folder = tmp_path / "manifest"
    folder.mkdir()
    UNUSABLE[why](folder)
    with pytest.raises(
        TaskFailed, match=why if why != "it is no regular file" else "regular file|directory"
    ) as failed:
        hand.do(task(SecretSource(file=str(folder / "db.key"), folder=str(folder))))
    assert failed.value.diagnostic.code == "step.secret-unreadable"
    assert hand.connection.listAllSecrets() == []


def test_what_is_wrong_with_a_value_is_said_without_it(hand: Hand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KVMDECL_SECRET_DB", "corréct horse!")
    with pytest.raises(TaskFailed) as failed:
        hand.do(task(SecretSource(env="KVMDECL_SECRET_DB", encoding="base64")))
    assert "horse" not in repr(failed.value.diagnostic)
    assert failed.value.__cause__ is None
