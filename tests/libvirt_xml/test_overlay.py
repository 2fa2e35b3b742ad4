from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.fields import differences, fields
from kvmdecl.libvirt_xml.overlay import (
    RESETS,
    attachable,
    complete,
    find_device,
    overlay,
    overlay_device,
)
from kvmdecl.libvirt_xml.ports import SPARE_PORTS
from kvmdecl.manifest import Firmware, Graphics, Watchdog
from kvmdecl.state import Kind
from tests.libvirt_xml.examples import (
    FOREIGN,
    OTHER_SEED,
    POOLS,
    SEED,
    declared,
    disk,
    kept,
    nic,
    respelt,
    vms,
    with_foreign,
)


def tree(xml: str) -> etree._Element:
    return etree.fromstring(xml)


def values(xml: str, path: str) -> list[str]:
    return [str(found) for found in tree(xml).xpath(path)]


@settings(max_examples=60, deadline=None)
@given(vms(), vms(), st.integers(0, 1000))
def test_after_an_overlay_nothing_differs_and_nothing_is_left_of_what_was_declared_before(one, other, seed):
    before, after = domain_xml(one, POOLS), domain_xml(other, POOLS)

    merged = overlay(respelt(with_foreign(kept(before)), seed), after, before)

    assert differences(after, before, merged, Kind.DOMAIN) == ()


@settings(max_examples=60, deadline=None)
@given(vms(), vms())
def test_an_overlay_laid_again_changes_nothing(one, other):
    before, after = domain_xml(one, POOLS), domain_xml(other, POOLS)
    once = overlay(with_foreign(kept(before)), after, before)

    assert overlay(once, after, before) == once
    assert overlay(once, after, after) == once


@settings(max_examples=60, deadline=None)
@given(vms(), vms())
def test_what_others_declared_survives_to_the_letter(one, other):
    before, after = domain_xml(one, POOLS), domain_xml(other, POOLS)

    merged = tree(overlay(with_foreign(kept(before)), after, before))

    def letters(element: etree._Element) -> bytes:
        copy = etree.fromstring(etree.tostring(element), etree.XMLParser(remove_blank_text=True))
        return etree.tostring(copy, method="c14n")

    present = [letters(element) for element in merged.iter(etree.Element)]
    theirs = tree(FOREIGN)
    tuned = list(theirs.iterfind("cputune/*"))  # beside what we tune
    whole = (child for child in theirs if child.tag not in {"devices", "cputune"})
    for child in [*whole, *tuned, *theirs.iterfind("devices/*")]:
        assert letters(child) in present
    kept_nics = {n.mac for n in one.nics} & {n.mac for n in other.nics}
    for mac in kept_nics:
        assert merged.xpath(f"devices/interface[mac/@address='{mac}']/driver/@queues") == ["4"]


@settings(max_examples=40, deadline=None)
@given(vms())
def test_an_overlay_of_the_same_declaration_changes_no_field(guest):
    text = domain_xml(guest, POOLS)
    before = with_foreign(kept(text))

    assert fields(overlay(before, text, text), Kind.DOMAIN) == fields(before, Kind.DOMAIN)


@settings(max_examples=40, deadline=None)
@given(vms(), vms())
def test_every_disk_has_a_target_and_no_two_share_one(one, other):
    before, after = domain_xml(one, POOLS), domain_xml(other, POOLS)

    for merged in (complete(before), overlay(with_foreign(kept(before)), after, before)):
        names = values(merged, "devices/disk/target/@dev")
        assert len(names) == len(set(names)) == len(values(merged, "devices/disk"))


def test_a_generation_id_stands_where_the_schema_wants_it():
    wanted = declared().replace("</domain>", "<genid>43dc0cf8-809b-4adb-9bea-a9abb5f3d90e</genid></domain>")

    for text in (complete(wanted), overlay(kept(declared()), wanted)):
        assert [child.tag for child in tree(text)][:3] == ["name", "uuid", "genid"]


def test_places_machine_and_mac_stay():
    before = kept(declared())

    merged = overlay(before, declared(memory=128 * 1024**2), declared())

    assert values(merged, "devices/*/address/@bus") == values(before, "devices/*/address/@bus")
    assert values(merged, "os/type/@machine") == ["pc-q35-7.2"]
    assert values(merged, "currentMemory/text()") != values(before, "currentMemory/text()")


def test_a_size_is_written_with_its_unit():
    before = kept(declared()).replace('<memory unit="KiB">131072', '<memory unit="GiB">4')

    merged = overlay(before, declared(), None)

    assert tree(merged).find("memory").attrib == {"unit": "KiB"}
    assert values(merged, "memory/text()") == ["131072"]


def test_new_disks_get_the_first_free_target_of_their_bus():
    more = declared(disks=(disk(), disk("data"), disk("logs", bus="scsi"), disk("late", bus="sata")), **SEED)

    assert values(complete(more), "devices/disk/target/@dev") == ["vda", "vdb", "sda", "sdb", "sdc"]
    assert values(overlay(with_foreign(kept(declared())), more, declared()), "devices/disk/target/@dev") == [
        *("vda", "vdz", "vdb", "sda", "sdb", "sdc")
    ]


def test_the_twenty_seventh_disk_is_vdaa():
    many = declared(disks=tuple(disk(f"d{number}") for number in range(27)))

    assert values(complete(many), "devices/disk/target/@dev")[25:] == ["vdz", "vdaa"]


def test_a_new_q35_guest_has_spare_ports_and_a_pc_guest_has_no_ports():
    ports = "devices/controller[@model='pcie-root-port']"
    few, more = (
        len(values(complete(declared(disks=disks)), ports)) for disks in [(), (disk(), disk("data"))]
    )

    assert few > SPARE_PORTS
    assert more == few + 2
    assert values(complete(declared(machine="pc")), ports) == []


def test_a_disk_plugged_in_live_keeps_its_place_in_the_definition():
    config, live = kept(declared()), kept(declared(disks=(disk(), disk("data"))))
    live = live.replace('dev="vdb"', 'dev="vdq"').replace('bus="0x02"', 'bus="0x42"')
    both = declared(disks=(disk(), disk("data")))

    merged = tree(overlay(config, both, declared(), live))

    assert merged.xpath("devices/disk[serial='data']/target/@dev") == ["vdq"]
    assert merged.xpath("devices/disk[serial='data']/address/@bus") == ["0x42"]


def test_a_place_that_the_definition_uses_already_is_not_taken_from_the_running_guest():
    config = kept(declared(nics=(nic(), nic(2))))
    live = kept(declared(disks=(disk(), disk("data"))))
    both = declared(disks=(disk(), disk("data")), nics=(nic(), nic(2)))

    merged = tree(overlay(config, both, None, live))

    assert merged.xpath("devices/disk[serial='data']/address") == []


def test_a_new_target_is_free_in_the_running_guest_too():
    live = kept(declared()).replace('dev="vda"', 'dev="vdb"')
    config = kept(declared())

    merged = overlay(config, declared(disks=(disk(), disk("data"))), declared(), live)

    assert values(merged, "devices/disk/target/@dev") == ["vda", "vdc"]


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        ({}, {"disks": (disk(bus="sata"),)}, "devices/disk/address"),
        ({}, {"nics": (nic(model="e1000"),)}, "devices/interface/address"),
        ({"watchdog": Watchdog()}, {"watchdog": Watchdog(model="ib700")}, "devices/watchdog/address"),
        ({}, {"balloon": False}, "devices/memballoon/address"),
        ({}, {"nics": (nic(is_bridge=False, source="inner"),)}, "devices/interface/source/@bridge"),
        ({}, {"machine": "pc"}, "devices/*/address[@type='pci']"),
        ({}, {"machine": "pc"}, "devices/controller"),
        ({"cpu_model": "EPYC-Rome"}, {}, "cpu/model"),
        (
            {"firmware": Firmware(type="uefi")},
            {"firmware": Firmware(type="uefi", secure_boot=True)},
            "os/loader",
        ),
    ],
)
def test_what_libvirt_filled_in_because_of_a_field_goes_with_it(before, after, gone):
    was = kept(declared(**before))
    was = was.replace("<os", "<os", 1).replace("</os>", "<loader>/usr/share/OVMF.fd</loader></os>")
    was = was.replace("</devices>", "<controller type='usb' index='0'/></devices>")
    assert values(was, gone)

    for base in (declared(**before), None):
        assert values(overlay(was, declared(**after), base), gone) == []


def test_every_reset_says_why():
    assert all(reset.why and (reset.elements or reset.attributes) for reset in RESETS)


def test_a_boot_order_of_devices_replaces_one_of_classes_and_takes_the_place_of_a_foreign_device():
    was = with_foreign(kept(declared())).replace("</os>", "<boot dev='hd'/></os>")
    was = was.replace("<shareable/>", "<boot order='1'/>")

    merged = overlay(was, declared(disks=(disk(boot_order=1),)), declared())

    assert values(merged, "os/boot") == []
    assert values(merged, "devices/disk[boot]/alias/@name") == ["ua-root"]


def test_a_field_that_is_declared_no_more_leaves_no_empty_element_behind():
    base = declared(nics=(nic(mtu=9000),))

    assert values(overlay(kept(base), declared(), base), "devices/interface/mtu") == []


def test_sound_that_no_client_of_spice_hears_any_more_is_left_to_libvirt_again():
    spice, vnc = declared(graphics={"type": "spice"}), declared(graphics={"type": "vnc"})
    before = kept(spice).replace('type="none"', 'type="spice"')

    assert values(overlay(before, vnc, spice), "devices/audio/@type") == []
    assert values(overlay(before, spice, spice), "devices/audio/@type") == ["spice"]


def test_a_console_that_listens_elsewhere_is_told_so_in_both_ways():
    here, there = ({"type": "vnc", "listen": address} for address in ("127.0.0.1", "::1"))
    before = kept(declared(graphics=here)).replace("<graphics", '<graphics listen="127.0.0.1"')

    console = "devices/graphics/@listen | devices/graphics/listen/@address"
    assert values(overlay(before, declared(graphics=there), declared(graphics=here)), console) == ["::1"]


def test_graphics_come_and_go_with_what_belongs_to_them():
    base, screen = declared(), declared(graphics=Graphics(type="vnc"))

    shown = overlay(kept(base), screen, base)
    hidden = overlay(shown, base, screen)

    assert values(shown, "devices/graphics/@type") == ["vnc"]
    assert values(hidden, "devices/graphics | devices/video | devices/input") == []


def test_an_update_of_a_device_keeps_what_is_not_declared_and_its_name():
    before = (
        "<interface type='bridge'><mac address='52:54:00:00:00:01'/>"
        "<source bridge='br0'/><model type='virtio'/>"
        "<driver name='vhost' queues='4'/><link state='up'/><alias name='net0'/></interface>"
    )
    declared_nic = (
        "<interface type='bridge'><mac address='52:54:00:00:00:01'/><link state='down'/></interface>"
    )

    merged = overlay_device(before, declared_nic)

    assert values(merged, "@type | link/@state | driver/@queues | alias/@name") == [
        "bridge",
        "4",
        "down",
        "net0",
    ]


def test_an_update_of_a_drive_finds_it_though_its_medium_is_another_one():
    before = kept(declared(**SEED))
    seed = find_device(before, "disk[cloud_init]")
    assert seed is not None

    merged = overlay_device(seed, find_device(declared(**OTHER_SEED), "disk[cloud_init]") or "")

    assert values(merged, "source/@file | target/@dev | alias/@name") == [
        f"/srv/vms/web-1.seed.{OTHER_SEED['seed'].sha256[:12]}.iso",
        "sda",
        "ua-cloud_init",
    ]


def test_a_device_is_found_by_its_key_or_not_at_all():
    text = kept(declared(disks=(disk(), disk("data"))))

    assert values(find_device(text, "disk[data]") or "<none/>", "serial/text()") == ["data"]
    assert find_device(text, "disk[logs]") is None


def test_a_device_that_carries_no_name_of_ours_is_found_by_its_declaration():
    text = (
        kept(declared()).replace('name="ua-root"', 'name="virtio-disk0"').replace("<serial>root</serial>", "")
    )

    assert find_device(text, "disk[root]") is None
    assert find_device(text, "disk[root]", declared()) is not None


def test_a_disk_to_attach_gets_a_target_that_is_free_everywhere():
    live, config = kept(declared()), kept(declared()).replace('dev="vda"', 'dev="vdb"')
    data = find_device(declared(disks=(disk("data"),)), "disk[data]")
    assert data is not None

    assert values(attachable(data, live, config), "target/@dev") == ["vdc"]


def test_networks_are_overlaid_too():
    was = "<network><name>n</name><forward mode='nat'/><bridge name='virbr0'/><mtu size='1400'/></network>"
    base = "<network><name>n</name><forward mode='nat'/></network>"

    merged = overlay(was, "<network><name>n</name><bridge name='virbr7'/></network>", base, kind=Kind.NETWORK)

    assert values(merged, "bridge/@name | mtu/@size | forward") == ["virbr7", "1400"]


def test_a_device_takes_no_place_of_a_running_guest_that_has_another_chipset():
    pc, more = declared(machine="pc"), declared(machine="pc", disks=(disk(), disk("data")))
    runs_as_q35 = kept(declared(disks=(disk(), disk("data"))))

    made = overlay(kept(pc), more, pc, live=runs_as_q35)

    assert values(made, "devices/disk[alias/@name='ua-data']/address/@bus") == []


def test_a_medium_for_an_emptied_drive_is_its_only_source():
    drive = (
        "<disk type='file' device='cdrom'>{}<target dev='sda' bus='sata'/><alias name='ua-cdrom_cd'/></disk>"
    )

    made = overlay_device(drive.format("<source index='5'/>"), drive.format("<source file='/srv/a.iso'/>"))

    assert values(made, "source/@*") == ["/srv/a.iso"]
    assert len(tree(made).findall("source")) == 1
