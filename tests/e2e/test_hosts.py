"""Hosts that come, go, change their names and are replaced, with real libvirtd daemons."""

from __future__ import annotations

import json

import pytest

from kvmdecl.hosts.ledger import LedgerWriter
from tests.e2e.conftest import HOSTS, Story, find_vm

pytestmark = pytest.mark.xdist_group("lab")

ENTRY = '  {name}: {{uri: "qemu+tls://{name}.example/system"}}\n'
CLUSTER = f"""\
apiVersion: kvmdecl/v1
cluster: story
hosts:
{"".join(ENTRY.format(name=name) for name in HOSTS)}\
storage:
  vms: {{path: /srv/vms}}
vms:
  web: {{disk: 8MiB, memory: 64MiB, state: stopped}}
"""


def noted(story: Story, host: str) -> list[str]:
    """The hosts that a lab host remembers."""
    with story.connect(host) as connection:
        return [member.name for member in LedgerWriter(connection, "story").read().hosts]


def test_a_guest_is_not_made_again_when_its_host_leaves_the_manifest_until_it_is_let_go(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    home = find_vm(story, "web")
    rest = sorted(set(HOSTS) - {home})
    assert [noted(story, host) for host in HOSTS] == [list(HOSTS)] * 3

    story.edit(ENTRY.format(name=home), "")
    answer = story.run("apply", "--yes")
    assert answer.code == 1
    assert "plan.host-left" in answer.err
    assert find_vm(story, "web") == home

    story.edit("hosts:\n", f'hosts:\n  {home}: {{uri: "qemu+tls://{home}.example/system", state: absent}}\n')
    answer = story.run("apply", "--yes")
    assert answer.code == 1
    assert "host.not-empty" in answer.err

    story.lab.power_off(home)
    story.ok("apply", "--yes")
    assert [noted(story, host) for host in rest] == [rest, rest]
    assert story.run("plan", "--detailed-exitcode").code == 0
    for host in rest:
        with story.connect(host) as connection:
            if connection.listAllDomains():
                break
    else:
        pytest.fail("web was made on none of the other hosts")


def test_every_host_that_answers_remembers_one_that_joins_before_it_gets_a_guest(story: Story):
    joins = "kvm-3"
    story.write(CLUSTER.replace(ENTRY.format(name=joins), ""))
    story.ok("apply", "--yes")
    assert noted(story, "kvm-1") == ["kvm-1", "kvm-2"]

    story.write(
        CLUSTER.replace("vms:\n  web", "vms:\n  new: {host: kvm-3, disk: 8MiB, state: stopped}\n  web")
    )
    story.ok("apply", "--yes")

    assert noted(story, "kvm-1") == noted(story, "kvm-2") == list(HOSTS)


def test_a_plan_is_not_carried_out_on_another_machine(story: Story):
    story.write(CLUSTER)
    story.ok("plan", "--out", "plan.json")
    path = story.folder / "plan.json"
    plan = json.loads(path.read_text())
    uris = {host["name"]: host["uri"] for host in plan["hosts"]}
    for host in plan["hosts"]:  # as if the addresses had been dealt out anew
        host["uri"] = (
            uris["kvm-2" if host["name"] == "kvm-1" else "kvm-1"]
            if host["name"] != "kvm-3"
            else uris["kvm-3"]
        )
    path.write_text(json.dumps(plan))

    answer = story.run("apply", "plan.json", "--yes")

    assert answer.code == 1
    assert "host.other-machine" in answer.err
    for host in HOSTS:
        with story.connect(host) as connection:
            assert connection.listAllStoragePools() == []


def test_the_doctor_finds_nothing_wrong_with_healthy_hosts_and_that_none_reaches_one_of_them(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    answer = story.ok("doctor", "--read-write", "--format", "json")
    found = json.loads(answer.out)["findings"]
    assert [finding for finding in found if finding["outcome"] != "ok"] == []
    assert {finding["host"] for finding in found} >= set(HOSTS)
    questions = {finding["name"] for finding in found if finding["host"] == "kvm-1"}
    assert {
        "reach",
        "libvirt",
        "kvm",
        "pool-space",
        "confinement",
        "clock",
        "pool-inodes",
        "thp",
    } <= questions

    address = story.lab.host("kvm-2").address
    for host in ("kvm-1", "kvm-3"):
        assert (
            story.lab.run(["ip", "route", "add", "unreachable", f"{address}/32"], host=host).returncode == 0
        )
    try:
        answer = story.run("doctor")
    finally:
        for host in ("kvm-1", "kvm-3"):
            story.lab.run(["ip", "route", "del", "unreachable", f"{address}/32"], host=host)
    assert answer.code == 2
    away = "FAILURE migration-way: tries kvm-2:49152 of kvm-2, and is turned away: no route, or a firewall"
    assert answer.out.count(away) == 2
    back = "tries kvm-1:49152 of kvm-1, kvm-3:49152 of kvm-3, and nobody answers: a firewall swallows it"
    assert answer.out.count(back) == 1
    assert answer.out.count("FAILURE") == 3
