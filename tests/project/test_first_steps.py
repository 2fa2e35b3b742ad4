"""What a newcomer does first, done: the demonstration."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kvmdecl.lab import Lab

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
pytestmark = pytest.mark.lab


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **variables}


@pytest.fixture(autouse=True)
def _needs_a_lab(lab: Lab) -> None:
    """Where no lab can run, these tests are skipped, or fail, as all others that use one."""


def test_the_demonstration_keeps_its_word():
    began = time.monotonic()
    demo = subprocess.run(
        [ROOT / "scripts/demo.sh"],
        env=environment(),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )

    assert demo.returncode == 0, demo.stdout + demo.stderr
    chapters = re.split(r"^== .*\n", demo.stdout, flags=re.MULTILINE)
    _, up, plan, apply, again, edit, saved, proof, end = chapters
    assert "3 hosts up" in up
    assert re.search(r"^Plan: 31 to create", plan, re.MULTILINE)
    assert "31 of 31 steps done" in apply
    assert "No changes: 31 objects on 3 hosts" in again
    assert re.search(r"~ domain +db +live$", edit, re.MULTILINE)
    assert "1 of 1 step done" in saved
    before, after, cpus = re.findall(r"\d+", proof.splitlines()[0])
    assert (before, cpus) == (after, "3")
    folder = re.search(r"The lab in (\S+)/lab is gone", end)
    assert folder is not None
    assert not Path(folder.group(1)).exists()
    assert time.monotonic() - began < 180


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demonstration_cleans_up_when_it_is_interrupted(number: signal.Signals):
    demo = subprocess.Popen(
        [ROOT / "scripts/demo.sh"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert demo.stdout is not None
    said = ""
    while "kvmdecl plan demo" not in said:
        said += demo.stdout.readline()
    folder = re.search(r"socket=(\S+)/lab/", said)
    assert folder is not None
    os.killpg(demo.pid, number)  # a terminal's Ctrl-C reaches the whole group

    said += demo.communicate(timeout=60)[0]
    assert demo.returncode == 130, said
    assert f"The lab in {folder.group(1)}/lab is gone." in said
    assert not Path(folder.group(1)).exists()
