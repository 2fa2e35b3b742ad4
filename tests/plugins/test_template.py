"""What `copier copy docs/plugin-template` makes is a plugin whose own tests pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from copier import run_copy

TEMPLATE = Path(__file__).parents[2] / "docs/plugin-template"
INSTALL = [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--no-deps",
    "--no-build-isolation",
]


def test_a_plugin_of_the_template_installs_and_passes_its_tests(tmp_path: Path):
    run_copy(str(TEMPLATE), tmp_path / "plugin", data={"name": "office", "purpose": 'Says "no"'}, quiet=True)
    site = str(tmp_path / "site")
    subprocess.run(
        [sys.executable, *INSTALL, "--no-index", "--target", site, tmp_path / "plugin"], check=True
    )

    paths = os.pathsep.join([site, *filter(None, [os.environ.get("PYTHONPATH")])])
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path / "plugin", env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True,
    )  # fmt: skip

    assert "7 passed" in tests.stdout, tests.stdout + tests.stderr
