"""Shell completion, asked as each shell asks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pexpect
import pytest

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
