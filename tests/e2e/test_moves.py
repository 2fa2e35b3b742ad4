"""Guests go from host to host while they run: never twice at once, never begun anew, and nothing is left to do."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import libvirt
import pytest

from tests.e2e.conftest import HOSTS, Story, find_vm

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
        while not done.wait(0.01):
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
    """Halt guests for two seconds each; returns how much they lag behind since."""
    found = {}
    for name in names:
        with story.connect(find_vm(story, name)) as connection:
            domain = connection.lookupByName(name)
            domain.suspend()
            time.sleep(2)
            domain.resume()
            time.sleep(0.2)
            found[name] = lag(domain)
    return found


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


def test_running_guests_swap_their_hosts_and_go_back_when_theirs_is_drained(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    time.sleep(1.5)  # they boot
    before = halted_for_a_moment(story, "a", "b")

    story.edit("a: {host: kvm-1}", "a: {host: kvm-2}")
    story.edit("b: {host: kvm-2}", "b: {host: kvm-1}")
    with watched(story, "a", "b"):
        story.ok("apply", "--yes")

    assert [find_vm(story, name) for name in ("a", "b")] == ["kvm-2", "kvm-1"]
    require_went_on(story, before)
    require_nothing_left(story)
