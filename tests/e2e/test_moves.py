"""Guests go from host to host while they run: never twice at once, never begun anew, and nothing is left to do."""

from __future__ import annotations

import random
import re
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import libvirt
import pytest

from kvmdecl.names import derive_uuid
from kvmdecl.state import Kind
from tests.e2e.conftest import HOSTS, Story, find_vm, sha256

pytestmark = pytest.mark.xdist_group("lab")

CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..3}: {uri: "qemu+tls://{name}.example/system"}
storage:
  vms: {path: /srv/vms}
images:
  tiny: {source: tiny.img, format: raw}
defaults: {vms: {memory: 32MiB, image: tiny}}
vms:
  a: {host: kvm-1}
  b: {host: kvm-2}
  off: {host: kvm-1, state: stopped, firmware: uefi, tpm: emulator, disks: {data: {size: 64MiB, format: raw}}}
"""
TICKS = 0x46C
"""Where the BIOS counts timer interrupts, 18.2 in a second. A guest that was halted lags behind its clock from then on;
one that boots sets the count by its clock anew."""


def lag(domain: libvirt.virDomain) -> float:
    """Seconds that a guest's count of ticks is behind the time of day."""
    (ticks,) = struct.unpack("<I", domain.memoryPeek(TICKS, 4, libvirt.VIR_MEMORY_PHYSICAL))
    return (time.time() % 86400) - ticks / 18.2065


@dataclass
class Watch:
    """Looks all the time at who runs a guest. `twice` are the moments at which two hosts did."""

    story: Story
    names: tuple[str, ...]
    looks: int = 0
    twice: list[str] = field(default_factory=list)

    def look(self, connections: dict[str, libvirt.virConnect]) -> None:
        """A guest that ran on a host before and after it ran on another one ran twice."""
        seen = [self._running(connection) for connection in (*connections.values(), *connections.values())]
        self.looks += 1
        half = len(connections)
        for name in self.names:
            all_along = [i for i in range(half) if name in seen[i] and name in seen[i + half]]
            if len(all_along) > 1:
                self.twice.append(name)

    def _running(self, connection: libvirt.virConnect) -> set[str]:
        flag = libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING
        return {domain.name() for domain in connection.listAllDomains(flag)}


@contextmanager
def watched(story: Story, *names: str) -> Iterator[Watch]:
    """Watch guests while the block lasts."""
    watch, done = Watch(story, names), threading.Event()
    connections = {host: libvirt.open(story.lab.hosts[host].uri()) for host in HOSTS}

    def look() -> None:
        while not done.wait(0.03):
            watch.look(connections)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()
        for connection in connections.values():
            connection.close()
    assert watch.looks > 20, watch.looks
    assert not watch.twice


def halted_for_a_moment(story: Story, *names: str) -> dict[str, float]:
    """Halt guests for two seconds; returns how much they lag behind since."""
    with ExitStack() as stack:
        places = [(name, stack.enter_context(story.connect(find_vm(story, name)))) for name in names]
        guests = {name: connection.lookupByName(name) for name, connection in places}
        for guest in guests.values():
            guest.suspend()
        time.sleep(2)
        for guest in guests.values():
            guest.resume()
        time.sleep(0.2)
        return {name: lag(guest) for name, guest in guests.items()}


def require_went_on(story: Story, before: dict[str, float]) -> None:
    """They run, and lag as before: none was begun anew on its way."""
    for name, behind in before.items():
        with story.connect(find_vm(story, name)) as connection:
            domain = connection.lookupByName(name)
            assert domain.isActive()
            assert lag(domain) > behind - 0.8, name


def require_nothing_left(story: Story) -> None:
    answer = story.run("plan", "--detailed-exitcode")
    assert answer.code == 0, answer.out + answer.err


def test_guests_swap_their_hosts_with_their_disks(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    disks = write_disks_of_off(story)
    files = write_files_of_off(story)
    time.sleep(1.5)  # they boot
    before = halted_for_a_moment(story, "a", "b")

    story.edit("a: {host: kvm-1}", "a: {host: kvm-2}")
    story.edit("b: {host: kvm-2}", "b: {host: kvm-1}")
    story.edit("off: {host: kvm-1", "off: {host: kvm-2")
    with watched(story, "a", "b"):
        story.ok("apply", "--yes")

    assert [find_vm(story, name) for name in ("a", "b", "off")] == ["kvm-2", "kvm-1", "kvm-2"]
    require_went_on(story, before)
    require_nothing_left(story)
    assert [disks_of_off(story, host) for host in ("kvm-1", "kvm-2")] == [disks, disks], "no byte is another"
    assert files_of_off(story, "kvm-2") == files
    assert files_of_off(story, "kvm-1") == {}
    copy = story.lab.hosts["kvm-2"].folder / "srv/vms/off.data.raw"
    assert copy.stat().st_blocks < 4096, "of 512 bytes: holes stay holes"

    story.edit("defaults: {vms: {", "defaults: {vms: {migration: {left: delete}, ")
    left = ["/".join(step["address"].values()) for step in story.ok("plan", "--format", "json").plan["steps"]]
    assert {f"kvm-1/volume/vms/{name}" for name in disks} < set(left)
    assert story.run("apply", "--yes").code == 4
    story.ok("apply", "--yes", *story.consents(*left))
    require_nothing_left(story)
    assert list((story.lab.hosts["kvm-1"].folder / "srv/vms").glob("[ao]*.root.*")) == []
    assert disks_of_off(story, "kvm-2") == disks


def write_disks_of_off(story: Story) -> dict[str, str]:
    """Give a guest's disk something in the middle and at the end; returns the digests of all of its disks."""
    with (story.lab.hosts["kvm-1"].folder / "srv/vms/off.data.raw").open("r+b") as disk:
        for at, text in ((5 << 20, b"middle" * 100_000), ((64 << 20) - 3, b"end")):
            disk.seek(at)
            disk.write(text)
    return disks_of_off(story, "kvm-1")


def write_files_of_off(story: Story) -> dict[str, bytes]:
    """What it would have in files of its host if it had run; returns what is in them."""
    library = story.lab.hosts["kvm-1"].folder / "lib"
    tpm = library / f"swtpm/{derive_uuid('story', Kind.DOMAIN, 'off')}/tpm2"
    tpm.mkdir(parents=True)
    (tpm / ".lock").touch()
    (tpm / "tpm2-00.permall").write_bytes(b"state" * 1201)
    (library / "qemu/nvram/off_VARS.fd").write_bytes(b"\xff" * 300_000 + b"variables" + bytes(240_363))
    return files_of_off(story, "kvm-1")


def files_of_off(story: Story, host: str) -> dict[str, bytes]:
    library = story.lab.hosts[host].folder / "lib"
    found = [*library.glob("qemu/nvram/off*"), *library.glob("swtpm/*/tpm*/*")]
    return {path.name: path.read_bytes() for path in found if path.name != ".lock"}


def disks_of_off(story: Story, host: str) -> dict[str, str]:
    folder = story.lab.hosts[host].folder / "srv/vms"
    return {name: sha256(folder / name) for name in ("off.data.raw", "off.root.qcow2")}


SMALL = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-1: {uri: "qemu+tls://kvm-1.example/system", reserve: {memory: RESERVE}}
  kvm-{2..3}: {uri: "qemu+tls://{name}.example/system", reserve: {memory: RESERVE}}
vms:
  a: {host: kvm-1, memory: 32MiB}
  b: {host: kvm-2, memory: 32MiB}
"""


def test_guests_of_full_hosts_swap_by_a_third_one_and_leave_a_drained_one(story: Story):
    with story.connect("kvm-1") as connection:
        memory = int(re.findall(r"<memory unit='KiB'>(\d+)<", connection.getCapabilities())[0])
    story.write(SMALL.replace("RESERVE", f"{memory - 40 * 1024}KiB"))  # each has room for one of them
    story.ok("apply", "--yes")
    time.sleep(1)
    before = halted_for_a_moment(story, "a", "b")

    story.edit("a: {host: kvm-1,", "a: {host: kvm-2,")
    story.edit("b: {host: kvm-2,", "b: {host: kvm-1,")
    with watched(story, "a", "b"):
        story.ok("apply", "--yes")
    assert [find_vm(story, name) for name in ("a", "b")] == ["kvm-2", "kvm-1"]
    require_nothing_left(story)

    story.edit("b: {host: kvm-1, memory", "b: {memory")
    story.edit('kvm-1.example/system", ', 'kvm-1.example/system", maintenance: true, ')
    with watched(story, "b"):
        story.ok("apply", "--yes")
    assert [find_vm(story, name) for name in ("a", "b")] == ["kvm-2", "kvm-3"]
    require_went_on(story, before)
    require_nothing_left(story)


@pytest.mark.proof
def test_a_move_whose_apply_is_killed_is_ended_by_the_next_one(story: Story):
    text = CLUSTER.partition("  b:")[0]
    story.write(text)
    story.ok("apply", "--yes")
    time.sleep(1.5)
    before = halted_for_a_moment(story, "a")
    dice, there = random.Random(7), "kvm-1"

    for _ in range(10):
        there = dice.choice([host for host in HOSTS if host != there])
        delete_what_it_left(story, there)
        story.write(text.replace("host: kvm-1", f"host: {there}"))
        with watched(story, "a"):
            killed = story.start("apply", "--yes")
            time.sleep(dice.uniform(1.5, 6))
            killed.kill()
            killed.communicate()
            story.ok("apply", "--yes")

        assert find_vm(story, "a") == there
        require_went_on(story, before)
        require_nothing_left(story)


def delete_what_it_left(story: Story, host: str) -> None:
    """As the hint of `move.disk-there` says, before the guest comes back to a host that it was on."""
    with story.connect(host) as connection:
        pool = connection.storagePoolLookupByName("vms")
        for volume in pool.listAllVolumes():
            if volume.name().startswith("a.root."):
                volume.delete()
