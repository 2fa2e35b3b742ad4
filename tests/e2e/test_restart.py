"""A guest is restarted for what it only gets by that, when the manifest and the command line let it be."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Story, qemu_pid

pytestmark = pytest.mark.xdist_group("lab")

CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-1: {uri: "qemu+tls://kvm-1.example/system"}
networks:
  lan: {bridge: br0}
storage:
  vms: {path: /srv/vms}
images:
  tiny: {source: tiny.img, format: raw}
vms:
  web:
    image: tiny
    memory: 64MiB
    nics: [lan]
"""


@pytest.fixture
def waiting(story: Story) -> Story:
    """A guest that runs, with a change in its definition that it has not got yet."""
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    story.edit("memory: 64MiB", "memory: 96MiB")
    story.ok("apply", "--yes")
    return story


def memory(story: Story) -> str:
    """What the running guest began with."""
    with story.connect("kvm-1") as connection:
        return f"{connection.lookupByName('web').info()[1] // 1024}MiB"


def test_what_waits_for_the_next_boot_waits_for_ever_by_default(waiting: Story):
    pid = qemu_pid(waiting, "kvm-1", "web")

    answer = waiting.run("apply", "--yes", "--scheduled")

    assert answer.out.startswith("No changes:")
    assert "memory: runs with `64MiB`, will have `96MiB`" in answer.err
    assert (qemu_pid(waiting, "kvm-1", "web"), memory(waiting)) == (pid, "64MiB")


def test_a_scheduled_restart_comes_with_the_run_that_says_so(waiting: Story):
    waiting.edit("memory: 96MiB", "memory: 96MiB\n    restart: scheduled")
    pid = qemu_pid(waiting, "kvm-1", "web")
    outside = waiting.run("apply", "--yes")
    assert outside.out.startswith("No changes:")
    assert "`kvmdecl apply --scheduled` restarts it" in outside.err
    assert qemu_pid(waiting, "kvm-1", "web") == pid

    plan = waiting.ok("plan", "--scheduled", "--out", "plan.json")
    assert "1 restart" in plan.out
    waiting.ok("apply", "plan.json", "--yes")

    assert qemu_pid(waiting, "kvm-1", "web") != pid
    assert memory(waiting) == "96MiB"
    after = waiting.run("plan", "--detailed-exitcode", "--scheduled")
    assert after.code == 0
    assert "warning" not in after.err


def test_a_guest_that_may_restart_now_does_so_in_the_apply_that_changes_it(story: Story):
    story.write(CLUSTER + "    restart: now\n")
    story.ok("apply", "--yes")
    pid = qemu_pid(story, "kvm-1", "web")

    story.edit("memory: 64MiB", "memory: 96MiB")
    assert "memory.max   64MiB -> 96MiB  restart" in story.ok("plan").out
    story.ok("apply", "--yes")

    assert qemu_pid(story, "kvm-1", "web") != pid
    assert memory(story) == "96MiB"
    after = story.run("plan", "--detailed-exitcode")
    assert after.code == 0
    assert "warning" not in after.err
