"""With KVMDECL_LAB the hosts of a lab stand in for those of the manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmdecl.cli import common
from kvmdecl.cluster import ResolvedCluster
from kvmdecl.diagnostics import Rejected
from kvmdecl.lab import Lab
from kvmdecl.pipeline import load_cluster
from kvmdecl.pluginhost import load_plugins


def cluster_of(folder: Path, *hosts: str) -> ResolvedCluster:
    lines = "".join(f'  {host}: "qemu+tls://{host}.example/system"\n' for host in hosts)
    (folder / "cluster.yaml").write_text(f"apiVersion: kvmdecl/v1\ncluster: test\nhosts:\n{lines}")
    return load_cluster(folder / "cluster.yaml", load_plugins())


def test_without_a_lab_hosts_are_where_the_manifest_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    uris = common.host_uris(cluster_of(tmp_path, "kvm-1"))

    assert not common.rehearsing()
    assert {name: str(uri) for name, uri in uris.items()} == {"kvm-1": "qemu+tls://kvm-1.example/system"}
    assert capsys.readouterr().err == ""


def test_in_a_rehearsal_they_are_the_labs_and_that_is_said(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("KVMDECL_LAB", str(lab.directory))

    uris = common.host_uris(cluster_of(tmp_path, "kvm-1", "kvm-2"))

    assert common.rehearsing()
    assert {name: str(uri) for name, uri in uris.items()} == {
        name: lab.host(name).uri() for name in ("kvm-1", "kvm-2")
    }
    said = f"Rehearsal: the hosts are those of the lab in {lab.directory} (KVMDECL_LAB).\n"
    assert capsys.readouterr().err == said


def test_every_host_that_the_lab_lacks_is_named_and_none_is_reached_for_real(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KVMDECL_LAB", str(lab.directory))

    with pytest.raises(Rejected) as caught:
        common.host_uris(cluster_of(tmp_path, "kvm-1", "kvm-8", "other"))

    assert [found.code for found in caught.value.diagnostics] == ["lab.unknown-host"] * 2
    assert "kvm-8" in str(caught.value)
    assert "other" in str(caught.value)


def test_a_lab_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KVMDECL_LAB", str(tmp_path / "gone"))

    with pytest.raises(Rejected, match=r"lab\.not-found"):
        common.host_uris(cluster_of(tmp_path, "kvm-1"))
