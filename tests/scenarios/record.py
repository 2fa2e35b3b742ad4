"""Make `before/*/observed/` anew: apply each of those manifests to a lab and read its hosts back.

    python tests/scenarios/record.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from kvmdecl.lab.guest import tiny_image
from kvmdecl.testing import clean, temporary_lab

HERE = Path(__file__).parent


def main() -> None:
    """Record every beginning."""
    with temporary_lab(["kvm-1", "kvm-2"]) as lab:
        for folder in sorted((HERE / "before").iterdir()):
            clean(lab)
            record(lab.directory, folder)


def record(lab: Path, folder: Path) -> None:
    """Apply the manifest in `folder` to the lab and keep what its hosts are like then."""
    with tempfile.TemporaryDirectory() as work:
        tiny_image(Path(work) / "tiny.img")
        shutil.copy(folder / "cluster.yaml", work)
        env = {**os.environ, "KVMDECL_LAB": str(lab)}
        for command in (["apply", "--yes"], ["facts", "--out", str(folder / "observed")]):
            subprocess.run([sys.executable, "-m", "kvmdecl", *command], cwd=work, env=env, check=True)


if __name__ == "__main__":
    main()
