"""`validate`, `explain` and `schema` as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.load.conftest import Loader

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kvmdecl", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_valid_manifest_is_said_to_be_valid(manifest: Loader) -> None:
    path = manifest.write("hosts: {kvm-1: 'qemu:///system'}\nvms: {web: {count: 2}}\n")
    done = run("validate", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "demo is valid: 2 vms, 1 host, 1 file\n", "")
    report = json.loads(run("validate", path, "--format", "json").stdout)
    assert (report["valid"], report["diagnostics"]) == (True, [])


def test_a_bad_manifest_is_refused_with_exit_code_1_and_no_traceback(manifest: Loader) -> None:
    path = manifest.write("vms: {web: {memory: 4G}}\n")
    done = run("validate", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{path}:3:21: error[unit.ambiguous]" in done.stderr
    assert "Traceback" not in done.stderr
    as_json = run("validate", path, "--format", "json")
    assert as_json.returncode == 1
    assert [one["code"] for one in json.loads(as_json.stdout)["diagnostics"]] == ["unit.ambiguous"]


def test_a_folder_without_manifests_is_no_manifest(tmp_path: Path) -> None:
    done = run("validate", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "error[manifest.empty]" in done.stderr


def test_a_folder_that_is_named_like_a_manifest_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    done = run("validate", tmp_path)
    assert done.returncode == 1
    assert "error[manifest.unreadable]" in done.stderr
    assert "it is not a regular file" in done.stderr


def test_a_code_is_explained_and_an_unknown_one_is_not() -> None:
    assert run("explain", "yaml.tag").stdout.startswith("# yaml.tag: a tag\n")
    unknown = run("explain", "yaml.tags")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "did you mean `yaml.tag`?" in unknown.stderr


def test_the_schema_can_be_written_to_a_file(tmp_path: Path) -> None:
    assert run("schema", "--output", tmp_path / "s.json").returncode == 0
    assert (tmp_path / "s.json").read_text() == (ROOT / "schemas" / "cluster.v1.json").read_text()
