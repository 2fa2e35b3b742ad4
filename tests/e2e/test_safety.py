"""What a user must never see happen to real guests, and to plans on their way to them."""

from __future__ import annotations

import json
import stat

import pytest

from tests.e2e.conftest import HOSTS, Story, find_vm

pytestmark = pytest.mark.xdist_group("lab")

CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..3}: {uri: "qemu+tls://{name}.example/system"}
networks:
  lan: {bridge: br0}
storage:
  vms: {path: /srv/vms}
images:
  tiny: {source: tiny.img, format: raw}
vms:
  web: {image: tiny, memory: 64MiB, nics: [lan]}
"""


def test_a_plan_that_lay_too_long_makes_no_second_copy(story: Story):
    story.write(CLUSTER.replace("{image", "{host: kvm-1, image"))
    story.ok("plan", "--out", "plan.json")
    story.write(CLUSTER.replace("{image", "{host: kvm-2, image"))
    story.ok("apply", "--yes")

    answer = story.run("apply", "plan.json", "--yes")

    assert "plan.second-copy" in answer.err
    assert find_vm(story, "web") == "kvm-2"
    with story.connect("kvm-1") as connection:
        for pool in connection.listAllStoragePools():
            assert not [name for name in pool.listVolumes() if name.startswith("web.")]


def test_a_plan_that_was_edited_is_refused_and_nothing_is_touched(story: Story):
    story.write(CLUSTER)
    story.ok("plan", "--out", "plan.json")
    path = story.folder / "plan.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "a plan holds the seeds of guests"
    plan = json.loads(path.read_text())
    for step in plan["steps"]:
        if step["task"]["task"] == "create-pool":
            step["task"]["xml"] = step["task"]["xml"].replace("/srv/vms", "/etc")
            step["task"]["name"] = "other"
    path.write_text(json.dumps(plan))

    answer = story.run("apply", "plan.json", "--yes")

    assert answer.code == 1
    assert "plan.inconsistent" in answer.err
    for host in HOSTS:
        with story.connect(host) as connection:
            assert connection.listAllStoragePools() == []


def test_a_disk_whose_pool_lost_its_file_system_is_not_made_anew(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    host = find_vm(story, "web")
    files = story.lab.hosts[host].folder / "srv" / "vms"
    with story.connect(host) as connection:
        connection.lookupByName("web").destroy()
        disk = files / "web.root.qcow2"
        disk.rename(files.parent / "web.root.qcow2")
        connection.storagePoolLookupByName("vms").refresh()

        answer = story.run("apply", "--yes")

        assert "plan.volume-vanished" in answer.err
        assert not disk.exists()
        assert not connection.lookupByName("web").isActive()
        (files.parent / "web.root.qcow2").rename(disk)
        connection.storagePoolLookupByName("vms").refresh()
        story.ok("apply", "--yes")
        assert connection.lookupByName("web").isActive()


def test_a_guest_that_was_absent_comes_back_to_its_disk(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    host = find_vm(story, "web")
    story.edit("web: {", "web: {state: absent, ")
    story.ok("apply", "--yes", *story.consents(f"{host}/domain/web"))

    story.edit("state: absent, ", "")
    plan = story.run("plan").out
    assert "web.root" not in plan
    story.ok("apply", "--yes")

    assert find_vm(story, "web") == host


def test_a_stopped_pool_hides_disks_and_loses_none(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    host = find_vm(story, "web")
    with story.connect(host) as connection:
        connection.storagePoolLookupByName("vms").destroy()

    answer = story.run("plan")

    assert "1 to change" in answer.out
    assert "to create" not in answer.out
    story.ok("apply", "--yes")
    assert story.run("plan", "--detailed-exitcode").code == 0
