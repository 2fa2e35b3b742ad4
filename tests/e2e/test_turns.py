"""Guests that are started and stopped in turn, over hosts, and guests whose power is left alone."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import Story

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
vms:
  app: {host: kvm-1, image: tiny, memory: 64MiB, after: [web]}
  db: {host: kvm-3, image: tiny, memory: 64MiB}
  web: {host: kvm-2, image: tiny, memory: 64MiB, after: [db]}
"""


def order(out: str) -> list[str]:
    """Names of domains in the order in which their steps were done."""
    events = [json.loads(line) for line in out.splitlines()]
    return [
        e["address"]["name"] for e in events if e["event"] == "step-done" and e["address"]["kind"] == "domain"
    ]


def active(story: Story, host: str, vm: str) -> bool:
    with story.connect(host) as connection:
        return bool(connection.lookupByName(vm).isActive())


def test_guests_start_in_turn_over_hosts_and_stop_in_the_opposite_order(story: Story):
    story.write(CLUSTER)
    assert order(story.ok("apply", "--yes", "--progress", "json").out) == ["db", "web", "app"]
    assert story.run("plan", "--detailed-exitcode").code == 0

    answer = story.ok("destroy", "--confirm", "story", "--progress", "json")

    assert order(answer.out) == ["app", "web", "db"]


def test_a_guest_whose_agent_never_answers_keeps_those_that_wait_for_it_from_starting(story: Story):
    story.write(CLUSTER.replace("[db]", "[{vm: db, until: agent, timeout: 1s}]"))

    answer = story.run("apply", "--yes")

    assert answer.code == 3
    assert "step.agent-silent" in answer.err + answer.out
    assert active(story, "kvm-3", "db")
    for host in ("kvm-1", "kvm-2"):
        with story.connect(host) as connection:
            assert connection.listAllDomains() == []
    story.ok("apply", "--yes")
    assert active(story, "kvm-1", "app")


def test_a_guest_whose_power_is_unmanaged_is_neither_started_nor_stopped(story: Story):
    story.write(CLUSTER.replace("db: {", "db: {state: unmanaged, "))
    story.ok("apply", "--yes")
    assert not active(story, "kvm-3", "db")

    with story.connect("kvm-3") as connection:
        connection.lookupByName("db").create()
    assert story.run("plan", "--detailed-exitcode").code == 0
    story.edit("kvm-3, image: tiny, memory: 64MiB", "kvm-3, image: tiny, memory: 96MiB")
    story.ok("apply", "--yes")

    assert active(story, "kvm-3", "db")
