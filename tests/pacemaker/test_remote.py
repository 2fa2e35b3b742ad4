"""Pacemaker's remote access: a real CIB manager listens in a network of its own, and lets in who has the password."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kvmdecl_pacemaker import live
from kvmdecl_pacemaker.cib import cib
from kvmdecl_pacemaker.commands import commands
from kvmdecl_pacemaker.live import read_cib
from kvmdecl_pacemaker.manager import Pacemaker
from kvmdecl_pacemaker.ours import overlay
from kvmdecl_pacemaker.remote import RemoteShell

from kvmdecl.diagnostics import Rejected
from kvmdecl.hosts.shell import CommandShell
from kvmdecl.manager import Configuration, Said, Unknown
from tests.pacemaker.live_cib import EMPTY, FileCluster
from tests.pacemaker.support import configured, manifest, placed, program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PORT = 19898
REMOTE = f"services: [], remote: {{port: {PORT}, address: 127.0.0.1, password: {{env: KVMDECL_SECRET_CIB}}}}"
DB, WEB = "db: {disk: 1GiB, ha: true}", "web: {disk: 1GiB, ha: true}"
BOTH = manifest(f"{DB}, {WEB}", more=REMOTE)
DAEMON = "/usr/lib/pacemaker/pacemaker-based"
# A machine of its own, as far as it takes one: a loopback, the password of Pacemaker's user, and its CIB.
START = """
ip link set lo up
mount -t tmpfs tmpfs /dev/shm
mount --bind shadow /etc/shadow
mount --bind pam /etc/pam.d
mount --bind pacemaker /var/lib/pacemaker
exec "$1" --stand-alone --verbose 2>log
"""


@dataclass(frozen=True)
class Beside:
    """Programs on this machine, in the network where that manager listens."""

    pid: int

    def shell(self, host: str, way: str = "") -> None:
        return None

    def here(self, host: str, variables: Mapping[str, str]) -> CommandShell:
        return CommandShell(
            host, lambda argv: ["nsenter", f"--net=/proc/{self.pid}/ns/net", *argv], variables
        )


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    program("cibadmin")
    if os.geteuid() != 0 or not Path(DAEMON).exists():
        pytest.skip("needs root, and Pacemaker's daemons")
    folder = tmp_path_factory.mktemp("remote")
    made = subprocess.run(["openssl", "passwd", "-6", "right"], capture_output=True, text=True, check=True)
    (folder / "shadow").write_text(f"hacluster:{made.stdout.strip()}:19000:0:99999:7:::\n")
    (folder / "pam").mkdir()
    (folder / "pam/cib").write_text("auth required pam_unix.so nodelay\naccount required pam_unix.so\n")
    (folder / "pacemaker/cib").mkdir(parents=True)
    (folder / "pacemaker/cib/cib.xml").write_text(EMPTY.replace("<cib ", f'<cib remote-tls-port="{PORT}" '))
    shutil.chown(folder / "shadow", group="shadow")
    (folder / "shadow").chmod(0o640)
    for path in (folder / "pacemaker", *(folder / "pacemaker").rglob("*")):
        shutil.chown(path, "hacluster", "haclient")
    settings = {
        "PCMK_logfile": "none",
        "PCMK_stderr": "yes",
        "PCMK_dh_max_bits": "1024",
        "CIB_pam_service": "cib",
    }
    log = folder / "log"
    log.touch()
    argv = ["unshare", "--mount", "--net", "--ipc", "sh", "-ec", START, "sh", DAEMON]
    daemon = subprocess.Popen(argv, cwd=folder, env={**os.environ, **settings})
    try:
        deadline = time.monotonic() + 20
        while "accepting connections" not in log.read_text():
            assert daemon.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Beside(daemon.pid)
    finally:
        daemon.terminate()
        daemon.wait()


def observed(beside: Beside, text: str = BOTH) -> Configuration | Unknown:
    found = Pacemaker().observe(placed(text)[0].cluster, beside, ("kvm-1",))
    assert found is not None
    return found


def test_a_cib_is_read_and_planned_by_remote_access(beside: Beside, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KVMDECL_SECRET_CIB", "right")
    found = observed(beside)
    assert isinstance(found, Configuration), found
    step = Pacemaker().compare(*placed(BOTH), found).step
    assert step is not None
    assert {"db/", "web/"} <= {change.field for change in step.changes}
    assert "right" not in repr(step)
    assert [host.host for host in Pacemaker().status(placed(BOTH)[0].cluster, beside).hosts] == [
        "kvm-1",
        "kvm-2",
        "kvm-3",
    ]


WHY = {
    # The password, and what else is said -> why nothing is known.
    "wrong": ("", "127.0.0.1:19898 refuses hacluster, or the password"),
    "": ("", "the variable KVMDECL_SECRET_CIB is not set"),
    "right": ("19899", "no connection to 127.0.0.1:19899"),
}


@pytest.mark.parametrize("password", WHY)
def test_who_is_not_let_in_knows_nothing_and_says_why(
    password: str, beside: Beside, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KVMDECL_SECRET_CIB", password)
    port, why = WHY[password]
    text = BOTH.replace(str(PORT), port or str(PORT))
    found = observed(beside, text)
    assert isinstance(found, Unknown)
    assert found.asked
    assert why in found.diagnostic.summary
    with pytest.raises(Rejected, match="no host tells how the cluster is"):
        Pacemaker().status(placed(text)[0].cluster, beside)


def test_the_password_is_on_no_command_line(beside: Beside, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KVMDECL_SECRET_CIB", "right")
    [(_, shell)] = live.shells(placed(BOTH)[0].cluster, beside, ["kvm-1"])
    assert "right" not in repr(shell)
    assert "CIB_passwd=right" in shell.run(["env"]).out


def test_hosts_are_where_their_uris_say_if_nothing_else_is_said():
    text = BOTH.replace(" address: 127.0.0.1,", "")
    assert (
        live.control_of(placed(text)[0].cluster)
        == "cib:hacluster@{name}.edge.example:19898#KVMDECL_SECRET_CIB"
    )
    unlike = text.replace("'kvm-{1..3}': {uri: \"qemu+tls://{name}.edge.example/system\"}",
                          "kvm-1: 'qemu+tls://10.0.0.1/system', kvm-2: 'qemu+tls://10.0.0.2/system'")  # fmt: skip
    assert live.control_of(placed(unlike)[0].cluster) is None


def test_without_the_controller_a_resource_is_forgotten_by_its_history(
    monkeypatch: pytest.MonkeyPatch,
):
    asked: list[list[str]] = []

    class Noting:
        def run(self, argv: list[str], *, given: str = "", timeout: float = 20.0) -> Said:
            asked.append(argv)
            return Said(0, "", "")

    monkeypatch.setenv("KVMDECL_SECRET_CIB", "right")
    live.refresh(RemoteShell("kvm-1", Noting(), "kvm-1:1", "hacluster", "KVMDECL_SECRET_CIB"), "db")
    assert asked == [["cibadmin", "--delete-all", "--force", "--xpath", "//lrm_resource[@id='db']"]]


def test_no_guest_that_runs_is_let_go_without_the_controller(tmp_path: Path):
    cluster = FileCluster(tmp_path / "cib.xml")
    cluster.write(
        overlay(read_cib(EMPTY), cib(configured(BOTH)), "edge"), {"db": ["kvm-1"], "web": ["kvm-2"]}
    )
    seen = Configuration(cluster.file.read_text(), "kvm-1")
    found = Pacemaker().compare(*placed(BOTH.replace(WEB, "web: {disk: 1GiB}")), seen)
    assert found.step is None
    assert [each.code for each in found.blocked] == ["ha.needs-shell"]


def test_a_cluster_of_new_hosts_listens_before_it_has_guests():
    lines = commands(configured(BOTH)).splitlines()
    listens = next(number for number, line in enumerate(lines) if 'remote-tls-port="19898"' in line)
    assert lines[listens + 1 : listens + 3] == ["pcs cluster stop --all", "pcs cluster start --all --wait"]
    assert listens < next(number for number, line in enumerate(lines) if "cib-push" in line)


def test_it_is_said_once_how_pacemaker_is_reached():
    with pytest.raises(Rejected, match="twice"):
        configured(BOTH.replace("services: []", "services: [], control: local"))
