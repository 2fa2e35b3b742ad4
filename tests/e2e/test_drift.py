"""What changed outside of kvmdecl is told apart from what the manifest changed, on real hosts."""

from __future__ import annotations

import json
import re

import libvirt
import pytest

from kvmdecl.libvirt_xml.marker import NAMESPACE, PREFIX, read_marker
from kvmdecl.libvirt_xml.trace import is_untouched
from tests.e2e.conftest import Story

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
    memory: {size: 64MiB, max: 128MiB}
    cpus: {count: 1, max: 2}
    nics: [lan]
"""
CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG


@pytest.fixture
def applied(story: Story) -> Story:
    """One running guest, as declared."""
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    return story


def definition(story: Story) -> tuple[str, str]:
    """What is kept and what runs."""
    with story.connect("kvm-1") as connection:
        domain = connection.lookupByName("web")
        return domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), domain.XMLDesc()


def edit(story: Story, before: str, after: str) -> None:
    """Change a definition as `virsh edit` does."""
    with story.connect("kvm-1") as connection:
        xml = connection.lookupByName("web").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        assert before in xml
        connection.defineXML(xml.replace(before, after, 1))


def test_an_applied_guest_is_seen_to_be_untouched_at_one_look(applied: Story):
    kept, live = definition(applied)
    marker = read_marker(kept)

    assert marker is not None
    assert marker.applied is not None
    assert is_untouched(kept, live, marker.applied)


def test_a_guest_that_was_started_again_is_still_untouched(applied: Story):
    with applied.connect("kvm-1") as connection:
        domain = connection.lookupByName("web")
        domain.destroy()
        domain.create()
    kept, live = definition(applied)
    marker = read_marker(kept)

    assert marker is not None
    assert is_untouched(kept, live, marker.applied or "")


def test_an_undeclared_field_that_somebody_changed_is_a_note_and_no_change(applied: Story):
    edit(applied, "<vcpu ", "<iothreads>2</iothreads><vcpu ")

    plan = applied.run("plan", "--detailed-exitcode")

    assert plan.code == 0, plan.out
    assert plan.out.startswith("No changes")
    assert "plan.changed-outside" in plan.err
    assert "iothreads" in plan.err


def test_a_declared_field_that_somebody_changed_is_drift_and_one_of_the_manifest_is_not(applied: Story):
    with applied.connect("kvm-1") as connection:
        connection.lookupByName("web").setMemoryFlags(80 * 1024, CONFIG)
    applied.edit("cpus: {count: 1, max: 2}", "cpus: {count: 2, max: 2}")

    text, plan = applied.run("plan"), applied.run("plan", "--format", "json").plan

    assert re.search(r"memory.size .* drift", text.out)
    assert not re.search(r"cpus.count .* drift", text.out)
    origins = {change["field"]: change["origin"] for change in plan["steps"][0]["changes"]}
    assert origins == {"currentMemory": "drift", "vcpu@current": "manifest"}
    assert "plan.changed-outside" not in text.err


def test_a_guest_that_somebody_stopped_is_drift(applied: Story):
    with applied.connect("kvm-1") as connection:
        connection.lookupByName("web").destroy()

    plan = applied.run("plan", "--format", "json").plan

    assert [(c["key"], c["origin"]) for c in plan["steps"][0]["changes"]] == [("state", "drift")]


def test_what_waits_for_the_next_boot_stays_a_note_until_then(applied: Story):
    applied.edit("memory: {size: 64MiB, max: 128MiB}", "memory: {size: 64MiB, max: 96MiB}")
    applied.ok("apply", "--yes")

    waiting = applied.run("plan", "--detailed-exitcode")
    with applied.connect("kvm-1") as connection:
        domain = connection.lookupByName("web")
        domain.destroy()
        domain.create()
    after = applied.run("plan", "--detailed-exitcode")

    assert (waiting.code, after.code) == (0, 0)
    assert "plan.pending" in waiting.err
    assert "128MiB" in waiting.err
    assert "96MiB" in waiting.err
    assert "plan." not in after.err


def test_an_apply_that_ended_before_its_last_note_leaves_nothing_to_do(applied: Story):
    with applied.connect("kvm-1") as connection:
        domain = connection.lookupByName("web")
        marker = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE, CONFIG)
        without = re.sub(r"<([\w-]+:)?left .*</([\w-]+:)?left>", "", marker, flags=re.DOTALL)
        without = without.replace(f' xmlns:{PREFIX}="{NAMESPACE}"', "")
        assert without != marker
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, without, PREFIX, NAMESPACE, CONFIG)

    plan = applied.run("plan", "--detailed-exitcode")

    assert plan.code == 0, plan.out
    assert "plan." not in plan.err


def test_a_restart_of_libvirtd_is_no_change_of_a_guest(applied: Story):
    edit(applied, "<vcpu ", "<iothreads>2</iothreads><vcpu ")
    applied.edit("cpus: {count: 1, max: 2}", "cpus: {count: 2, max: 2}")
    applied.ok("apply", "--yes")
    applied.lab.restart("kvm-1")

    plan = applied.run("plan", "--detailed-exitcode")

    assert plan.code == 0, plan.out
    assert "plan." not in plan.err


def test_cron_learns_of_drift_by_exit_code_json_and_metrics(applied: Story):
    metrics = applied.folder / "kvmdecl.prom"
    quiet = applied.run("drift", "--textfile", str(metrics))
    assert quiet.code == 0, quiet.out + quiet.err
    assert 'class="changed"} 0' in metrics.read_text()

    with applied.connect("kvm-1") as connection:
        connection.lookupByName("web").setMemoryFlags(80 * 1024, CONFIG)
    drifted = applied.run("drift", "--format", "json", "--textfile", str(metrics))

    assert drifted.code == 2
    assert [(f["field"], f["drift"]) for f in drifted.plan["findings"]] == [("memory.size", "changed")]
    assert 'class="changed"} 1' in metrics.read_text()
    assert "web" not in metrics.read_text()


def test_a_guest_that_somebody_undefined_is_missing_and_a_new_one_is_not(applied: Story):
    applied.edit("vms:\n  web:", "vms:\n  new: {memory: 64MiB, disk: 1MiB}\n  web:")
    assert applied.run("drift").code == 0

    with applied.connect("kvm-1") as connection:
        domain = connection.lookupByName("web")
        domain.destroy()
        domain.undefine()
    drifted = applied.run("drift")

    assert drifted.code == 2
    assert "kvm-1  missing" in drifted.out
    assert "domain/web " in drifted.out


def test_a_silent_host_outweighs_what_was_found(own_story: Story):
    own_story.write(CLUSTER)
    own_story.lab.power_off("kvm-1")

    assert own_story.run("drift").code == 3


def test_what_nobody_declares_is_shown_when_asked_for_and_is_no_change(applied: Story):
    edit(applied, "<vcpu ", "<iothreads>2</iothreads><vcpu ")
    with applied.connect("kvm-1") as connection:
        connection.defineXML(OTHER)
        secret = connection.secretDefineXML("<secret><usage type='ceph'><name>theirs</name></usage></secret>")
        pool = connection.storagePoolLookupByName("vms")
        pool.createXML("<volume><name>theirs.raw</name><capacity>1</capacity></volume>")

    plan = applied.run("plan", "--foreign", "--detailed-exitcode")
    document = json.loads(applied.run("plan", "--foreign", "--format", "json").out)

    assert plan.code == 0, plan.out
    assert "domain other  not made by this cluster" in plan.out
    assert f"1 secret not made by this cluster: {secret.UUIDString()}" in plan.out
    assert "1 volume not made by this cluster: vms/theirs.raw" in plan.out
    assert re.search("nwfilters not made by this cluster: .*clean-traffic", plan.out)
    assert "1 changed by others" in plan.out
    assert "iothreads  nothing -> `2`" in plan.out
    by_name = {thing["address"]["name"]: thing for thing in document["foreign"]}
    assert (by_name["other"]["ours"], by_name["other"]["fields"]) == (False, [])
    owners = {
        thing["address"]["kind"]: {field["owner"] for field in thing["fields"]}
        for thing in document["foreign"]
        if thing["ours"]
    }
    assert owners == {"domain": {"libvirt", "others"}, "pool": {"libvirt"}}
    assert applied.run("plan").out.startswith("No changes")


OTHER = "<domain type='qemu'><name>other</name><memory>65536</memory><os><type>hvm</type></os></domain>"
