"""Make `observed/` of each scenario that has a `before.yaml`: apply it to a lab and read the hosts back.

    python tests/scenarios/record.py [NAME ...]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from kvmdecl.lab.guest import tiny_image
from kvmdecl.testing import clean, temporary_lab

HERE = Path(__file__).parent
HOSTS = ("kvm-1", "kvm-2")


def main(names: list[str]) -> None:
    """Record the named scenarios, or all of them; equal beginnings are applied once."""
    recorded: dict[str, Path] = {}
    with temporary_lab(HOSTS) as lab:
        for folder in sorted(path.parent for path in HERE.glob("*/before.yaml") if not names or path.parent.name in names):
            before = (folder / "before.yaml").read_text()
            if before not in recorded:
                clean(lab)
                recorded[before] = record(lab.directory, before)
            shutil.rmtree(folder / "observed", ignore_errors=True)
            shutil.copytree(recorded[before], folder / "observed")
            silence(folder)


def record(lab: Path, manifest: str) -> Path:
    """Apply a manifest to the lab; returns the folder with the facts of its hosts."""
    work = Path(tempfile.mkdtemp())
    tiny_image(work / "tiny.img")
    (work / "cluster.yaml").write_text(manifest)
    env = {**os.environ, "KVMDECL_LAB": str(lab)}
    for command in (["apply", "--yes"], ["facts", "--out", "observed"]):
        subprocess.run([sys.executable, "-m", "kvmdecl", *command], cwd=work, env=env, check=True)
    for path in (work / "observed").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()), indent=1, sort_keys=True) + "\n")
    return work / "observed"


def silence(folder: Path) -> None:
    """In the story `host-silent`, kvm-1 does not answer."""
    if folder.name == "host-silent":
        (folder / "observed" / "kvm-1.json").unlink()
        (folder / "observed" / "kvm-1.unreachable").write_text("no answer within 10 seconds\n")


if __name__ == "__main__":
    main(sys.argv[1:])
