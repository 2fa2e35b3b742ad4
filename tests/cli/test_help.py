"""Help: prepared, complete, readable anywhere, and quick because it imports nothing."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
import typer

from kvmdecl.cli import help_texts
from kvmdecl.cli.main import COMMANDS, build
from tests.cli.conftest import Kvmdecl

TEXTS = help_texts.render_all()
GROUPS = {"ha", "lab", "snapshot"}
TOP_LEVEL = [name for name in COMMANDS if name not in GROUPS]


def test_every_prepared_text_is_what_the_program_would_say():
    prepared = {path.name: path.read_text() for path in help_texts.FOLDER.iterdir()}

    assert prepared == TEXTS, "run `make help-texts`"


def test_help_holds_nothing_but_text():
    assert {name for name, text in TEXTS.items() if not text.replace("\n", "").isprintable()} == set()


def test_every_command_can_be_told_when_to_use_colours():
    without = {name.removesuffix(".txt") for name, text in TEXTS.items() if "--color" not in text}
    assert without == {"kvmdecl", *GROUPS}


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("words", [[], ["plan"], ["lab"], ["lab", "up"]])
def test_help_is_answered_from_the_prepared_texts(kvmdecl: Kvmdecl, words: list[str], option: str):
    answer = kvmdecl(*words, option)

    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == TEXTS[f"{'-'.join(words) or 'kvmdecl'}.txt"]


@pytest.mark.parametrize("words", [[], ["lab"]])
def test_no_arguments_ask_for_help(kvmdecl: Kvmdecl, words: list[str]):
    assert kvmdecl(*words).stdout == kvmdecl(*words, "--help").stdout


def test_asking_for_help_imports_nothing(kvmdecl: Kvmdecl):
    answer = kvmdecl("plan", "--help", PYTHONPROFILEIMPORTTIME="1")

    imported = set(re.findall(r"\| +([\w.]+)$", answer.stderr, re.MULTILINE))
    heavy = {
        "typer",
        "click",
        "pydantic",
        "lxml",
        "libvirt",
        "networkx",
        "rich",
        "ruamel",
        "pycdlib",
        "pluggy",
    }
    assert "kvmdecl.__main__" in imported
    assert not {name.partition(".")[0] for name in imported} & heavy
    assert not [name for name in imported if name.startswith("kvmdecl.") and name != "kvmdecl.__main__"]


def test_a_command_imports_nothing_heavy_before_its_work_begins(kvmdecl: Kvmdecl):
    # Wrong usage ends the command when its module and typer are imported, and nothing else should be.
    answer = kvmdecl("validate", "--no-such-option", PYTHONPROFILEIMPORTTIME="1")

    imported = {name.partition(".")[0] for name in re.findall(r"\| +([\w.]+)$", answer.stderr, re.MULTILINE)}
    assert "typer" in imported
    assert not imported & {"lxml", "libvirt", "networkx", "rich", "ruamel", "pycdlib", "pluggy"}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_help_fits_80_columns_of_plain_ascii(name: str):
    text = TEXTS[name]

    assert text.isascii()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.partition("Commands:")[2], "a purpose is cut; make it shorter"


@pytest.mark.parametrize("command", TOP_LEVEL)
def test_every_command_shows_examples_and_exit_codes(command: str):
    text = TEXTS[f"{command}.txt"]

    assert len(_examples(text)) >= 2 or command == "version"
    assert "Exit codes:" in text


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_example_is_a_command_line_that_the_program_takes(name: str):
    """Parsed by the program itself, with the command's function taken out."""
    for line in _examples(TEXTS[name]):
        for words in _commands(line):
            _parse(words)


def _examples(text: str) -> list[str]:
    block = re.search(r"Examples?:\n((?:    .*\n)+)", text)
    return [line.strip() for line in block.group(1).splitlines()] if block else []


def _commands(line: str) -> list[list[str]]:
    """The kvmdecl commands of a shell line, those of pipes, lists and $( ) too."""
    words = shlex.split(line.replace('eval "$(', "&& ").replace(')"', " "), comments=True)
    commands: list[list[str]] = [[]]
    for word in words:
        if word in {"&&", "|"}:
            commands.append([])
        else:
            commands[-1].append(word)
    return [command[1:] for command in commands if command[:1] == ["kvmdecl"]]


def _parse(words: list[str]) -> None:
    command = typer.main.get_command(build())
    context = command.make_context("kvmdecl", list(words))
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context)


def test_the_listing_is_the_set_of_commands():
    listed = TEXTS["kvmdecl.txt"].partition("Commands:\n")[2]

    assert {line.split()[0] for line in listed.splitlines()} == set(COMMANDS)


def test_every_module_of_a_command_is_listed():
    folder = Path(help_texts.__file__).parent
    modules = {
        path.stem
        for path in folder.glob("*.py")
        if re.search(r"^(def run\(|app = typer)", path.read_text(), re.MULTILINE)
    }

    assert modules - {"main"} == set(COMMANDS)


def test_version_needs_no_import_either(kvmdecl: Kvmdecl):
    answer = kvmdecl("--version", PYTHONPROFILEIMPORTTIME="1")

    assert re.fullmatch(r"kvmdecl \d+\.\d+\.\d+\S*\n", answer.stdout)
    assert "typer" not in answer.stderr


def test_python_dash_m_is_the_same_program():
    import subprocess

    answer = subprocess.run([sys.executable, "-m", "kvmdecl", "--help"], capture_output=True, text=True)

    assert answer.stdout == TEXTS["kvmdecl.txt"]
