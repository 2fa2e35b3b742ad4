"""A guest on a full copy of its image, and another one on a copy of that guest's disk."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Story

pytestmark = pytest.mark.xdist_group("lab")

CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-1: {uri: "qemu+tls://kvm-1.example/system"}
storage:
  vms: /srv/vms
  fast: /srv/fast
images:
  tiny: {source: tiny.img, format: raw}
vms:
  a:
    image: tiny
    memory: 64MiB
    disk: {pool: vms, full_copy: true, size: 64MiB}
    state: running
    shutdown: {timeout: 5s, force: true}
"""
SECOND = """\
  b: {disk: {pool: fast, clone: {volume: a.root.qcow2, pool: vms}, format: raw}, memory: 64MiB}
"""


def test_a_disk_is_copied_once_when_nobody_writes_to_the_original(story: Story):
    story.write(CLUSTER)
    assert "64MiB qcow2, a full copy of vms/tiny." in story.run("plan").out
    story.ok("apply", "--yes")
    assert story.ok("plan", "--detailed-exitcode").out.startswith("No changes:")

    story.write(CLUSTER + SECOND)
    refused = story.run("apply", "--yes")
    assert refused.code == 1
    assert "error[plan.cannot-copy]" in refused.err
    assert "a is writing to that" in refused.err

    story.edit("state: running", "state: stopped")
    stopped = story.run("apply", "--yes")
    assert stopped.code == 1, "the guest was still writing when this plan was made"
    story.ok("apply", "--yes")

    assert story.ok("plan", "--detailed-exitcode").out.startswith("No changes:")
    with story.connect("kvm-1") as host:
        assert host.lookupByName("b").isActive()
        copy = host.storagePoolLookupByName("fast").storageVolLookupByName("b.root.raw")
        assert copy.info()[1] == 64 << 20
    story.edit("state: stopped", "state: running")
    assert "plan.cannot-copy" not in story.ok("plan").err, "what was copied needs its original no more"
