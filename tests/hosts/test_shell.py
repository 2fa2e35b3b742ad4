"""Programs on hosts over SSH: a real sshd, with keys of its own, on a port of the loopback."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmdecl.hosts.inside import look
from kvmdecl.hosts.shell import CommandShell, UriReach
from kvmdecl.inside import Inside
from kvmdecl.manager import NoAnswer, Said
from kvmdecl.uri import parse_manifest_uri

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.manager import Shell

CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/mine.pub
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
UseDNS no
"""
# It wants a directory of this name, and a root whose account is not locked, without changing this machine's.
AS_ROOT = """
mount -t tmpfs tmpfs /run; mkdir /run/sshd
echo 'root:*:19000:0:99999:7:::' >shadow; mount --bind shadow /etc/shadow
"""


class Server:
    """An sshd; `mine` is the key that it lets in, `theirs` one that it does not know."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        for name in ("host", "mine", "theirs"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        key = (folder / "host.pub").read_text()
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {key}")
        (folder / "strangers").write_text("")
        (folder / "config").write_text(CONFIG.format(port=self.port, folder=folder))

    def shell(self, key: str = "mine", known: str = "known", port: int = 0) -> Shell:
        where = f"{getpass.getuser()}@127.0.0.1:{port or self.port}"
        files = f"keyfile={self.folder / key}&known_hosts={self.folder / known}"
        uri = parse_manifest_uri(f"qemu+libssh2://{where}/system?{files}")
        found = UriReach({"kvm-1": uri}).shell("kvm-1")
        assert found is not None
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None or shutil.which("ssh") is None:
        said = "OpenSSH is not installed; `make test` installs it"
        (pytest.fail if os.environ.get("KVMDECL_REQUIRE_LAB") == "1" else pytest.skip)(said)
    server = Server(tmp_path_factory.mktemp("ssh"))
    argv = [sshd, "-D", "-e", "-f", str(server.folder / "config")]
    if os.geteuid() == 0:
        argv = ["unshare", "--mount", "sh", "-ec", f'{AS_ROOT}exec "$@"', "sh", *argv]
    with (server.folder / "log").open("wb") as log:
        daemon = subprocess.Popen(argv, cwd=server.folder, stderr=log)
    try:
        deadline = time.monotonic() + 10
        while "Server listening" not in (said := (server.folder / "log").read_text()):
            assert daemon.poll() is None, said
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield server
    finally:
        daemon.terminate()
        daemon.wait()


def test_a_program_gets_its_words_and_its_input_as_they_are_and_its_end_is_told(server: Server):
    words = ["$(id)", "a b", "it's", "*", ";", ""]
    program = ["sh", "-c", 'printf "[%s]" "$@"; cat; echo why >&2; exit 103', "sh"]
    said = server.shell().run([*program, *words], given="<cib/>")
    assert said == Said(103, "".join(f"[{word}]" for word in words) + "<cib/>", "why\n")


def test_a_program_that_is_not_there_is_no_silence(server: Server):
    absent = server.shell().run(["cibadmin-is-not-here", "--query"])
    assert absent.code == 127
    assert "No such file" in absent.err


REFUSED = {
    # The key, the hosts that are known, and a port -> what is told.
    "a host that is not known": ("mine", "strangers", 0, "Host key verification failed"),
    "a key that is not let in": ("theirs", "known", 0, "Permission denied"),
    "a port where nobody is": ("mine", "known", 1, "Connection refused"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_does_not_get_there_gets_no_answer_and_a_reason(case: str, server: Server):
    key, known, port, why = REFUSED[case]
    with pytest.raises(NoAnswer, match=rf"kvm-1: .*{why}"):
        server.shell(key, known, port).run(["true"])


def test_a_program_that_hangs_is_given_up(server: Server):
    began = time.monotonic()
    with pytest.raises(NoAnswer, match="kvm-1: sleep did not end within 0 s"):
        server.shell().run(["sleep", "3"], timeout=0.4)
    assert time.monotonic() - began < 3


def test_a_host_is_looked_into_over_ssh(server: Server, tmp_path: Path):
    place = tmp_path / "it's $(here)"
    place.mkdir()
    found = look({"kvm-1": server.shell()}, {"kvm-1": [str(place)]}, {})["kvm-1"]
    assert isinstance(found, Inside)
    assert found.clock is not None
    assert found.file_systems[-1].path == str(place)
    assert found.name


def test_ssh_leads_to_hosts_whose_uris_lead_to_libvirt_alone_where_it_is_said_how():
    uris = {"kvm-1": parse_manifest_uri("qemu+tls://kvm-1.example/system")}
    assert UriReach(uris).shell("kvm-1") is None
    assert UriReach(uris, "no such").shell("kvm-1") is None
    shell = UriReach(uris, "root@{name}.lan").shell("kvm-1")
    assert isinstance(shell, CommandShell)
    assert [*shell.wrap(["true"])][-3:] == ["--", "root@kvm-1.lan", "true"]
