"""Every way to move that a manifest can ask for, over the hosts' own network, and daemons that die meanwhile."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvmdecl.lab import Lab
from tests.e2e.conftest import HOSTS, Answer, Story, find_vm
from tests.e2e.test_moves import halted_for_a_moment, require_nothing_left, require_went_on, watched

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.proof, pytest.mark.timeout(1800)]

CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..3}: {uri: "qemu+tls://{name}/system?pkipath=CLIENT"}
vms:
  a:
    host: kvm-1
    type: qemu
    memory: 32MiB
    disk: {source: {protocol: nbd, servers: [10.77.0.1], name: a}, format: raw, cache: none}
    migration: {}
"""
WRITER = bytes.fromhex("fb b80010 8ec0 50 31ff b90080 42 89d0 f3ab 58 050010 3d0090 75ea ebe5")
"""A boot sector that fills half a mebibyte with one number, then with the next: what was copied is old at once."""


@pytest.fixture
def far(make_lab: Callable[..., Lab], tmp_path: Path) -> Iterator[Story]:
    """A guest in the lab's network, where hosts reach each other by TLS and see a server of disks."""
    story = Story(tmp_path, make_lab(HOSTS, tls=True))
    image = tmp_path / "disk.img"
    image.write_bytes(WRITER.ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512))
    with disk_server(story, image):
        story.write(CLUSTER.replace("CLIENT", str(story.lab.directory / "client")))
        assert within(story, "apply", "--yes").code == 0
        time.sleep(1.5)  # it boots
        yield story


@contextmanager
def disk_server(story: Story, image: Path) -> Iterator[None]:
    argv = ["qemu-nbd", "-t", "-e", "8", "-f", "raw", "-x", "a", "-p", "10809", str(image)]
    with subprocess.Popen(story.lab.command(argv)) as server:
        try:
            yield
        finally:
            story.lab.run(["pkill", "-f", str(image)])  # only what runs in this lab is seen there
            server.kill()


def within(story: Story, *args: str) -> Answer:
    return story.run(*args, rehearse=False, prefix=story.lab.command([]))


def other(host: str) -> str:
    return "kvm-2" if host == "kvm-1" else "kvm-1"


def send(story: Story, host: str, way: str) -> None:
    """Have the manifest say where the guest goes, and how."""
    text = (story.folder / "cluster.yaml").read_text()
    head, _, _ = text.partition("    host:")
    rest = [line for line in text.splitlines() if line.startswith(("    type", "    memory", "    disk"))]
    story.write("\n".join([head.rstrip(), f"    host: {host}", *rest, f"    migration: {way}\n"]))


def test_a_guest_with_its_disk_on_a_server_goes_every_way_without_an_end(far: Story):
    before, there = halted_for_a_moment(far, "a"), "kvm-1"
    for way in (
        "{control: hosts}",
        "{mode: post-copy, bandwidth: 1MiB, control: hosts}",
        "{parallel: 2}",
        "{compressed: true, auto_converge: true}",
        "{tls: true}",
        "{tls: true, control: hosts}",
        "{bandwidth: 5MiB, max_downtime: 500}",
        "{bandwidth: 1MiB, timeout: 1s, on_timeout: suspend}",
        "{bandwidth: 1MiB, timeout: 1s, on_timeout: post-copy}",
    ):
        there = other(there)
        send(far, there, way)
        with watched(far, "a"):
            answer = within(far, "apply", "--yes")
        assert (way, answer.code, find_vm(far, "a")) == (way, 0, there), answer
        require_went_on(far, before)
        assert within(far, "plan", "--detailed-exitcode").code == 0

    send(far, other(there), "{bandwidth: 1MiB, timeout: 1s}")
    answer = within(far, "apply", "--yes")
    assert (answer.code, find_vm(far, "a")) == (3, there)
    assert "failed[step.too-slow]" in answer.out + answer.err
    require_went_on(far, before)


@pytest.mark.parametrize("control", ["client", "hosts"])
def test_a_guest_goes_on_though_a_libvirtd_or_the_apply_dies_while_it_moves(far: Story, control: str):
    before, there = halted_for_a_moment(far, "a"), "kvm-1"
    for victim in ("source", "target", "source", "target"):
        to = other(there)
        send(far, to, f"{{bandwidth: 1MiB, control: {control}}}")
        with watched(far, "a"):
            applying = far.start(
                "apply", "--yes", "--progress", "json", rehearse=False, prefix=far.lab.command([])
            )
            assert applying.stdout
            assert any(json.loads(line)["event"] == "step-started" for line in applying.stdout)
            time.sleep(0.7)
            struck = there if victim == "source" else to
            far.lab.kill(struck)
            applying.communicate()
            far.lab.start(struck)
            assert within(far, "apply", "--yes").code == 0
        assert find_vm(far, "a") == to
        require_went_on(far, before)
        assert within(far, "plan", "--detailed-exitcode").code == 0
        there = to


OFF = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..3}: {uri: "qemu+tls://{name}.example/system"}
storage:
  vms: {path: /srv/vms}
vms:
  a:
    host: kvm-1
    memory: 128MiB
    disk: 64MiB
    firmware: uefi
    tpm: emulator
    restart: now
    shutdown: {timeout: 1s, force: true}
    xml: |
      <domain><devices>
        <shmem name='x'><model type='ivshmem-plain'/><size unit='M'>1</size></shmem>
      </devices></domain>
"""


def test_a_guest_that_cannot_go_while_it_runs_is_started_there_with_all_that_it_has(story: Story):
    story.write(OFF)
    story.ok("apply", "--yes")
    story.edit("host: kvm-1", "host: kvm-2")
    tpm = tpm_state(story, "kvm-1")

    assert "it is off while" in story.ok("plan").out
    with watched(story, "a"):
        story.ok("apply", "--yes")

    assert find_vm(story, "a") == "kvm-2"
    with story.connect("kvm-2") as connection:
        assert connection.lookupByName("a").isActive()
        assert [pool.name() for pool in connection.listAllStoragePools()] == ["vms"]
    first, second = (story.lab.hosts[host].folder / "lib" for host in ("kvm-1", "kvm-2"))
    assert not [*first.glob("qemu/nvram/*"), *first.glob("swtpm/*/tpm2")]
    assert [*second.glob("qemu/nvram/a_VARS.fd"), *second.glob("swtpm/*/tpm2/tpm2-00.permall")]
    assert has_common(tpm, tpm_state(story, "kvm-2")), "a TPM that has a state is not made anew"
    require_nothing_left(story)


def tpm_state(story: Story, host: str) -> bytes:
    (state,) = (story.lab.hosts[host].folder / "lib/swtpm").glob("*/tpm2/tpm2-00.permall")
    return state.read_bytes()


def has_common(before: bytes, after: bytes) -> bool:
    """Whether most of what is in two states is the same: their keys and certificates are, their counters are not."""
    parts = [before[at : at + 32] for at in range(0, len(before), 32)]
    return sum(part in after for part in parts) > len(parts) / 2
