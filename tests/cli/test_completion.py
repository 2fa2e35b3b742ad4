"""Shell completion, asked as each shell asks."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pexpect
import pytest

from kvmdecl.cli.completion import WORDS, answer
from kvmdecl.cli.help_texts import render_words
from kvmdecl.cli.main import run
from tests.cli.conftest import PROGRAM, Kvmdecl


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script(kvmdecl: Kvmdecl, shell: str):
    answer = kvmdecl("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")

    assert answer.returncode == 0
    assert "_KVMDECL_COMPLETE" in answer.stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("kvmdecl pl", {"plan", "plugins"}),
        ("kvmdecl lab po", {"power-off", "power-on"}),
        ("kvmdecl plan --det", {"--detailed-exitcode"}),
    ],
)
@pytest.mark.parametrize(
    ("shell", "variables"),
    [
        ("bash", {"_KVMDECL_COMPLETE": "complete_bash"}),
        ("zsh", {"_KVMDECL_COMPLETE": "complete_zsh"}),
        ("fish", {"_KVMDECL_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_commands_and_options_are_completed(
    kvmdecl: Kvmdecl, shell: str, variables: dict[str, str], line: str, offered: set[str]
):
    words = str(len(line.split()) - 1)
    answer = kvmdecl(**variables, COMP_WORDS=line, COMP_CWORD=words, _TYPER_COMPLETE_ARGS=line)

    assert offered <= set(answer.stdout.replace('"', " ").replace(":", " ").split()), (shell, answer)


MANIFEST = """\
cluster: x
hosts: {"kvm-{1..2}": qemu, spare: qemu}
vms:
  web: {count: 2, nics: [lan]}
  "db-{site}": {for: {site: [a]}}
  mail: {memory: 1GiB, nics: [{network: lan}], memry: wrong}
"""


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("devices ", ["kvm-1", "kvm-2", "spare"]),
        ("doctor --host kvm", ["kvm-1", "kvm-2"]),
        ("advise w", ["web-1", "web-2"]),
        ("explain vm/", ["vm/web-1", "vm/web-2", "vm/mail"]),
        ("explain set.", ["set.bad-value", "set.no-place", "set.unknown-entry"]),
        ("validate --select cpu.ov", ["cpu.overcommit"]),
        ("validate --ignore adv", ["advice"]),
        ("set vms.m", ["vms.mail.memory", "vms.mail.nics.", "vms.mail.memry"]),
        ("unset vms.mail.nics.0.", ["vms.mail.nics.0.network"]),
        ("undo ", ["last", "20260102t000000z-b", "20260101t000000z-a"]),
        ("undo 20260102", ["20260102t000000z-b"]),
    ],
)
def test_names_are_completed(
    line: str,
    offered: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "cluster.yaml").write_text(MANIFEST)
    for name in ("20260101t000000z-a", "20260102t000000z-b"):
        (tmp_path / f"{name}.jsonl").touch()

    assert _completed(f"kvmdecl {line}", tmp_path, monkeypatch, capsys) == offered
    assert _quick(f"kvmdecl {line}") == offered


@pytest.mark.parametrize(
    "line",
    [
        "", "pl", "-", "--v", "lab", "lab ", "lab po", "lab -", "lab up --h", "ha ", "snapshot create ",
        "plan -", "plan --det", "plan --format ", "plan --format j", "plan --format=j", "plan --format json --fo",
        "plan --facts x --", "plan a b", "plan -- -", "validate --select cpu.ov --sel", "validate --select=cpu.ov",
        "schema p", "schema plan ", "apply --allow-delete x --allow", "history --journal . ", "history --journal . -",
        "history x", "devices --nonsense ", "explain vm/x cl", "show mail -", "set vms.mail.memory 1 clusters",
        "fmt a b --", "fmt a b", "plan '", "plan --out", "plan --color ", "undo last --p",
    ],
)  # fmt: skip
def test_what_is_answered_at_once_is_what_typer_answers(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "cluster.yaml").write_text(MANIFEST)
    known = _completed(f"kvmdecl {line}", tmp_path, monkeypatch, capsys)

    found = _quick(f"kvmdecl {line}")
    assert (found is None) == (line == "plan '")
    assert found is None or sorted(found) == sorted(word.replace(r"\\:", ":") for word in known)


def _quick(line: str) -> list[str] | None:
    found = answer({"_KVMDECL_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": line})
    return None if found is None else [each.partition("\t")[0] for each in found[0].splitlines()]


def test_what_commands_take_is_prepared_as_it_is():
    assert WORDS.read_text() == render_words(), "run `make help-texts`"


def test_tab_imports_nothing_heavy(kvmdecl: Kvmdecl, tmp_path: Path):
    """Names cost the reader of YAML, and neither the program's commands nor the manifest's models."""
    (tmp_path / "cluster.yaml").write_text(MANIFEST)
    answer = kvmdecl(
        _KVMDECL_COMPLETE="complete_bash",
        COMP_WORDS="kvmdecl devices kvm",
        COMP_CWORD="2",
        PYTHONPROFILEIMPORTTIME="1",
    )

    assert answer.stdout.split() == ["kvm-1", "kvm-2"]
    imported = set(re.findall(r"\| +([\w.]+)$", answer.stderr, re.MULTILINE))
    ours = {name for name in imported if name.startswith("kvmdecl.")}
    assert ours <= {
        *("kvmdecl.__main__", "kvmdecl.cli", "kvmdecl.cli.completion", "kvmdecl.cli.places"),
        *(f"kvmdecl.{name}" for name in ("diagnostics", "source", "text", "yaml_events", "yaml_syntax")),
    }
    assert not {name.partition(".")[0] for name in imported} & {
        "typer",
        "pydantic",
        "lxml",
        "libvirt",
        "rich",
    }


def test_no_shell_is_offered_what_it_could_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    names = [
        "ok",
        "x\\",
        "$(reboot)",
        "`reboot`",
        '";reboot;"',
        "';reboot;'",
        "a b",
        "a\nb",
        "a;b",
        "\x1b[1m",
    ]
    (tmp_path / "cluster.yaml").write_text(json.dumps({"hosts": dict.fromkeys(names, "qemu")}))

    assert _completed("kvmdecl devices ", tmp_path, monkeypatch, capsys) == ["ok"]
    assert _quick("kvmdecl devices ") == ["ok"]
    assert _quick("kvmdecl set hosts.") == ["hosts.ok"]


@pytest.mark.parametrize("text", [None, "vms: [", "vms: {}\n# " + "x" * 600_000])
def test_a_manifest_that_tells_no_names_is_no_error(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    if text is not None:
        (tmp_path / "cluster.yaml").write_text(text)

    assert _completed("kvmdecl devices ", tmp_path, monkeypatch, capsys) == []


def _completed(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    monkeypatch.chdir(folder)
    for name, value in {
        "_KVMDECL_COMPLETE": "complete_zsh",
        "_TYPER_COMPLETE_ARGS": line,
        "KVMDECL_JOURNAL": ".",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KVMDECL_CLUSTER", raising=False)
    with pytest.raises(SystemExit, match="0"):
        run([])
    said = capsys.readouterr()
    assert said.err == ""
    return re.findall(r'"([^"]+)"(?::"[^"]*")?\n?', said.out)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_on_tab(tmp_path: Path):
    rc = tmp_path / "bashrc"
    rc.write_text(f'PS1="> "\nPATH={PROGRAM.parent}:$PATH\neval "$(kvmdecl --show-completion bash)"\n')
    env = {"PATH": "/usr/bin:/bin", "TERM": "dumb", "HOME": str(tmp_path), "INPUTRC": "/dev/null",
           "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # fmt: skip
    shell = pexpect.spawn("bash", ["--rcfile", str(rc), "-i"], env=env, encoding="utf-8", timeout=20)
    shell.expect("> ")
    shell.send("kvmdecl vali\t")
    shell.expect("validate ")
    shell.close()
