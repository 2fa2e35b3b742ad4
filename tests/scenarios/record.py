"""Make `before/*/observed/` anew: apply each of those manifests to a lab and read its hosts back.

python tests/scenarios/record.py [NAME...]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import libvirt

from kvmdecl.lab import Lab
from kvmdecl.lab.guest import tiny_image
from kvmdecl.testing import clean, temporary_lab

HERE = Path(__file__).parent


def main(names: list[str]) -> None:
    """Record every beginning, or those that are named."""
    with temporary_lab(["kvm-1", "kvm-2"]) as lab:
        for folder in sorted(
            (HERE / "before" / name for name in names) if names else (HERE / "before").iterdir()
        ):
            clean(lab)
            record(lab.directory, folder)


def record(lab: Path, folder: Path) -> None:
    """Apply the manifest in `folder` to the lab and keep what its hosts are like then."""
    with tempfile.TemporaryDirectory() as work:
        tiny_image(Path(work) / "tiny.img")
        shutil.copy(folder / "cluster.yaml", work)
        env = {**os.environ, "KVMDECL_LAB": str(lab)}
        _run(work, env, "apply", "--yes")
        change_by_hand(lab, folder / "by-hand.json")
        _run(work, env, "facts", "--out", str(folder / "observed"))


def _run(work: str, env: dict[str, str], *command: str) -> None:
    subprocess.run([sys.executable, "-m", "kvmdecl", *command], cwd=work, env=env, check=True)


def change_by_hand(lab: Path, file: Path) -> None:
    """Change definitions as `virsh edit` would: each is a host, a vm, a text and what stands there then."""
    for host, vm, before, after in json.loads(file.read_text()) if file.exists() else ():
        connection = libvirt.open(Lab.load(lab).host(host).uri())
        xml = connection.lookupByName(vm).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        connection.defineXML(xml.replace(before, after))
        connection.close()


if __name__ == "__main__":
    main(sys.argv[1:])
