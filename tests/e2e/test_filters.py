"""Network filters: in force for a guest that runs, put right when somebody changed them, gone when nobody uses them."""

from __future__ import annotations

import subprocess

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
filters:
  base: {chain: root, rules: [{action: accept, direction: out, protocol: all, comment: from-base}]}
  web:
    rules:
      - base
      - {action: accept, direction: in, protocol: tcp, dst_port: 2222}
      - {action: drop, direction: in, priority: 900, protocol: all}
storage:
  vms: {path: /srv/vms}
images:
  tiny: {source: tiny.img, format: raw}
vms:
  a: {image: tiny, memory: 64MiB, nics: [{network: lan, filter: web}]}
"""


def rules(story: Story) -> str:
    command = story.lab.host_command("kvm-1", ["iptables-save"])
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout


def test_a_filter_is_in_force_changes_under_a_running_guest_and_goes(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    pid = qemu_pid(story, "kvm-1", "a")
    assert "2222" in rules(story)
    assert "from-base" in rules(story)
    assert story.run("plan", "--detailed-exitcode").code == 0

    story.edit("dst_port: 2222", "dst_port: 3333")
    story.ok("plan", "--out", "plan.json")
    assert "nwfilter web  live" in story.ok("plan").out
    story.ok("apply", "plan.json", "--yes")
    assert "3333" in rules(story)
    assert "2222" not in rules(story)
    assert story.run("plan", "--detailed-exitcode").code == 0

    with story.connect("kvm-1") as connection:
        filter_ = connection.nwfilterLookupByName("web")
        opened = "<rule action='accept' direction='in'><tcp dstportstart='4444'/></rule></filter>"
        connection.nwfilterDefineXML(filter_.XMLDesc().replace("</filter>", opened))
    assert "accept in tcp dstportstart=4444" in story.run("drift").out
    story.ok("apply", "--yes")
    assert "4444" not in rules(story)

    story.edit("  web:\n", "  web:\n    state: absent\n")
    assert "reference.absent" in story.run("plan").err
    story.edit("{network: lan, filter: web}", "lan")
    story.ok("apply", "--yes", *story.consents("kvm-1/nwfilter/web"))
    assert "3333" not in rules(story)
    assert story.run("plan", "--detailed-exitcode").code == 0
    with story.connect("kvm-1") as connection:
        names = {found.name() for found in connection.listAllNWFilters()}
    assert ("web" in names, "base" in names, "clean-traffic" in names) == (False, True, True)
    assert qemu_pid(story, "kvm-1", "a") == pid

    story.ok("destroy", "--confirm", "story")
    with story.connect("kvm-1") as connection:
        names = {found.name() for found in connection.listAllNWFilters()}
    assert ("base" in names, "clean-traffic" in names) == (False, True)
