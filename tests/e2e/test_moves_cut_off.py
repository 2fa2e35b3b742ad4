"""A migration whose client dies in the moment in which the guest is to go on on the second host, or right after.

libvirt leaves it halted on the first one.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

import libvirt
import pytest

from tests.e2e.conftest import Story, find_vm

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.proof]

CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..3}: {uri: "qemu+tls://{name}.example/system"}
vms:
  a: {host: kvm-1, memory: 32MiB}
"""
FINISH = 306
"""REMOTE_PROC_DOMAIN_MIGRATE_FINISH3_PARAMS: libvirt has the guest go on on the second host."""
CONFIRM = 307
"""REMOTE_PROC_DOMAIN_MIGRATE_CONFIRM3_PARAMS: libvirt's last word to the first host."""
_LIVE = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE


class CutOff:
    """A socket before a libvirtd's: hangs up when a certain call (a procedure of libvirt's protocol) comes by.

    `others` hang up before it, as if their client had died.
    """

    def __init__(
        self, path: Path, libvirtd: str, procedure: int = 0, others: tuple[CutOff, ...] = ()
    ) -> None:
        self._procedure, self._libvirtd, self._others = procedure, libvirtd, others
        self._ends: list[socket.socket] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def hang_up(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with (
            self._server,
            self._server.accept()[0] as client,
            client.makefile("rb") as calls,
            socket.socket(socket.AF_UNIX) as there,
        ):
            there.connect(self._libvirtd)
            self._ends += [client, there]
            answers = threading.Thread(target=self._answers, args=(there, client), daemon=True)
            answers.start()
            while head := calls.read(4):
                body = calls.read(struct.unpack(">I", head)[0] - 4)
                if struct.unpack(">I", body[8:12])[0] == self._procedure:
                    break
                there.sendall(head + body)
            for each in (*self._others, self):
                each.hang_up()
            answers.join()

    def _answers(self, there: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := there.recv(1 << 16):
                client.sendall(piece)


def socket_of(story: Story, host: str) -> str:
    return story.lab.hosts[host].uri().partition("socket=")[2]


def by_way_of(path: Path) -> libvirt.virConnect:
    return libvirt.open(f"qemu+unix:///system?socket={path}")


def is_halted(connection: libvirt.virConnect) -> bool:
    state: list[int] = connection.lookupByName("a").state()
    return state == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION]


def test_a_guest_that_went_on_is_ended_where_it_was_left_halted(story: Story, tmp_path: Path):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    CutOff(tmp_path / "cut", socket_of(story, "kvm-1"), CONFIRM)
    with story.connect("kvm-2") as there:
        by_way_of(tmp_path / "cut").lookupByName("a").migrate3(there, {}, _LIVE)
        assert there.lookupByName("a").state()[0] == libvirt.VIR_DOMAIN_RUNNING
        started = there.lookupByName("a").ID()
    with story.connect("kvm-1") as here:
        assert is_halted(here)

    story.edit("host: kvm-1", "host: kvm-2")
    told = story.ok("apply", "--yes").out

    assert "what its migration halted there is ended, for it went on" in told
    assert find_vm(story, "a") == "kvm-2"
    with story.connect("kvm-2") as there:
        assert there.lookupByName("a").ID() == started
    assert story.run("plan", "--detailed-exitcode").code == 0


def test_a_guest_that_never_went_on_goes_on_where_it_was_left_halted(story: Story, tmp_path: Path):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    source = CutOff(tmp_path / "source", socket_of(story, "kvm-1"))
    CutOff(tmp_path / "target", socket_of(story, "kvm-2"), FINISH, (source,))
    here, there = by_way_of(tmp_path / "source"), by_way_of(tmp_path / "target")
    with pytest.raises(libvirt.libvirtError):
        here.lookupByName("a").migrate3(there, {}, _LIVE)
    with story.connect("kvm-1") as connection:
        assert is_halted(connection)
        began = connection.lookupByName("a").ID()

    assert "halted -> running" in story.ok("plan").out
    story.ok("apply", "--yes")

    with story.connect("kvm-1") as connection:
        domain = connection.lookupByName("a")
        assert (domain.state()[0], domain.ID()) == (libvirt.VIR_DOMAIN_RUNNING, began)
    assert story.run("plan", "--detailed-exitcode").code == 0
