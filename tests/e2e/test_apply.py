"""Plan, apply, and an empty plan, on real hosts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema_rs
import libvirt
import pytest

from tests.e2e.conftest import HOSTS, Story, find_vm, qemu_pid

pytestmark = pytest.mark.xdist_group("lab")

ROOT = Path(__file__).parents[2]
CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..3}: {uri: "qemu+tls://{name}.example/system"}
networks:
  lan: {bridge: br0}
  inner: {mode: nat, subnet: 192.168.150.0/24, dhcp: {start: 192.168.150.10, end: 192.168.150.99}}
storage:
  vms: {path: /srv/vms}
images:
  tiny: {source: tiny.img, format: raw}
vms:
  web:
    count: 3
    image: tiny
    memory: {size: 64MiB, max: 128MiB}
    cpus: {count: 1, max: 2}
    nics: [lan, inner]
"""


def test_a_second_plan_is_empty(story: Story):
    story.write(CLUSTER)

    first = story.run("plan", "--detailed-exitcode")
    assert first.code == 2, first
    applied = story.ok("apply", "--yes")
    assert "web-1" in applied.out + applied.err
    second = story.run("plan", "--detailed-exitcode")

    assert second.code == 0, second.out + second.err
    assert second.out.startswith("No changes:"), second.out
    for number in (1, 2, 3):
        with story.connect(find_vm(story, f"web-{number}")) as connection:
            assert connection.lookupByName(f"web-{number}").isActive()


def test_a_second_apply_writes_nothing(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    before = {host: _definitions(story, host) for host in HOSTS}

    answer = story.ok("apply", "--yes")

    assert answer.out.startswith("No changes:")
    assert {host: _definitions(story, host) for host in HOSTS} == before


def _definitions(story: Story, host: str) -> dict[str, float]:
    """When libvirt last wrote each file of its configuration."""
    folder = story.lab.hosts[host].folder / "etc"
    return {str(path): path.lstat().st_mtime for path in folder.rglob("*.xml")}


def test_a_live_change_keeps_the_guests_process(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    host = find_vm(story, "web-1")
    pid = qemu_pid(story, host, "web-1")

    story.edit("cpus: {count: 1, max: 2}", "cpus: {count: 2, max: 2}")
    plan = story.run("plan", "--detailed-exitcode")
    assert plan.code == 2
    assert "1 -> 2" in plan.out
    assert "live" in plan.out
    denied_until_waived(story)

    assert qemu_pid(story, host, "web-1") == pid
    with story.connect(host) as connection:
        domain = connection.lookupByName("web-1")
        assert domain.vcpusFlags(libvirt.VIR_DOMAIN_AFFECT_LIVE) == 2
        assert domain.vcpusFlags(libvirt.VIR_DOMAIN_AFFECT_CONFIG) == 2
    assert story.run("plan", "--detailed-exitcode").code == 0


def denied_until_waived(story: Story) -> None:
    """Save the plan under a policy that denies it, see that nothing of it happens, and apply it with a waiver."""
    policies = story.folder / "policies.yaml"
    policies.write_text(CALM)
    planned = story.run("plan", "--out", "plan.json", "--policies", "policies.yaml")
    assert (planned.code, planned.err.count("error[policy.denied]")) == (4, 1)
    before = {host: _definitions(story, host) for host in HOSTS}

    for given in ([], ["--policies", "policies.yaml"]):
        refused = story.run("apply", "plan.json", "--yes", *given)
        assert (refused.code, "the plan is denied by calm" in refused.err) == (4, True), refused.err
    assert {host: _definitions(story, host) for host in HOSTS} == before

    policies.write_text(CALM + WAIVED)
    assert "3 of 3 steps done" in story.ok("apply", "plan.json", "--yes", *given).out


CALM = """\
apiVersion: kvmdecl/v1
policies:
  calm:
    deny: nobody changes CPUs
    fields: [cpus.*]
"""
WAIVED = """\
    waive:
    - {on: [domain/web-*], until: 2099-01-01, reason: it was agreed to}
"""


def test_a_disk_is_plugged_grown_and_unplugged_by_name(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    host = find_vm(story, "web-2")
    pid = qemu_pid(story, host, "web-2")

    story.edit("    nics:", "    disks: {data: 8MiB, logs: 8MiB}\n    nics:")
    story.ok("apply", "--yes")
    story.edit("data: 8MiB", "data: 16MiB")
    grown = story.run("plan")
    assert "8MiB -> 16MiB" in grown.out
    story.ok("apply", "--yes")

    assert qemu_pid(story, host, "web-2") == pid
    with story.connect(host) as connection:
        assert connection.lookupByName("web-2").blockInfo("vdb")[0] == 16 * 1024**2
    assert story.run("plan", "--detailed-exitcode").code == 0


def test_shrinking_a_disk_is_refused_and_nothing_else_is_held_up(story: Story):
    story.write(CLUSTER + "    disk: 16MiB\n")
    story.ok("apply", "--yes")

    story.edit("disk: 16MiB", "disk: 8MiB")
    answer = story.run("plan")

    assert answer.code == 1
    assert "plan.volume-shrink" in answer.err
    assert "cluster.yaml:19:11" in answer.err


def test_a_vm_that_leaves_the_manifest_is_left_alone(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")

    story.edit("count: 3", "count: 2")
    answer = story.run("plan", "--detailed-exitcode")

    assert answer.code == 0, answer.out
    assert "plan.orphan" in answer.err
    assert "web-3" in answer.err


def test_an_absent_vm_is_deleted_with_consent_by_name_and_its_disk_stays(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    host = find_vm(story, "web-1")

    story.edit("count: 3", "count: 3\n    protect: true")
    assert "protect  false -> true" in story.ok("apply", "--yes").out
    story.edit("protect: true", "state: absent")
    kept = story.run("apply", "--yes")
    assert (kept.code, kept.err.count("error[plan.protected]")) == (1, 3)
    refused = story.run("destroy", "--confirm", "story")
    assert (refused.code, refused.err.count("error[plan.protected]")) == (1, 3)
    story.edit("state: absent", "protect: false")
    story.ok("apply", "--yes")

    consented = reviewed(story, lambda: story.edit("protect: false", "state: absent"))
    refused = story.run("apply", "--yes")
    assert refused.code == 4
    consents = re.findall(r"--allow-delete (\S+/domain/web-\d@[0-9a-f]{12})", refused.err)
    assert sorted(consents) == consented
    assert any(each.startswith(f"{host}/domain/web-1@") for each in consents)
    stale = story.run("apply", "--yes", "--allow-delete", f"{host}/domain/web-1@{'0' * 12}")
    assert (stale.code, "error[apply.stale-consent]" in stale.err) == (1, True)
    story.ok("apply", "--yes", *(part for each in consents for part in ("--allow-delete", each)))

    with story.connect(host) as connection:
        assert connection.listAllDomains() == []
        assert "web-1.root.qcow2" in connection.storagePoolLookupByName("vms").listVolumes()


def reviewed(story: Story, edit: Callable[[], None]) -> list[str]:
    """Put an edit on a branch, and look at it as a pull request shows it: jobs that know no host, and a plan.

    Returns the consents that the page says are needed.
    """
    for command in (
        ["init", "-qb", "main"],
        ["add", "cluster.yaml"],
        ["commit", "-qm", "x"],
        ["checkout", "-qb", "pr"],
    ):
        story.git(*command)
    edit()
    story.git("commit", "-qam", "x")
    offline = story.ok("diff", "main...HEAD", "--format", "html", rehearse=False).out
    assert story.run("plan", "--out", "plan.json").code == 0

    comment, sarif, page, svg = (
        story.ok("plan", "plan.json", "--format", form, rehearse=False).out
        for form in ("markdown", "sarif", "html", "svg")
    )

    digest = json.loads((story.folder / "plan.json").read_text())["digest"]
    assert comment.startswith("<!-- kvmdecl:plan:story -->\n### kvmdecl plan")
    assert comment.endswith(f"Plan `{digest}` of `story`, manifest `{digest_of(story)}`.\n")
    assert "| **deleted** | 3 | `domain/web-1`, `domain/web-2`, `domain/web-3` |" in comment
    results = json.loads(sarif)["runs"][0]["results"]
    lines = {each["locations"][0]["physicalLocation"]["region"]["startLine"] for each in results}
    assert ([each["ruleId"] for each in results], len(lines)) == (["plan.interrupts"] * 3, 1)
    assert all(f"web-{n}: gone" in text for text in (svg, page, offline) for n in (1, 2, 3))
    return sorted(re.findall(r"--allow-delete (\S+?@[0-9a-f]{12})", page))


def digest_of(story: Story) -> str:
    """What a plan calls the manifest's revision."""
    return str(json.loads((story.folder / "plan.json").read_text())["revision"])[:12]


def test_an_object_edited_between_plan_and_apply_is_refused_by_name_and_the_others_proceed(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    story.edit("cpus: {count: 1, max: 2}", "cpus: {count: 2, max: 2}")
    assert story.run("plan", "--out", "plan.json", "--detailed-exitcode").code == 2
    host = find_vm(story, "web-1")
    with story.connect(host) as connection:
        connection.lookupByName("web-1").setMemoryFlags(70 * 1024, libvirt.VIR_DOMAIN_AFFECT_CONFIG)

    answer = story.run("apply", "plan.json", "--yes")

    assert answer.code == 3, answer.out + answer.err
    assert f"{host}/domain/web-1" in answer.out + answer.err
    assert "step.moved" in answer.out + answer.err
    with story.connect(host) as connection:
        assert connection.lookupByName("web-1").vcpusFlags(libvirt.VIR_DOMAIN_AFFECT_CONFIG) == 1
    with story.connect(find_vm(story, "web-2")) as connection:
        assert connection.lookupByName("web-2").vcpusFlags(libvirt.VIR_DOMAIN_AFFECT_LIVE) == 2


def test_somebody_elses_domain_of_the_same_name_is_never_touched(story: Story):
    story.write(CLUSTER.replace("    count: 3", "    host: kvm-2"))
    foreign = "<domain type='qemu'><name>web</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    with story.connect("kvm-2") as connection:
        connection.defineXML(foreign)
        before = connection.lookupByName("web").XMLDesc()

    answer = story.run("plan")

    assert answer.code == 1
    assert "plan.not-ours" in answer.err
    assert "cluster.yaml:13:3" in answer.err
    with story.connect("kvm-2") as connection:
        assert connection.lookupByName("web").XMLDesc() == before


def test_destroy_lists_what_dies_and_keeps_volumes_that_were_not_named(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    host = find_vm(story, "web-1")

    refused = story.run("destroy")
    assert refused.code == 1
    assert "web-1" in refused.out
    doomed = f"{host}/volume/vms/web-1.root.qcow2"
    story.ok("destroy", "--confirm", "story", "--volume", doomed)

    for name in HOSTS:
        with story.connect(name) as connection:
            assert connection.listAllDomains() == []
            assert connection.listAllNetworks() == []
            assert connection.listAllStoragePools() == []
    left = sorted(
        p.name for h in HOSTS for p in (story.lab.hosts[h].folder / "srv" / "vms").glob("*.root.qcow2")
    )
    assert left == ["web-2.root.qcow2", "web-3.root.qcow2"]


def test_offline_planning_from_facts_gives_the_same_plan(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    story.edit("memory: {size: 64MiB, max: 128MiB}", "memory: {size: 96MiB, max: 128MiB}")
    online = story.run("plan", "--format", "json")

    story.ok("facts", "--out", "facts")
    offline = story.run("plan", "--format", "json", "--facts", "facts", prefix=("unshare", "-n"))

    assert _without_uris(offline.plan) == _without_uris(online.plan)


def _without_uris(plan: dict[str, object]) -> str:
    for host in plan["hosts"]:
        host["uri"] = ""
    return json.dumps(plan, indent=1)


def test_events_as_json_are_alone_on_standard_output(story: Story):
    validator = jsonschema_rs.validator_for(json.loads((ROOT / "schemas/events.v1.json").read_text()))
    story.write(CLUSTER)

    answer = story.ok("apply", "--yes", "--progress", "json")

    events = [json.loads(line) for line in answer.out.splitlines()]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert all(validator.is_valid(event) for event in events)
    assert "18 to create" in answer.err


def test_a_fragment_of_xml_is_applied_kept_and_taken_away_again(story: Story):
    story.write(
        CLUSTER
        + "    xml: |\n      <title>front door</title>\n      <devices><sound model='ich9'/></devices>\n"
    )
    story.ok("apply", "--yes")
    assert story.run("plan", "--detailed-exitcode").code == 0
    with story.connect(find_vm(story, "web-1")) as connection:
        assert "<sound model='ich9'>" in connection.lookupByName("web-1").XMLDesc()

    story.write(CLUSTER)
    story.ok("apply", "--yes")

    assert story.run("plan", "--detailed-exitcode").code == 0
    with story.connect(find_vm(story, "web-1")) as connection:
        definition = connection.lookupByName("web-1").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        assert "sound" not in definition
        assert "front door" not in definition
