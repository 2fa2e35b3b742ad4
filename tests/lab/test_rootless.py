"""A lab needs no root: an ordinary user gets the same hosts in a user namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kvmdecl.lab import Topology
from tests.lab.helpers import TINY_GUEST, eventually, processes_of

NOBODY = 65534

# Run as an ordinary user; prints what the test compares.
STORY = """
import json, os, sys
from pathlib import Path
from kvmdecl.lab import Topology, up, down
from kvmdecl.lab.guest import tiny_image
place, guest = Path(sys.argv[1]), Path(sys.argv[2])
lab = up(place, ["kvm-1", "kvm-2"], tls=True, ssh=True, topologies={"kvm-2": Topology()}, tied=True)
virsh = lambda host, *argv: lab.run(["virsh", "-c", lab.hosts[host].uri(), *argv])
seen = {"uid": os.geteuid(), "answers": {}}
for transport in ("unix", "tcp", "tls", "ssh"):
    done = lab.run(["virsh", "-q", "-c", lab.hosts["kvm-2"].uri(transport), "hostname"], timeout=20)
    seen["answers"][transport] = done.stdout.strip()
seen["devices"] = len(virsh("kvm-2", "nodedev-list", "--cap", "pci").stdout.split())
tiny_image(lab.hosts["kvm-1"].folder / "srv/tiny.raw")
created = virsh("kvm-1", "create", str(guest))
seen["guest"] = created.stdout + created.stderr
lab.power_off("kvm-2")
lab.freeze("kvm-1")
seen["status"] = lab.status()
down(place)
print(json.dumps(seen))
"""


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory):
    folder = Path(tempfile.mkdtemp(prefix="kvmdecl-", dir="/tmp"))
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    assert eventually(lambda: processes_of(folder) == [])
    shutil.rmtree(folder)


def as_ordinary_user(place: Path) -> list[str]:
    """The command prefix of a Python that an ordinary user may run, with our packages."""
    path = os.pathsep.join(entry for entry in (str(Path.cwd()), *sys.path) if entry)
    settings = ["env", f"PYTHONPATH={path}", f"HOME={place}", "XDG_CACHE_HOME="]
    drop = (
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    )
    for python in (sys.executable, "/usr/bin/python3"):
        command = [*drop, *settings, python]
        if (
            subprocess.run([*command, "-c", "import kvmdecl.lab"], capture_output=True, cwd="/").returncode
            == 0
        ):
            return command
    pytest.skip("no Python that an ordinary user may run sees this checkout")


@pytest.mark.lab
def test_an_ordinary_user_gets_a_whole_lab(place: Path):
    guest = place / "guest.xml"
    guest.write_text(TINY_GUEST.format(machine="q35"))

    command = [*as_ordinary_user(place), "-c", STORY, str(place / "lab"), str(guest)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")

    if "lab.no-namespaces" in done.stderr and os.environ.get("KVMDECL_REQUIRE_LAB") != "1":
        pytest.skip("this system forbids unprivileged user namespaces")
    assert done.stderr == ""
    seen = json.loads(done.stdout)
    assert seen["uid"] == (os.geteuid() or NOBODY)
    assert seen["answers"] == dict.fromkeys(("unix", "tcp", "tls", "ssh"), "kvm-2")
    assert seen["devices"] == len(Topology().functions)
    assert " created from " in seen["guest"]
    assert seen["status"] == {"kvm-1": "frozen", "kvm-2": "off"}
