"""How commands end, and what they print: exit codes, colours, pipes that close, bugs."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
import typer

from kvmdecl.cli import common, main
from kvmdecl.diagnostics import Diagnostic, Rejected
from tests.cli.conftest import PROGRAM, Kvmdecl

VALID = """\
apiVersion: kvmdecl/v1
cluster: tiny
hosts: {kvm-1: "qemu+ssh://root@kvm-1.example/system"}
"""


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A manifest with an unknown key."""
    path = tmp_path / "cluster.yaml"
    path.write_text(VALID + "nertworks: {}\n")
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ["plna"],
        ["plan", "--no-such-option"],
        ["explain", "a", "b"],
        ["lab", "up", "--hosts", "many"],
        ["show"],
    ],
)
def test_wrong_usage_ends_with_64_because_2_means_changes(kvmdecl: Kvmdecl, arguments: list[str]):
    answer = kvmdecl(*arguments)

    assert answer.returncode == common.Exit.USAGE == 64
    assert answer.stdout == ""
    assert answer.stderr.startswith("Usage: kvmdecl")


def test_what_is_said_reaches_a_pipe_though_the_process_ends_at_once(kvmdecl: Kvmdecl):
    assert kvmdecl("lab", "down").stdout == "There is no lab to end.\n"


def test_a_word_that_is_no_choice_is_answered_with_those_that_are(kvmdecl: Kvmdecl):
    assert "Invalid value for '--format': 'yaml' is not one of 'text', 'json'." in (
        kvmdecl("drift", "--format", "yaml").stderr
    )


def test_a_mistyped_command_is_guessed(kvmdecl: Kvmdecl):
    assert "Did you mean 'plan'" in kvmdecl("plna").stderr


def test_a_manifest_before_the_vm_is_answered_with_the_right_order(kvmdecl: Kvmdecl, tmp_path: Path):
    (tmp_path / "cluster.yaml").write_text(VALID)
    answer = kvmdecl("show", "cluster.yaml", "web-1")

    assert (answer.returncode, answer.stdout) == (1, "")
    assert "error[show.swapped]: the vm comes first, then the manifest" in answer.stderr
    assert "hint: write `kvmdecl show web-1 cluster.yaml`" in answer.stderr


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("web", "it has a `count`: name web-1, web-2"),
        ("wbe", "did you mean `web`? it has a `count`: name web-1, web-2"),
        ("webstre", "did you mean `webster`?"),
        ("other", "vms are web-1, web-2, webster"),
    ],
)
def test_a_name_that_no_vm_has_is_answered_with_the_one_that_was_meant(
    kvmdecl: Kvmdecl, tmp_path: Path, name: str, hint: str
):
    (tmp_path / "cluster.yaml").write_text(VALID + "vms: {web: {count: 2}, webster: {}}\n")
    answer = kvmdecl("show", name)

    assert f"error[show.unknown-vm]: there is no vm {name} in cluster.yaml" in answer.stderr
    assert f"hint: {hint}\n" in answer.stderr


def test_without_a_manifest_the_ways_to_name_one_are_told(kvmdecl: Kvmdecl):
    answer = kvmdecl("plan")

    assert answer.returncode == 1
    assert "cannot read `cluster.yaml`" in answer.stderr
    assert (
        "hint: name a manifest: a file, or a folder of *.yaml files; `kvmdecl init` begins one"
        in answer.stderr
    )


def test_a_wrong_manifest_ends_with_1_and_diagnostics_on_standard_error(kvmdecl: Kvmdecl, broken: Path):
    answer = kvmdecl("validate")

    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("cluster.yaml:4:1: error[manifest.unknown-key]")
    assert "did you mean `networks`?" in answer.stderr


def test_the_manifest_is_the_argument_else_the_environments_else_the_folders(
    kvmdecl: Kvmdecl, tmp_path: Path
):
    for name in ("cluster", "other", "third"):
        (tmp_path / f"{name}.yaml").write_text(VALID.replace("tiny", name))

    assert kvmdecl("validate").stdout.startswith("cluster is valid")
    assert kvmdecl("validate", KVMDECL_CLUSTER="other.yaml").stdout.startswith("other is valid")
    assert kvmdecl("validate", "third.yaml", KVMDECL_CLUSTER="other.yaml").stdout.startswith("third is valid")


@pytest.mark.parametrize(
    ("options", "variables", "colored"),
    [
        ([], {}, False),
        (["--color", "always"], {}, True),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        ([], {"CLICOLOR_FORCE": "1"}, True),
        ([], {"CLICOLOR_FORCE": "0"}, False),
        ([], {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
        (["--color", "never"], {"CLICOLOR_FORCE": "1"}, False),
    ],
)
def test_the_option_outweighs_the_environment_and_both_outweigh_the_pipe(
    kvmdecl: Kvmdecl, broken: Path, options: list[str], variables: dict[str, str], colored: bool
):
    answer = kvmdecl("validate", *options, **variables)

    assert ("\x1b[" in answer.stderr) is colored
    assert "error[manifest.unknown-key]" in re.sub(r"\x1b\[[0-9;]*m", "", answer.stderr)


@pytest.mark.parametrize(("term", "colored"), [("xterm", True), ("dumb", False)])
def test_a_terminal_gets_colours_unless_it_is_dumb(broken: Path, term: str, colored: bool):
    ours, theirs = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": term}
    subprocess.run([PROGRAM, "validate"], cwd=broken.parent, env=environment, stderr=theirs)
    os.close(theirs)

    assert (b"\x1b[" in os.read(ours, 1 << 16)) is colored


def test_the_question_before_a_destruction_ends_with_the_name_that_is_the_answer():
    ask = "from kvmdecl.cli.applying import confirm_destruction; confirm_destruction('demo', 1, '')"
    asked = pexpect.spawn(sys.executable, ["-c", ask], encoding="utf-8", timeout=20)

    asked.expect_exact("Carry out 1 deletion? Type the cluster's name (demo): ")
    asked.sendline("demo")
    asked.expect(pexpect.EOF)
    asked.close()
    assert asked.exitstatus == 0


def test_a_question_that_is_interrupted_keeps_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(_: object) -> None:
        raise typer.Abort

    monkeypatch.setattr(main, "build", interrupted)

    assert main.run(["apply"]) == common.Exit.ERROR
    assert capsys.readouterr().err == "\nNothing was changed.\n"


def test_a_reader_who_leaves_early_changes_nothing_and_hears_nothing(tmp_path: Path):
    script = f"{PROGRAM} schema 2>errors | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    answer = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)

    assert answer.stdout == "0\n"
    assert (tmp_path / "errors").read_text() == ""


def test_output_that_cannot_be_written_is_said_once(tmp_path: Path):
    answer = subprocess.run(["bash", "-c", f"{PROGRAM} schema >/dev/full"], capture_output=True, text=True)

    assert answer.returncode == 1
    assert "error[output.not-written]: cannot write the output\n  No space left on device." in answer.stderr
    assert answer.stderr.count("No space") == 1


def test_nobody_needs_to_listen_at_all():
    closed = subprocess.run(
        ["bash", "-c", f"{PROGRAM} validate /none >&- <&-"], capture_output=True, text=True
    )

    assert closed.returncode == 1
    assert closed.stderr.startswith("/none:1:1: error[manifest.unreadable]: cannot read `/none`\n")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "plan.json"
    path.write_text("before")

    common.write_file(path, "after\n")

    assert path.read_text() == "after\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]
    with pytest.raises(Rejected, match=r"output\.not-written"):
        common.write_file(tmp_path / "no" / "folder", "text")


def test_a_file_that_is_no_file_is_written_through(tmp_path: Path):
    common.write_file(Path(os.devnull), "text")

    assert Path(os.devnull).is_char_device()


def test_a_bug_is_one_sentence_and_a_file_for_the_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(main, "_run", _fail)

    assert main.run([]) == common.Exit.ERROR
    said = capsys.readouterr()
    [details] = tmp_path.iterdir()
    assert said.out == ""
    assert said.err == (
        "kvmdecl failed: ZeroDivisionError: a\\x1b[31mb\n"
        f"This is a bug in kvmdecl. Please report it with the details in {details}\n"
    )
    assert "in _fail" in details.read_text()


def test_a_developer_sees_the_traceback_of_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("KVMDECL_TRACEBACK", "1")
    monkeypatch.setattr(main, "_run", _fail)

    assert main.run([]) == common.Exit.ERROR
    assert "in _fail" in capsys.readouterr().err


def _fail(_arguments: object) -> int:
    raise ZeroDivisionError("a\x1b[31mb")


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch):
    def interrupted(_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_run", interrupted)

    assert main.run([]) == common.Exit.INTERRUPTED == 130


def test_names_from_outside_cannot_act_on_the_terminal(kvmdecl: Kvmdecl):
    answer = kvmdecl("validate", "no\x1b[2Jsuch")

    assert "\x1b" not in answer.stderr
    assert "\\x1b[2J" in answer.stderr


def test_nothing_to_report_prints_nothing(capsys: pytest.CaptureFixture[str]):
    common.report(())
    common.report([Diagnostic("a.b", "said")])

    assert capsys.readouterr().err == "error[a.b]: said\n\n1 error\n"


def test_every_exit_code_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "exit-codes.md").read_text()

    documented = {int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert documented == set(common.Exit)


def test_version_names_what_a_bug_report_needs(kvmdecl: Kvmdecl):
    text = kvmdecl("version").stdout
    data = json.loads(kvmdecl("version", "--format", "json").stdout)

    assert list(data) == ["kvmdecl", "python", "libvirt", "yaml reader"]
    for name, value in data.items():
        assert re.search(rf"^{name} +{re.escape(value)}$", text, re.MULTILINE)
    assert data["yaml reader"].startswith("libyaml")
