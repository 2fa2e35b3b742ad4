"""What a newcomer gets from `kvmdecl init`."""

from __future__ import annotations

import json
from pathlib import Path

from kvmdecl.lab.guest import boot_sector
from tests.cli.conftest import Kvmdecl


def test_the_new_cluster_is_valid_as_it_is(kvmdecl: Kvmdecl, tmp_path: Path):
    answer = kvmdecl("init", "my-site")

    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.splitlines()[-1] == "Next: kvmdecl validate my-site"
    assert kvmdecl("validate", "my-site").stdout == "my-site is valid: 2 vms, 3 hosts, 1 file\n"
    assert (tmp_path / "my-site/images/tiny.img").read_bytes()[:512] == boot_sector()


def test_the_editor_finds_the_schema(kvmdecl: Kvmdecl, tmp_path: Path):
    kvmdecl("init", "my-site")

    first, *_ = (tmp_path / "my-site/cluster.yaml").read_text().splitlines()
    assert first == "# yaml-language-server: $schema=cluster.v1.json"
    schema = json.loads((tmp_path / "my-site/cluster.v1.json").read_text())
    assert "vms" in schema["properties"]


def test_the_cluster_is_named_after_its_folder_where_that_is_a_name(kvmdecl: Kvmdecl, tmp_path: Path):
    kvmdecl("init", "My Site!")

    assert "cluster: my-cluster " in (tmp_path / "My Site!/cluster.yaml").read_text()


def test_the_folder_may_be_this_one(kvmdecl: Kvmdecl, tmp_path: Path):
    folder = tmp_path / "here"
    folder.mkdir()

    assert kvmdecl("init", cwd=folder).stdout.splitlines()[-1] == "Next: kvmdecl validate"
    assert kvmdecl("validate", cwd=folder).stdout.startswith("here is valid")


def test_nothing_is_overwritten(kvmdecl: Kvmdecl, tmp_path: Path):
    (tmp_path / "cluster.v1.json").write_text("mine")

    answer = kvmdecl("init")

    assert answer.returncode == 1
    assert "error[init.exists]: `cluster.v1.json` exists" in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.v1.json"]


def test_a_folder_that_cannot_be_made_is_said(kvmdecl: Kvmdecl, tmp_path: Path):
    (tmp_path / "file").write_text("")

    answer = kvmdecl("init", "file/cluster")

    assert answer.returncode == 1
    assert "error[output.not-written]" in answer.stderr
