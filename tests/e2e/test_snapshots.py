"""Snapshots of a guest that runs: what it writes is never lost, and a plan notices nothing of them."""

from __future__ import annotations

import json
import re
import subprocess

import libvirt
import libvirt_qemu
import pytest

from tests.e2e.conftest import Story

pytestmark = pytest.mark.xdist_group("lab")

CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-1: {uri: "qemu+tls://kvm-1.example/system"}
storage:
  vms: {path: /srv/vms}
images:
  tiny: {source: tiny.img, format: raw}
rules: {ignore: [operations.quick-force]}
vms:
  db:
    image: tiny
    memory: 64MiB
    disks: {data: 8MiB, plain: {size: 4MiB, format: raw}}
    snapshots: {keep: 2, every: hourly}
"""


def write(story: Story, disk: str, pattern: int) -> None:
    """Have QEMU write 1 KiB of a byte to a disk of the running guest, as the guest would."""
    device = f"/machine/peripheral/ua-{disk}/virtio-backend"
    command = f'qemu-io -d {device} "write -P {pattern} {pattern}k 1k"'
    flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
    with story.connect("kvm-1") as connection:
        answer = libvirt_qemu.qemuMonitorCommand(connection.lookupByName("db"), command, flags)
    assert "rror" not in answer, answer


def written(story: Story, file: str) -> list[int]:
    """The bytes that a disk of the guest, which is off, was filled with."""
    raw = story.lab.hosts["kvm-1"].folder / "srv/content.raw"
    convert = ["qemu-img", "convert", "-O", "raw", f"/srv/vms/{file}", "/srv/content.raw"]
    subprocess.run(story.lab.host_command("kvm-1", convert), check=True)
    content = raw.read_bytes()
    return [byte for byte in range(1, 9) if content[byte * 1024 : (byte + 1) * 1024] == bytes([byte]) * 1024]


def layers(story: Story) -> list[str]:
    return sorted(p.name for p in (story.lab.hosts["kvm-1"].folder / "srv/vms").iterdir() if "@" in p.name)


def assert_nothing_to_do(story: Story) -> None:
    answer = story.run("plan", "--detailed-exitcode")
    assert (answer.code, "warning" in answer.err) == (0, False), answer.out + answer.err


def assert_pending_only(story: Story) -> None:
    """The guest waits for its next boot for the change that was made beside the snapshots, and for nothing else."""
    answer = story.run("plan", "--detailed-exitcode")
    assert (answer.code, re.findall(r"warning\[(.*?)\]", answer.err)) == (0, ["plan.pending"]), answer.err


@pytest.fixture
def running(story: Story) -> Story:
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    return story


def test_a_snapshot_comes_and_goes_while_the_guest_writes_and_the_plan_stays_empty(running: Story):
    for disk in ("data", "plain"):
        write(running, disk, 1)
    running.ok("snapshot", "create", ".", "db", "--name", "one", "--yes")
    assert layers(running) == ["db.data.qcow2@one", "db.plain.raw@one", "db.root.qcow2@one"]
    assert_nothing_to_do(running)
    for disk in ("data", "plain"):
        write(running, disk, 2)
    running.ok("snapshot", "create", ".", "--name", "two", "--yes")
    for disk in ("data", "plain"):
        write(running, disk, 3)
    assert_nothing_to_do(running)

    running.edit("memory: 64MiB", "memory: {size: 64MiB, max: 96MiB}")  # a change beside the snapshots
    running.ok("apply", "--yes")
    assert layers(running)[:2] == ["db.data.qcow2@one", "db.data.qcow2@two"]
    assert_pending_only(running)

    running.ok("snapshot", "delete", ".", "db", "one", "--yes")  # from the middle of the chain
    assert layers(running) == ["db.data.qcow2@two", "db.plain.raw@two", "db.root.qcow2@two"]
    running.ok("snapshot", "delete", ".", "db", "two", "--yes")  # from its top
    assert layers(running) == []
    assert_pending_only(running)
    with running.connect("kvm-1") as connection:
        domain = connection.lookupByName("db")
        assert domain.listAllSnapshots() == []
        domain.destroy()
    assert written(running, "db.data.qcow2") == written(running, "db.plain.raw") == [1, 2, 3]
    running.ok("apply", "--yes")
    assert_nothing_to_do(running)


def test_a_guest_with_snapshots_neither_grows_nor_is_deleted_with_them(running: Story):
    running.ok("snapshot", "create", ".", "db", "--name", "one", "--yes")

    running.edit("data: 8MiB", "data: 16MiB")
    assert "plan.disk-has-snapshots" in running.run("plan").err
    running.edit("    image: tiny\n", "    image: tiny\n    state: absent\n")
    answer = running.run("apply", "--yes", *running.consents("kvm-1/domain/db"))

    assert "step.saved-states" in answer.out + answer.err
    assert len(layers(running)) == 3


def test_without_an_agent_nothing_is_quiesced_and_no_snapshot_taken(running: Story):
    answer = running.run("snapshot", "create", ".", "db", "--quiesce", "--yes")

    assert answer.code == 3
    assert "step.not-quiesced" in answer.out + answer.err
    assert layers(running) == []


def test_a_policy_takes_what_is_due_and_touches_nobody_elses(running: Story):
    with running.connect("kvm-1") as connection:
        connection.lookupByName("db").snapshotCreateXML(
            "<domainsnapshot><name>theirs</name></domainsnapshot>",
            libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY,
        )
    assert_nothing_to_do(running)
    running.ok("snapshot", "run", ".", "--yes")
    assert "No changes: 1 object" in running.ok("snapshot", "run", ".", "--yes").out, "one in an hour"
    running.edit("keep: 2", "keep: 1")
    running.ok("snapshot", "create", ".", "db", "--name", "mine", "--yes")

    listed = json.loads(running.ok("snapshot", "list", ".", "--format", "json").out)["snapshots"]

    assert [row["by"] for row in listed] == ["somebody else", "kvmdecl, by policy", "kvmdecl"]
    assert "snapshot.not-ours" in running.run("snapshot", "delete", ".", "db", "theirs", "--yes").err


def test_a_guest_that_is_off_goes_back_to_its_snapshot_and_the_plan_stays_empty(running: Story):
    write(running, "data", 1)
    running.edit(
        "    image: tiny\n", "    image: tiny\n    state: stopped\n    shutdown: {timeout: 1s, force: true}\n"
    )
    running.ok("apply", "--yes")
    running.ok("snapshot", "create", ".", "db", "--name", "one", "--yes")
    assert_nothing_to_do(running)

    answer = running.ok("snapshot", "revert", ".", "db", "one", "--yes")

    assert "what was written since one is kept: /srv/vms/db.root.qcow2@one" in answer.out
    assert_nothing_to_do(running)
    assert len(layers(running)) == 6
    (top,) = (name for name in layers(running) if name.startswith("db.data.qcow2@one."))
    assert written(running, top) == [1]
