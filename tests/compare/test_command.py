"""`kvmdecl diff` reads two revisions from git, and names files as they are called from here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvmdecl.cli.main import run
from tests.compare.test_compare import BEFORE


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a repository with two commits of a manifest, a branch `side` and a change that is in none."""
    for name, value in {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}.items():
        monkeypatch.setenv(name, value)
    for role in "AUTHOR", "COMMITTER":
        monkeypatch.setenv(f"GIT_{role}_NAME", "a")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "a@example")
    git("init", "-qb", "main", folder=tmp_path)
    here = tmp_path / "sites" / "north"
    here.mkdir(parents=True)
    for text in (BEFORE, BEFORE.replace("cpus: 2", "cpus: 4")):
        (here / "cluster.yaml").write_text(text)
        git("add", ".", folder=here)
        git("commit", "-qm", "x", folder=here)
    (here / "cluster.yaml").write_text(BEFORE.replace("memory: 4GiB", "memory: 8GiB"))
    monkeypatch.chdir(here)
    return here


def git(*words: str, folder: Path) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True)


def test_two_commits_are_compared_by_their_own_lines(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["diff", "HEAD~1..HEAD", "cluster.yaml", "--detailed-exitcode"]) == 2
    text = capsys.readouterr().out
    assert "2 -> 4  next-boot  (cluster.yaml:9:25)" in text
    assert "memory" not in text


def test_one_commit_is_compared_with_the_files_that_are_here(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["diff", "HEAD", str(folder / "cluster.yaml")]) == 0
    text = capsys.readouterr().out
    assert "memory.size  4GiB -> 8GiB" in text
    assert "4 -> 2" in text


def test_nothing_is_left_behind_and_no_network_is_needed(folder: Path, tmp_path: Path):
    program = [
        "unshare",
        "--net",
        "--map-root-user",
        Path(sys.executable).with_name("kvmdecl"),
        "diff",
        "HEAD~1..HEAD",
        "cluster.yaml",
    ]
    before = git_state(folder)
    done = subprocess.run(
        program, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", "sites"]
    assert git_state(folder) == before


def git_state(folder: Path) -> str:
    return subprocess.check_output(["git", "status", "--porcelain", "--branch"], cwd=folder, text=True)


@pytest.mark.parametrize("words", ["gone..HEAD", "--output=x", "HEAD..--exec=x", "HEAD:sites..HEAD"])
def test_what_is_no_revision_is_told_and_does_nothing(
    folder: Path, words: str, capsys: pytest.CaptureFixture[str]
):
    assert run(["diff", "--", words, "cluster.yaml"]) == 1
    assert "error[git.failed]" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["cluster.yaml"]


def test_a_manifest_that_was_not_there_is_new_and_one_that_is_gone_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    git("mv", "cluster.yaml", "other.yaml", folder=folder)
    git("commit", "-qam", "x", folder=folder)

    assert run(["diff", "HEAD~1..HEAD", "other.yaml"]) == 0
    assert "15 to create" in capsys.readouterr().out
    assert run(["diff", "HEAD~1..HEAD", "cluster.yaml"]) == 1
    assert "diff.no-manifest" in capsys.readouterr().err


def test_what_does_not_fit_on_assumed_hosts_says_that_they_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    wide = "  wide: {cpus: {count: 2, policy: dedicated}, memory: 1GiB, nics: [], disk: {size: 1GiB, pool: vms}}\n"
    (folder / "cluster.yaml").write_text(BEFORE + wide)
    assert run(["diff", "HEAD", "cluster.yaml"]) == 1
    assert "diff.assumed-hosts" in capsys.readouterr().err


def test_what_has_nothing_to_do_with_hosts_says_nothing_of_them(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (folder / "cluster.yaml").write_text(BEFORE + "colour: red\n")
    assert run(["diff", "HEAD", "cluster.yaml"]) == 1
    assert "assumed" not in capsys.readouterr().err
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(outside)
    assert run(["diff", "HEAD", str(folder / "cluster.yaml")]) == 1
    told = capsys.readouterr().err
    assert "hint: run it inside of the repository that holds the manifest" in told
    assert "assumed" not in told


def test_a_change_that_a_policy_denies_ends_with_4(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    rules = "policies: {small: {deny: ask for memory first, fields: [memory.size]}}\n"
    (folder / "reviewers.yml").write_text(f"apiVersion: kvmdecl/v1\n{rules}")
    command = ["diff", "HEAD", "cluster.yaml"]
    assert run([*command, "--policies", "reviewers.yml"]) == 4
    told = capsys.readouterr()
    assert "Denied by policy small" in told.out
    assert "cluster.yaml:10:" in told.err
    assert "note: reviewers.yml:2:26: the policy" in told.err
    monkeypatch.setenv("KVMDECL_POLICIES", "reviewers.yml")
    assert run(command) == 4


def test_what_is_wrong_whatever_the_hosts_are_is_told_of_the_new_revision(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "cluster.yaml").write_text(BEFORE.replace("memory: 4GiB", "memory: 4GiB, ha: true"))
    assert run(["diff", "HEAD", "cluster.yaml"]) == 1
    assert "error[ha.no-section]" in capsys.readouterr().err
    assert run(["diff", "HEAD~1..HEAD", "cluster.yaml"]) == 0
