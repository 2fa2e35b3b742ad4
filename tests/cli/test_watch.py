"""`kvmdecl validate --watch`: after each change what is new is shown, and what is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvmdecl.cli import watching
from kvmdecl.cli.main import run
from kvmdecl.text import quoted

GOOD = """\
apiVersion: kvmdecl/v1
cluster: edge
hosts: {kvm-1: "qemu+tls://kvm-1.example/system"}
storage: {vms: /srv/vms}
vms:
  web: {memory: 1GiB, disk: 1GiB, cloud_init: {user_data_file: web.yml.txt}}
"""
WRONG = GOOD.replace("memory: 1GiB", "memry: 1GiB").replace("disk: 1GiB", "disk: 1GB")


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[None]], None]:
    """Watch a folder, with a generator that makes one change whenever it is waited for one, and Ctrl-C at its end."""

    def watch(changes: Iterator[None]) -> None:
        def wait(seconds: float) -> None:
            if seconds == watching._EVERY and next(changes, "end") == "end":
                raise KeyboardInterrupt

        monkeypatch.setattr(watching.time, "sleep", wait)
        monkeypatch.setattr(watching.watch, "__defaults__", (wait,))
        monkeypatch.setattr(watching.time, "strftime", lambda _: "12:00:00")
        assert run(["validate", "--watch", str(tmp_path), "--ignore", "all"]) == 0

    return watch


def test_what_a_change_brings_and_takes_away_is_shown(
    tmp_path: Path, watched: Callable[[Iterator[None]], None], capsys: pytest.CaptureFixture[str]
):
    manifest, text = tmp_path / "cluster.yaml", tmp_path / "web.yml.txt"
    manifest.write_text(GOOD)
    text.write_text("#cloud-config\n")
    said: list[tuple[str, list[str]]] = []

    def note() -> None:
        shown = capsys.readouterr()
        said.append(
            (
                shown.out.strip(),
                [line for line in shown.err.splitlines() if "error[" in line or "gone" in line],
            )
        )

    def changes() -> Iterator[None]:
        note()
        manifest.write_text(WRONG)
        yield
        note()
        manifest.write_text("# moved\n" + WRONG.replace("1GB", "1GiB"))
        yield
        note()
        manifest.write_text(GOOD)
        yield
        note()
        text.unlink()
        yield
        note()

    watched(changes())

    where = str(manifest)
    valid = "12:00:00  edge is valid: 1 vm, 1 host, 1 file"
    assert said == [
        (valid, []),
        ("12:00:00  2 errors", [
            f"{where}:6:9: error[manifest.unknown-key]: unknown key `memry`",
            f"{where}:6:28: error[unit.ambiguous]: `1GB` has no exact meaning",
        ]),
        ("12:00:00  1 error", [f"gone: {where}: `1GB` has no exact meaning (unit.ambiguous)"]),
        (valid, [f"gone: {where}: unknown key `memry` (manifest.unknown-key)"]),
        ("12:00:00  1 error", [
            (f"{where}:6:64: error[cloud-init.unreadable]: cloud-init's file cannot be read: "
                f"{quoted(str(text))}: No such file or directory")]),
    ]  # fmt: skip


def test_it_goes_with_nothing_that_ends(capsys: pytest.CaptureFixture[str]):
    for option in (["--fix"], ["--format", "json"]):
        assert run(["validate", "--watch", *option]) == 64
