"""Directories of the host in a running guest, served by the real daemon of virtiofs."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmdecl.hosts.read import read_domain
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.state import Origin
from tests.libvirt_xml.test_on_libvirt import ROOT, declared
from tests.perform.test_domains import UUID, define, domain, qemu_pid, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.perform.conftest import Hand

DAEMON = Path("/usr/lib/qemu/virtiofsd")
SHARED = {"source": "memfd", "access": "shared"}

pytestmark = pytest.mark.skipif(not DAEMON.exists(), reason="QEMU came without its daemon for virtiofs")


@pytest.fixture
def others_daemon(hand: Hand) -> Iterator[None]:
    """A daemon of our own, which listens on the host's /srv/code.sock."""
    socket = hand.path("/srv/code.sock")
    options = f"--socket-path={socket} -o source={hand.path('/srv')} -o sandbox=chroot -f"
    with subprocess.Popen([DAEMON, *options.split()], stderr=subprocess.DEVNULL) as daemon:
        while not socket.exists() and daemon.poll() is None:
            time.sleep(0.02)
        if socket.exists():  # a QEMU that is not root may open it
            socket.chmod(0o666)
        yield
        daemon.kill()
        socket.unlink(missing_ok=True)


def test_a_share_is_plugged_into_a_running_guest_that_has_another(hand: Hand, others_daemon: None):
    """libvirt 9.0 itself ends where it plugs in a share with a daemon of its own and the host has no cgroups."""
    hand.path("/srv/root.raw").write_bytes(bytes(1 << 16))

    def guest(**shares: object) -> str:
        return declared(uuid=UUID, disks=(ROOT,), nics=(), memory_keys=SHARED, shares=shares)

    was = {"docs": {"path": "/srv", "daemon": {"sandbox": "chroot", "cache": "always"}}, "all": "/srv"}
    before, after = guest(**was), guest(**was, code={"socket": "/srv/code.sock"})
    hand.do(define(before, power="start"))
    pid = qemu_pid(hand)
    calls = assess(after, before, read_domain(domain(hand)), Origin()).live
    result = hand.do(define(after, before, live=calls))

    assert result.remarks == ()
    shares = [share.get("dir") for share in running(hand).iterfind("devices/filesystem/target")]
    assert shares == ["docs", "all", "code"]
    found = assess(after, after, read_domain(domain(hand)), Origin())
    assert (found.changes, found.live, found.pending) == ((), (), ())
    assert qemu_pid(hand) == pid
