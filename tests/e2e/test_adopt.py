"""A guest that somebody made with virsh becomes the manifest's without noticing."""

from __future__ import annotations

import libvirt
import pytest
from lxml import etree

from kvmdecl.lab.guest import tiny_image
from kvmdecl.libvirt_xml.marker import belongs
from tests.e2e.conftest import Story, qemu_pid

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]

UUID = "9a4d1c52-3f0e-4a55-8f0b-5a3c2f1e7d60"
THEIRS = f"""\
<domain type='qemu'>
  <name>old</name><uuid>{UUID}</uuid>
  <metadata><app:notes xmlns:app="urn:example:notes">keep me</app:notes></metadata>
  <memory unit='MiB'>128</memory><currentMemory unit='MiB'>96</currentMemory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/><apic/></features>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/>
      <source file='/srv/old.img'/><target dev='vda' bus='virtio'/></disk>
    <interface type='network'><mac address='52:54:00:0a:0b:0c'/><source network='theirs'/><model type='virtio'/>
    </interface>
    <serial type='pty'/>
    <memballoon model='virtio'/>
  </devices>
</domain>
"""
NETWORK = "<network><name>theirs</name><bridge name='virbr7'/><ip address='10.9.9.1' prefix='24'/></network>"
CLUSTER = f"""\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-1: {{uri: "qemu+tls://kvm-1.example/system"}}
networks:
  theirs: {{mode: existing}}
vms:
  old:
    uuid: {UUID}
    host: kvm-1
    autostart: false
    machine: pc
    cpus: {{model: qemu64}}
    memory: {{size: 96MiB, max: 128MiB}}
    disk: {{source: /srv/old.img, format: raw, target: vda}}
    boot: []
    nics: [{{network: theirs, mac: "52:54:00:0a:0b:0c"}}]
    agent: false
    rng: false
"""


@pytest.fixture
def theirs(story: Story) -> Story:
    """A running guest, on a network, that virsh made."""
    tiny_image(story.lab.hosts["kvm-1"].folder / "srv/old.img")
    with story.connect("kvm-1") as connection:
        connection.networkDefineXML(NETWORK).create()
        connection.defineXML(THEIRS).create()
    return story


def texts(story: Story) -> tuple[str, str]:
    """What is kept without its metadata, and what runs."""
    with story.connect("kvm-1") as connection:
        domain = connection.lookupByName("old")
        kept, live = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), domain.XMLDesc()
    root = etree.fromstring(kept)
    metadata = root.find("metadata")
    assert metadata is not None
    assert metadata.findtext("{urn:example:notes}notes") == "keep me"
    metadata.getparent().remove(metadata)
    return etree.tostring(root, encoding="unicode"), live


def test_a_guest_named_by_its_uuid_is_taken_over_and_notices_nothing(theirs: Story):
    theirs.write(CLUSTER)
    before, pid = texts(theirs), qemu_pid(theirs, "kvm-1", "old")

    plan = theirs.ok("plan")
    assert "= domain  old  metadata" in plan.out
    assert "Plan: 1 to adopt (1 metadata)" in plan.out
    theirs.ok("apply", "--yes")

    assert (texts(theirs), qemu_pid(theirs, "kvm-1", "old")) == (before, pid)
    with theirs.connect("kvm-1") as connection:
        kept = connection.lookupByName("old").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert belongs(kept, "story", UUID)
    assert theirs.ok("plan", "--detailed-exitcode").out.startswith("No changes")

    theirs.edit("size: 96MiB", "size: 112MiB")
    assert "1 live" in theirs.ok("plan").out
    theirs.ok("apply", "--yes")
    assert qemu_pid(theirs, "kvm-1", "old") == pid
    assert theirs.ok("plan", "--detailed-exitcode").out.startswith("No changes")


def test_a_name_alone_takes_nothing_over(theirs: Story):
    theirs.write(CLUSTER.replace(f"    uuid: {UUID}\n", ""))

    plan = theirs.run("plan")

    assert plan.code == 1
    assert "plan.not-ours" in plan.err


def test_a_guest_of_another_cluster_is_left_to_it(theirs: Story):
    theirs.write(CLUSTER)
    theirs.ok("apply", "--yes")
    theirs.write(CLUSTER.replace("cluster: story", "cluster: other"))

    plan = theirs.run("plan")

    assert plan.code == 1
    assert "domain old on kvm-1 is cluster `story`'s" in plan.err


@pytest.mark.parametrize("state", ["adopted", "not adopted"])
def test_what_shall_be_absent_is_deleted_only_once_it_is_ours(theirs: Story, state: str):
    theirs.write(CLUSTER)
    if state == "adopted":
        theirs.ok("apply", "--yes")
    theirs.edit("    host: kvm-1\n", "    host: kvm-1\n    state: absent\n")

    plan = theirs.run("plan")

    assert ("1 to delete" in plan.out) == (state == "adopted")
    assert ("plan.not-ours" in plan.err) == (state == "not adopted")


def test_a_saved_plan_takes_over_what_it_showed(theirs: Story):
    theirs.write(CLUSTER)
    theirs.ok("plan", "--out", "plan.json")

    theirs.ok("apply", "plan.json", "--yes")

    assert theirs.ok("plan", "--detailed-exitcode").out.startswith("No changes")


def test_a_network_that_should_exist_and_does_not_holds_its_guests(theirs: Story):
    theirs.write(CLUSTER.replace("theirs", "missing"))

    plan = theirs.run("plan")

    assert plan.code == 1
    assert "error[plan.no-network]: kvm-1 has no network missing" in plan.err
    assert "plan.held" in plan.err


HEAD = """\
# the cluster of a story; this comment stays
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-1: {uri: "qemu+tls://kvm-1.example/system"}   # so does this one
"""
WRITTEN = f"""
networks:
  theirs: {{mode: existing}}

vms:
  old:
    uuid: {UUID}
    host: kvm-1
    autostart: false
    type: qemu
    machine: MACHINE
    cpus: {{model: qemu64}}
    memory: {{size: 96MiB, max: 128MiB}}
    disk: {{source: /srv/old.img, format: raw, target: vda}}
    nics: [{{network: theirs, mac: "52:54:00:0a:0b:0c"}}]
    boot: []
    agent: false
    rng: false
"""


def test_the_command_writes_an_entry_whose_plan_only_marks_the_guest(theirs: Story):
    path = theirs.write(HEAD)
    with theirs.connect("kvm-1") as connection:
        kept = etree.fromstring(connection.lookupByName("old").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    machine = kept.find("os/type").get("machine")
    before = texts(theirs)

    checked = theirs.ok("adopt", "kvm-1", "--vm", "old", "--check")
    assert path.read_text() == HEAD
    theirs.ok("adopt", "kvm-1", "--all")

    assert path.read_text() == HEAD + WRITTEN.replace("MACHINE", machine)
    assert "Nothing was written" in checked.out
    assert "1 to adopt (1 metadata)" in theirs.ok("plan").out
    theirs.ok("apply", "--yes")
    assert texts(theirs) == before
    assert theirs.ok("plan", "--detailed-exitcode").out.startswith("No changes")
    assert "No guest of this host is nobody's." in theirs.ok("adopt", "kvm-1", "--all").out
