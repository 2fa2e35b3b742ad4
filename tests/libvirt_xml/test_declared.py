"""An `xml:` fragment: laid over what the keys come to, compared and taken away like the rest."""

from __future__ import annotations

import pytest
from lxml import etree

from kvmdecl.libvirt_xml.declared import declared_domain, parse_fragment, without
from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.overlay import overlay
from kvmdecl.libvirt_xml.safe import BadXml
from kvmdecl.state import Kind
from tests.libvirt_xml.examples import POOLS, disk, kept, nic, vm

SOUND = "<title>front door</title><devices><sound model='ich9'/></devices>"


def merged(fragment: str | None, **given: object) -> str:
    return declared_domain(vm(xml=fragment, **given), POOLS)


def tree(xml: str) -> etree._Element:
    return etree.fromstring(xml)


def test_without_a_fragment_nothing_is_laid_over():
    assert merged(None) == declared_domain(vm(), POOLS)


@pytest.mark.parametrize(
    "fragment", [SOUND, f"<domain>{SOUND}</domain>", f"<domain type='qemu'>{SOUND}</domain>"]
)
def test_the_root_may_be_written_or_left_out(fragment: str):
    root = tree(merged(fragment))

    assert root.findtext("title") == "front door"
    assert root.find("devices/sound").get("model") == "ich9"


def test_an_element_finds_its_place_by_identity():
    fragment = """<devices>
      <disk type='file' device='disk'><driver io='threads'/><alias name='ua-data'/></disk>
      <interface type='bridge'><mac address='52:54:00:00:00:02'/><driver queues='2'/></interface>
    </devices>"""

    root = tree(merged(fragment, disks=(disk(), disk("data")), nics=(nic(1), nic(2))))

    assert root.xpath("devices/disk[alias/@name='ua-data']/driver/@io") == ["threads"]
    assert root.xpath("devices/disk[alias/@name='ua-root']/driver/@io") == []
    assert root.xpath("devices/interface[mac/@address='52:54:00:00:00:02']/driver/@queues") == ["2"]
    assert len(root.findall("devices/disk")) == len(root.findall("devices/interface")) == 2


def test_what_the_fragment_says_outweighs_a_key():
    assert tree(merged("<cpu mode='maximum'/>", cpu_model="EPYC")).find("cpu").get("mode") == "maximum"


def test_it_is_compared_and_taken_away_again_like_the_rest():
    before, with_sound, bare = kept(merged(SOUND)), merged(SOUND), merged(None)

    assert differences(with_sound, with_sound, before, Kind.DOMAIN) == ()
    gone = {difference.path for difference in differences(bare, with_sound, before, Kind.DOMAIN)}
    after = tree(overlay(before, bare, with_sound))

    assert any(path.startswith("devices/sound") for path in gone)
    assert "title" in gone
    assert after.find("devices/sound") is None


@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("<name>other</name>", "kvmdecl's own"),
        ("<uuid>1b671a64-40d5-491e-99b0-da01ff1f3341</uuid>", "kvmdecl's own"),
        ("<metadata/>", "kvmdecl's own"),
        ("<devices><interface type='user'/></devices>", "needs its <mac>"),
        ("<devices><disk type='file'><driver io='threads'/></disk></devices>", "needs its <alias>"),
        ("<devices><graphics type='vnc' passwd='hunter2'/></devices>", "no secret"),
        ("<title>unclosed", "title"),
        ("just words", "says nothing"),
        ("", "says nothing"),
        (
            "<!DOCTYPE domain [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><domain><title>&e;</title></domain>",
            "DOCTYPE",
        ),
    ],
)
def test_a_fragment_that_cannot_be_laid_over_is_refused(fragment: str, said: str):
    with pytest.raises(BadXml, match=said):
        parse_fragment(fragment, Kind.DOMAIN)


def test_nothing_is_placed_so_that_a_disk_gets_its_target_where_it_is_plugged_in():
    assert tree(merged(SOUND)).xpath("devices/disk/target/@dev") == []


def test_what_is_left_out_is_not_declared():
    root = tree(
        declared_domain(vm(omit=["features/apic", "devices/disk[root]/serial", "vcpu@current"]), POOLS)
    )

    assert [feature.tag for feature in root.find("features")] == ["acpi"]
    assert root.find("devices/disk/serial") is None
    assert root.find("vcpu").attrib == {}


def test_a_container_of_which_nothing_is_left_is_left_out_too():
    root = tree(declared_domain(vm(omit=["features/acpi", "features/apic"]), POOLS))

    assert root.find("features") is None


def test_an_element_without_its_only_attribute_is_left_out_so_that_a_fragment_makes_one_and_not_two():
    gone = "devices/interface[52:54:00:00:00:01]/model@type"
    fragment = (
        "<devices><interface><mac address='52:54:00:00:00:01'/><model type='ne2k_pci'/></interface></devices>"
    )

    root = tree(declared_domain(vm(nics=(nic(),), omit=[gone], xml=fragment), POOLS))

    assert root.xpath("devices/interface/model/@type") == ["ne2k_pci"]
    assert len(root.findall("devices/interface/model")) == 1


def test_an_omission_of_what_is_not_there_is_told():
    assert without(declared_domain(vm(), POOLS), ["features/apci", "features/acpi"])[1] == ("features/apci",)
