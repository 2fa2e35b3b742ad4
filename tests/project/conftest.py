"""The small world in which the commands of pages and of files for CI systems are run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvmdecl.testing import temporary_lab
from tests.project.blocks import KVMDECL, WORLD


@dataclass(frozen=True, slots=True)
class World:
    """A folder with manifests, and the lab that they were applied to."""

    folder: Path
    environment: dict[str, str]

    def run(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script as a reader of a page would, who stops where something fails.

        A page that starts a lab begins without one, as its reader does, and its lab is gone at the end.
        """
        begins_one = "kvmdecl lab up" in script
        environment = {k: v for k, v in self.environment.items() if k != "KVMDECL_LAB" or not begins_one}
        environment |= variables
        try:
            return self._bash(script, environment)
        finally:
            if begins_one:
                self._bash("kvmdecl lab down", environment)

    def _bash(self, script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.folder, env=environment,
            capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(
        prefix="kvmdecl-pages-", dir="/tmp"
    ) as folder:  # sockets want short paths
        yield from _made_in(Path(folder))


def _made_in(folder: Path) -> Iterator[World]:
    (folder / "bin").mkdir()
    (folder / "bin/kvmdecl").write_text(KVMDECL.format(python=sys.executable))
    (folder / "bin/kvmdecl").chmod(0o755)
    for name, text in WORLD.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with temporary_lab(["kvm-1", "kvm-2", "kvm-3"]) as lab:
        made = World(folder, {
            **{key: value for key, value in os.environ.items() if not key.startswith("KVMDECL")},
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "HOME": str(folder),
            "KVMDECL_LAB": str(lab.directory),
            "KVMDECL_CLUSTER": "clusters/edge",
        })  # fmt: skip
        begun = made.run(BEGUN)
        assert begun.returncode == 0, begun.stdout + begun.stderr
        yield made


BEGUN = """
kvmdecl apply clusters/demo
kvmdecl apply clusters/edge
kvmdecl facts clusters/edge --out facts
git init -q -b main . && git add clusters && git -c user.name=N -c user.email=n@example.org commit -q -m "As it is"
"""
