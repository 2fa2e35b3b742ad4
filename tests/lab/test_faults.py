"""Hosts and daemons break on demand, and recover."""

from __future__ import annotations

import os
import subprocess
import sys

import libvirt
import pytest

from kvmdecl.diagnostics import Rejected
from kvmdecl.lab import Lab, State
from kvmdecl.lab.boot import NOBODY
from kvmdecl.lab.guest import BANNER, tiny_image
from tests.lab.helpers import TINY_GUEST, connected, eventually

pytestmark = pytest.mark.lab


def answers(lab: Lab, name: str, seconds: float = 5) -> bool:
    """Whether a libvirtd answers; another process asks, since a call to a frozen one never returns."""
    code = f"import libvirt; libvirt.open({lab.hosts[name].uri()!r}).getLibVersion()"
    try:
        return (
            subprocess.run([sys.executable, "-c", code], timeout=seconds, capture_output=True).returncode == 0
        )
    except subprocess.TimeoutExpired:
        return False


def test_a_frozen_host_accepts_and_never_answers_until_it_is_thawed(clean_lab: Lab):
    clean_lab.freeze("kvm-2")
    assert clean_lab.status()["kvm-2"] is State.FROZEN
    assert not answers(clean_lab, "kvm-2", seconds=1)
    assert answers(clean_lab, "kvm-1")

    clean_lab.thaw("kvm-2")
    assert answers(clean_lab, "kvm-2")


def test_a_killed_libvirtd_loses_no_definition_and_no_guest(clean_lab: Lab):
    host = clean_lab.hosts["kvm-1"]
    tiny_image(host.folder / "srv/tiny.raw")
    with connected(host) as connection:
        connection.defineXML(TINY_GUEST.format(machine="pc")).create()
    qemu = clean_lab.run(["pidof", "qemu-system-x86_64"], host="kvm-1").stdout

    clean_lab.kill("kvm-1")
    assert clean_lab.status()["kvm-1"] is State.NO_LIBVIRTD
    with pytest.raises(libvirt.libvirtError):
        libvirt.open(host.uri())

    clean_lab.start("kvm-1")
    with connected(host) as connection:
        assert [
            domain.name() for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        ] == ["tiny"]
    assert clean_lab.run(["pidof", "qemu-system-x86_64"], host="kvm-1").stdout == qemu != ""


@pytest.mark.skipif(os.geteuid() != 0, reason="a lab of an ordinary user knows no other")
def test_guests_run_as_a_user_without_rights(clean_lab: Lab):
    """As on any host; a guest with rights is tainted, and the start of one that is does not survive its libvirtd."""
    host = clean_lab.hosts["kvm-1"]
    image = host.folder / "srv/tiny.raw"
    tiny_image(image)
    image.chmod(0o600)
    with connected(host) as connection:
        domain = connection.defineXML(TINY_GUEST.format(machine="pc"))
        domain.create()
        assert domain.messages(libvirt.VIR_DOMAIN_MESSAGE_TAINTING) == []
        assert image.stat().st_uid == NOBODY
        user = clean_lab.run(
            ["sh", "-c", "stat -c %u /proc/$(pidof qemu-system-x86_64)"], host="kvm-1"
        ).stdout
        assert int(user) == NOBODY
        domain.destroy()
    assert image.stat().st_uid == 0


def test_a_power_cut_ends_guests_and_keeps_definitions(clean_lab: Lab):
    host = clean_lab.hosts["kvm-3"]
    tiny_image(host.folder / "srv/tiny.raw")
    with connected(host) as connection:
        connection.defineXML(TINY_GUEST.format(machine="pc")).create()

    clean_lab.power_off("kvm-3")
    assert clean_lab.status() == {"kvm-1": State.UP, "kvm-2": State.UP, "kvm-3": State.OFF}
    with pytest.raises(Rejected, match=r"lab\.host-off"):
        clean_lab.freeze("kvm-3")

    clean_lab.power_on("kvm-3")
    with connected(host) as connection:
        assert not connection.lookupByName("tiny").isActive()
    assert clean_lab.run(["ping", "-c1", "-W2", "kvm-3"]).returncode in {0, 127}  # its link came back


def test_an_unknown_host_is_named_with_the_nearest_one(lab: Lab):
    with pytest.raises(Rejected, match=r"lab\.unknown-host") as rejected:
        lab.freeze("kvm-")
    assert rejected.value.diagnostics[0].hint.startswith("did you mean `kvm-")


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_the_tiny_guest_says_it_is_up_idles_and_obeys_the_power_button(clean_lab: Lab, machine: str):
    host = clean_lab.hosts["kvm-1"]
    tiny_image(host.folder / "srv/tiny.raw")
    serial = host.folder / "srv/serial.log"
    with connected(host) as connection:
        domain = connection.defineXML(TINY_GUEST.format(machine=machine))
        domain.create()
        assert eventually(lambda: BANNER in serial.read_text())
        used = domain.info()[4]
        assert not eventually(lambda: not domain.isActive(), seconds=1)
        assert domain.info()[4] - used < 0.3e9  # nanoseconds of CPU time in a second of wall time

        domain.shutdown()
        assert eventually(lambda: not domain.isActive(), seconds=5)
