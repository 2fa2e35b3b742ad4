"""A guest with a configuration for Ignition starts, and QEMU has it to give."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import Story

pytestmark = pytest.mark.xdist_group("lab")

CONFIG = '{"ignition": {"version": "3.4.0"}, "passwd": {"users": [{"name": "core"}]}}'
CLUSTER = f"""\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-1: {{uri: "qemu+tls://kvm-1.example/system"}}
storage:
  vms: {{path: /srv/vms}}
images:
  tiny: {{source: tiny.img, format: raw}}
vms:
  web: {{image: tiny, memory: 64MiB, ignition: {{config: '{CONFIG}'}}}}
"""


def test_qemu_reads_the_configuration_as_it_was_written_and_an_edit_waits_for_the_next_boot(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    folder = story.lab.hosts["kvm-1"].folder
    (file,) = (folder / "srv/vms").glob("web.ignition.*.json")
    assert file.read_text() == CONFIG
    with story.connect("kvm-1") as connection:
        assert connection.lookupByName("web").isActive()
    log = (folder / "log/qemu/web.log").read_text()
    assert f"name=opt/com.coreos/config,file=/srv/vms/{file.name}" in log
    assert story.run("plan", "--detailed-exitcode").code == 0

    story.edit("core", "anna")
    assert re.search(r"\n +ignition +/srv/vms/.* -> /srv/vms/.* next-boot", story.ok("plan").out)
    story.ok("apply", "--yes")

    assert story.run("plan", "--detailed-exitcode").code == 0
