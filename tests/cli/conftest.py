"""The program as a shell runs it: a process with arguments, an environment and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Kvmdecl = Callable[..., "subprocess.CompletedProcess[str]"]
PROGRAM = Path(sys.executable).with_name("kvmdecl")


@pytest.fixture
def kvmdecl(tmp_path: Path) -> Kvmdecl:
    """Run `kvmdecl ARGS` in an empty folder, with variables of the environment as options."""

    def run(*args: str, cwd: Path = tmp_path, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("KVMDECL")}
        kept.pop("NO_COLOR", None)
        environment = {**kept, "COLUMNS": "80", "HOME": str(tmp_path), **variables}
        return subprocess.run(
            [PROGRAM, *args],
            cwd=cwd,
            env=environment,
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )

    return run
