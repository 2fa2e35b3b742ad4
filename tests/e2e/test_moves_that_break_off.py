"""Guests that are off are copied to another host, and that breaks off: nothing is lost, and the next run ends it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kvmdecl.lab import boot
from tests.e2e.conftest import Story, find_vm, sha256
from tests.e2e.test_moves import require_nothing_left

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.proof, pytest.mark.timeout(900)]

MIB = 1 << 20
SIZE = 192 * MIB
CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..3}: {uri: "qemu+tls://{name}.example/system"}
storage:
  vms: {path: /srv/vms}
  small: {path: /srv/small}
defaults: {vms: {memory: 32MiB, state: stopped}}
vms:
  apply: {host: kvm-1, firmware: uefi, disk: {size: 192MiB, format: raw, pool: vms}}
  source: {host: kvm-1, firmware: uefi, disk: {size: 192MiB, format: raw, pool: vms}}
  target: {host: kvm-1, firmware: uefi, disk: {size: 192MiB, format: raw, pool: vms}}
  room: {host: kvm-1, firmware: uefi, disk: {size: 192MiB, format: raw, pool: small}}
"""
WAYS_ON = {"apply": "resume", "source": "undo", "target": "apply", "room": "resume"}
"""What breaks off: the run is killed, a libvirtd dies, or the pool is full; and what is done first then."""


def inside(story: Story, host: str, path: str) -> Path:
    """A file as the host sees it, with what is mounted there."""
    return Path(f"/proc/{boot.require_init(story.lab.directory, host)}/root{path}")


def disk(story: Story, vm: str, host: str) -> Path:
    return inside(story, host, f"/srv/{'small' if vm == 'room' else 'vms'}/{vm}.root.raw")


def variables(story: Story, vm: str, host: str) -> Path:
    return inside(story, host, f"/var/lib/libvirt/qemu/nvram/{vm}_VARS.fd")


def give_content(story: Story, vm: str) -> tuple[str, bytes]:
    """Fill what a guest has; returns what that is now."""
    disk(story, vm, "kvm-1").write_bytes(os.urandom(SIZE))
    variables(story, vm, "kvm-1").write_bytes(os.urandom(540_672))
    return content(story, vm, "kvm-1")


def content(story: Story, vm: str, host: str) -> tuple[str, bytes]:
    return sha256(disk(story, vm, host)), variables(story, vm, host).read_bytes()


def mount(story: Story, options: str, *what: str) -> bool:
    """Mount a file system on kvm-2 that is soon full; returns whether that was possible."""
    return story.lab.run(["mount", "-o", options, *what, "/srv/small"], host="kvm-2").returncode == 0


def strike_while_it_is_copied(story: Story, vm: str) -> None:
    """Begin to move a guest to kvm-2, and have happen to it there what it is called after."""
    story.edit(f"  {vm}: {{host: kvm-1", f"  {vm}: {{host: kvm-2")
    if vm == "room":
        mount(story, "size=512m", "-t", "tmpfs", "tmpfs")
    applying, copy = story.start("apply", "--yes"), disk(story, vm, "kvm-2")
    while not copy.exists() or copy.stat().st_blocks * 512 < 16 * MIB:
        assert applying.poll() is None, applying.communicate()
        time.sleep(0.005)
    if vm == "apply":
        applying.kill()
    elif vm == "room":
        assert any(mount(story, f"remount,size={size}m") for size in (64, 96, 128, 160, 176))
    else:
        struck = {"source": "kvm-1", "target": "kvm-2"}[vm]
        story.lab.kill(struck)
        out, err = applying.communicate(timeout=100)
        story.lab.start(struck)
        assert applying.returncode == 3, out + err
    out, err = applying.communicate(timeout=100)
    assert vm != "room" or (applying.returncode == 3 and "No space left" in out + err), out + err


def test_a_copy_that_breaks_off_costs_nothing_and_the_next_run_ends_it(own_story: Story):
    story = own_story
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    for vm, first in WAYS_ON.items():
        had = give_content(story, vm)
        strike_while_it_is_copied(story, vm)
        assert (find_vm(story, vm), content(story, vm, "kvm-1")) == ("kvm-1", had)
        if vm == "room":
            assert not disk(story, vm, "kvm-2").exists(), "what fills the pool is deleted"
            assert mount(story, "remount,size=512m")

        if first == "undo":
            story.ok("undo", "last", "--yes")
            assert (find_vm(story, vm), content(story, vm, "kvm-1")) == ("kvm-1", had)
        elif first == "resume":
            story.ok("apply", "--resume", "last", "--yes")
        story.ok("apply", "--yes")

        assert (find_vm(story, vm), content(story, vm, "kvm-2")) == ("kvm-2", had)
        assert sha256(disk(story, vm, "kvm-1")) == had[0]
        assert not variables(story, vm, "kvm-1").exists()
        require_nothing_left(story)


def test_undo_brings_back_a_guest_with_its_files(story: Story):
    story.write(CLUSTER.partition("  apply:")[0] + "  plain: {host: kvm-1, firmware: uefi}\n")
    story.ok("apply", "--yes")
    files = [variables(story, "plain", host) for host in ("kvm-1", "kvm-2")]
    files[0].write_bytes(b"variables" * 60_000)
    story.edit("plain: {host: kvm-1", "plain: {host: kvm-2")
    story.ok("apply", "--yes")
    assert [file.exists() for file in files] == [False, True]

    story.ok("undo", "last", "--yes")

    assert find_vm(story, "plain") == "kvm-1"
    assert [file.exists() for file in files] == [True, False]
    assert files[0].read_bytes() == b"variables" * 60_000
