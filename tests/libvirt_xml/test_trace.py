"""What we left behind answers for a comparison only while it is the same to the letter."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from lxml import etree

from kvmdecl.libvirt_xml.fields import fields
from kvmdecl.libvirt_xml.marker import Marker, alone, read_marker, with_marker
from kvmdecl.libvirt_xml.trace import changed_outside, is_untouched, leave, same_text
from kvmdecl.state import Kind
from tests.libvirt_xml.examples import UUID, declared, disk, kept

LIBVIRT = 9_000_000
MARKER = Marker("demo", UUID, "web-1", "r-1", "0.1.0", declared())
LIVE = """\
<domain type='qemu' id='3'>
  <currentMemory unit='KiB'>65536</currentMemory>
  <vcpu placement='static' current='1'>2</vcpu>
  <devices>
    <interface type='bridge'>
      <target dev='vnet7'/>
      <alias name='net0'/>
    </interface>
    <console type='pty' tty='/dev/pts/4'>
      <source path='/dev/pts/4'/>
    </console>
    <channel type='unix'>
      <source mode='bind' path='/var/lib/libvirt/qemu/channel/target/domain-3-web-1/org.qemu.guest_agent.0'/>
      <target type='virtio' name='org.qemu.guest_agent.0' state='disconnected'/>
    </channel>
    <graphics type='vnc' port='5901' autoport='yes'/>
  </devices>
</domain>
"""


def left(xml: str = "", live: str | None = None) -> str:
    """A definition with the note of how it was left, as libvirt would give it back."""
    definition = xml or kept(declared())
    noted = leave(definition, live, declared(), LIBVIRT, running=live is not None, autostart=True)
    return with_marker(definition, replace(MARKER, left=noted)).replace(
        "<kvmdecl:marker", "\n<kvmdecl:marker"
    )


def bare(definition: str) -> str:
    return re.sub(r"\s*<metadata>.*</metadata>", "", definition, flags=re.DOTALL)


def as_left(live: str | None = None) -> tuple[str, str]:
    """A definition without metadata, and with the marker put into that very text."""
    plain = bare(kept(declared()))
    noted = leave(plain, live, declared(), LIBVIRT, running=live is not None, autostart=True)
    metadata = f"<metadata>{alone(replace(MARKER, left=noted))}</metadata>"
    return plain, plain.replace("<memory", f"{metadata}<memory", 1)


def test_what_nobody_touched_is_seen_at_one_look():
    _, definition = as_left()

    assert is_untouched(definition, None, declared())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (">65536<", ">65537<"),
        ('type="virtio"', 'type="e1000e"'),
        ("<devices>", "<devices><sound model='ich9'/>"),
        ("<devices>", "<devices> "),
    ],
)
def test_any_other_letter_is_a_reason_to_compare(before: str, after: str):
    _, definition = as_left()
    assert before in definition

    assert not is_untouched(definition.replace(before, after), None, declared())


def test_another_declaration_is_a_reason_to_compare():
    _, definition = as_left()

    assert not is_untouched(definition, None, declared(cpus=2))


def test_a_damaged_or_missing_note_is_a_reason_to_compare():
    plain, definition = as_left()
    applied = re.search(r"applied>([^<]{20})", definition)
    assert applied is not None

    assert not is_untouched(plain, None, declared())
    assert not is_untouched(with_marker(plain, MARKER), None, declared())
    assert not is_untouched(definition.replace(applied[1], "A" * 20), None, declared())
    assert not is_untouched(definition.replace("applied>", "applicd>"), None, declared())


def test_a_note_of_a_guest_that_was_off_says_nothing_of_one_that_runs():
    _, definition = as_left()

    assert not is_untouched(definition, LIVE, declared())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("id='3'", "id='12'"),
        (">65536<", ">60000<"),
        ("vnet7", "vnet12"),
        ("net0", "net1"),
        ("/dev/pts/4", "/dev/pts/0"),
        ("domain-3-web-1", "domain-12-web-1"),
        ("'disconnected'", "'connected'"),
        ("5901", "5903"),
    ],
)
def test_what_passes_with_a_run_of_the_guest_is_no_difference(before: str, after: str):
    _, definition = as_left(LIVE)
    assert before in LIVE

    assert is_untouched(definition, LIVE, declared())
    assert is_untouched(definition, LIVE.replace(before, after), declared())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("current='1'", "current='2'"),
        ("bridge", "network"),
        ("<alias name='net0'/>", "<alias name='ua-net0'/>"),
        ("<target dev='vnet7'/>", "<target dev='mine'/>"),
        ("<alias name='net0'/>", "<alias name='net0'/><link state='down'/>"),
        ("autoport='yes'", "autoport='no'"),
    ],
)
def test_what_a_running_guest_can_be_changed_in_is_a_reason_to_compare(before: str, after: str):
    _, definition = as_left(LIVE)
    assert before in LIVE

    assert not is_untouched(definition, LIVE.replace(before, after), declared())


def test_metadata_of_others_are_no_difference():
    plain, definition = as_left()
    others = definition.replace("<metadata>", "<metadata><a:a xmlns:a='urn:a'><metadata/></a:a>")

    assert is_untouched(others, None, declared())
    assert same_text(plain, others)


def test_the_note_comes_back_as_it_was_written():
    definition = left(live=LIVE)
    marker = read_marker(definition)

    assert marker is not None
    assert marker.left is not None
    assert (marker.left.libvirt, marker.left.running, marker.left.autostart) == (LIBVIRT, True, True)
    assert read_marker(with_marker(declared(), marker)) == marker


def outside(definition: str, libvirt: int = LIBVIRT) -> list[tuple[str, str | None, str | None]]:
    marker = read_marker(left())
    assert marker is not None
    found = changed_outside(marker, definition, declared(), libvirt)
    return [(difference.path, difference.before, difference.after) for difference in found]


def test_another_version_of_the_machine_is_told_though_the_declared_alias_allows_it():
    definition = kept(declared())
    version = re.search(r'machine="(pc-q35-[0-9.]+)"', definition)
    assert version is not None

    assert outside(definition.replace(version[1], "pc-q35-6.1")) == [
        ("os/type@machine", version[1], "pc-q35-6.1")
    ]


def test_undeclared_fields_that_came_changed_or_went_are_named():
    definition = kept(declared())

    assert outside(definition) == []
    assert outside(definition.replace("<devices>", "<iothreads>2</iothreads><devices>")) == [
        ("iothreads", None, "2")
    ]
    assert outside(definition.replace("<devices>", "<devices><sound model='ich9'/>")) == [
        ("devices/sound[ich9]", None, "ich9")
    ]


def test_what_lies_beneath_a_disk_is_told_unless_a_snapshot_lies_on_it():
    text = declared(disks=(disk(),))
    file = fields(text, Kind.DOMAIN)["devices/disk[root]/source@file"]
    base = "<backingStore type='file'><format type='raw'/><source file='{}'/></backingStore>"
    edited = with_layers(kept(text), file, base.format("/srv/other.img"))
    snapshot = with_layers(kept(text), "/srv/snap.qcow2", base.format(file))
    committed = with_layers(kept(text), "/srv/snap.qcow2", base.format("/srv/middle.qcow2"))

    assert {path for path, _, _ in outside(edited)} == {
        "devices/disk[root]/backingStore/format@type",
        "devices/disk[root]/backingStore/source@file",
        "devices/disk[root]/backingStore@type",
    }
    assert outside(snapshot) == []
    assert not any("/backingStore" in path for path, _, _ in outside(committed))


def with_layers(definition: str, top: str, beneath: str) -> str:
    root = etree.fromstring(definition)
    source = root.find("devices/disk[@device='disk']/source")
    assert source is not None
    source.set("file", top)
    source.addnext(etree.fromstring(beneath))
    return etree.tostring(root, encoding="unicode")


def test_declared_fields_are_drift_and_not_told_again():
    assert outside(kept(declared(cpus=2))) == []


def test_the_way_a_definition_is_spelt_is_no_change():
    spelt = kept(declared()).replace('"', "'").replace("\n", "\n\n")

    assert outside(spelt) == []


def test_nothing_is_told_across_versions_of_libvirt():
    assert outside(kept(declared()).replace("<devices>", "<devices><sound model='ich9'/>"), 9_001_000) == []


def test_a_damaged_note_tells_nothing():
    marker = read_marker(left())
    assert marker is not None
    assert marker.left is not None
    damaged = replace(marker, left=replace(marker.left, definition="!"))

    assert changed_outside(damaged, kept(declared(cpus=2)), declared(), LIBVIRT) == ()
