"""`kvmdecl facts` as a user runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kvmdecl.cli.main import run
from kvmdecl.snapshot import load_snapshots

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = """apiVersion: kvmdecl/v1
cluster: demo
hosts:
  kvm-1: {uri: "test:///default"}
  kvm-2: {uri: "test:///default"}
  kvm-3: {uri: "qemu+unix:///system?socket=/nowhere/libvirt-sock"}
vms: {}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KVMDECL_LAB", raising=False)
    monkeypatch.delenv("KVMDECL_CLUSTER", raising=False)
    (tmp_path / "cluster.yaml").write_text(MANIFEST)
    return tmp_path


def test_every_host_that_answers_gets_a_file_and_the_others_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["facts", "--out", "saved"]) == 3
    assert list(load_snapshots(folder / "saved")) == ["kvm-1", "kvm-2"]
    shown = capsys.readouterr()
    assert shown.out == "wrote saved/kvm-1.json\nwrote saved/kvm-2.json\n"
    assert "error[host.unreachable]: kvm-3" in shown.err


def test_chosen_hosts_only(folder: Path):
    assert run(["facts", "--host", "kvm-2"]) == 0
    assert list(load_snapshots(folder / "facts")) == ["kvm-2"]


def test_a_host_that_is_not_in_the_manifest_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["facts", "--host", "kvm-l"]) == 1
    assert "facts.unknown-host" in capsys.readouterr().err
    assert not (folder / "facts").exists()


def test_a_folder_that_cannot_be_written_is_said_plainly(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "facts").write_text("in the way")
    assert run(["facts", "--host", "kvm-1"]) == 1
    assert "output.not-written" in capsys.readouterr().err


def test_facts_from_saved_xml_need_no_manifest(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "cluster.yaml").unlink()
    (folder / "xml" / "kvm-7").mkdir(parents=True)
    (folder / "xml" / "kvm-7" / "capabilities.xml").write_text("<capabilities><host/></capabilities>")
    assert run(["facts", "--from-xml", "xml"]) == 0
    assert capsys.readouterr().out == "wrote facts/kvm-7.json\n"
    assert list(load_snapshots(folder / "facts")) == ["kvm-7"]
