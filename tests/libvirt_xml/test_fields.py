from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.fields import FieldDifference, device_key, differences, fields, member_name, plain
from kvmdecl.libvirt_xml.safe import BadXml
from kvmdecl.state import Kind
from tests.libvirt_xml.examples import POOLS, declared, disk, kept, nic, respelt, vms, with_foreign


def domain(body: str) -> str:
    return f"<domain type='qemu'>{body}</domain>"


def devices(body: str) -> str:
    return domain(f"<devices>{body}</devices>")


def difference(
    desired: str, observed: str, base: str | None = None
) -> list[tuple[str, str | None, str | None]]:
    return [(d.path, d.before, d.after) for d in differences(desired, base, observed, Kind.DOMAIN)]


def test_a_definition_is_a_flat_map():
    found = fields(declared(disks=(disk(cache="none"),)), Kind.DOMAIN)

    assert found["memory"] == "131072"
    assert found["currentMemory"] == "65536"
    assert found["vcpu@current"] == "1"
    assert found["features/acpi"] == ""
    assert found["devices/disk[root]/driver@cache"] == "none"
    assert found["devices/interface[52:54:00:00:00:01]/source@bridge"] == "br0"
    assert found["devices/channel[org.qemu.guest_agent.0]@type"] == "unix"


@settings(max_examples=60, deadline=None)
@given(vms(), st.integers(0, 1000))
def test_what_libvirt_adds_and_respells_is_no_difference(guest, seed):
    text = domain_xml(guest, POOLS)

    assert differences(text, None, respelt(with_foreign(kept(text)), seed), Kind.DOMAIN) == ()


@settings(max_examples=60, deadline=None)
@given(vms(), vms())
def test_each_difference_is_told_once_and_there_is_one_unless_the_declarations_agree(one, other):
    first, second = domain_xml(one, POOLS), domain_xml(other, POOLS)

    found = differences(second, first, first, Kind.DOMAIN)

    assert len({d.path for d in found}) == len(found)
    assert (found == ()) == (fields(first, Kind.DOMAIN) == fields(second, Kind.DOMAIN))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<memory unit='GiB'>1</memory>", "<memory>1048576</memory>"),
        ("<memory unit='MB'>1</memory>", "<memory>977</memory>"),
        ("<vcpu>2</vcpu>", "<vcpu placement='static' current='2'>2</vcpu>"),
        ("<vcpu cpuset='0-3,^2'>1</vcpu>", "<vcpu cpuset='0,1,3'>1</vcpu>"),
        (
            "<uuid>1B671A6440D5491E99B0DA01FF1F3341</uuid>",
            "<uuid>1b671a64-40d5-491e-99b0-da01ff1f3341</uuid>",
        ),
        ("<os><type machine='q35'>hvm</type></os>", "<os><type machine='pc-q35-9.1'>hvm</type></os>"),
        ("<os><type machine='pc'>hvm</type></os>", "<os><type machine='pc-i440fx-jammy'>hvm</type></os>"),
        ("<description> a\r\nb </description>", "<description>a\nb</description>"),
        ("<cpu><model fallback='allow'>EPYC</model></cpu>", "<cpu><model>EPYC</model></cpu>"),
        ("<features/>", ""),
        ("<metadata><a xmlns='urn:a'>1</a></metadata>", ""),
    ],
)
def test_one_meaning_in_two_spellings_is_no_difference(one, other):
    assert difference(domain(one), domain(other)) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "<interface><mac address='52:54:00:AB:00:01'/></interface>",
            "<interface><mac address='52:54:00:ab:00:01'/></interface>",
        ),
        ("<rng><address bus='0x0A' type='pci'/></rng>", "<rng><address bus='10' type='pci'/></rng>"),
        ("<graphics type='vnc' autoport='yes' port='5901'/>", "<graphics type='vnc' autoport='yes'/>"),
        ("<graphics type='vnc' autoport='no' port='5901'/>", "<graphics type='vnc' port='5901'/>"),
        ("<graphics type='vnc' passwd='s3cret'/>", "<graphics type='vnc'/>"),
        ("<rng><alias name='rng0'/></rng>", "<rng/>"),
        (
            "<channel><source mode='bind' path='/run/libvirt/qemu/channel/7/x'/><target name='x'/></channel>",
            "<channel><target name='x'/></channel>",
        ),
    ],
)
def test_state_and_defaults_of_devices_are_no_difference(one, other):
    assert difference(devices(one), devices(other)) == []


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        ("<memory unit='GiB'>2</memory>", "<memory unit='GiB'>1</memory>", "memory"),
        (
            "<os><type machine='q35'>hvm</type></os>",
            "<os><type machine='pc-i440fx-7.2'>hvm</type></os>",
            "os/type@machine",
        ),
        (
            "<os><type machine='pc-q35-7.2'>hvm</type></os>",
            "<os><type machine='pc-q35-8.0'>hvm</type></os>",
            "os/type@machine",
        ),
        ("<features><acpi/></features>", "<features><apic/></features>", "features/acpi"),
        ("<vcpu current='1'>2</vcpu>", "<vcpu>2</vcpu>", "vcpu@current"),
    ],
)
def test_another_value_is_a_difference_of_its_field(one, other, path):
    assert path in [found[0] for found in difference(domain(one), domain(other))]


def test_a_device_that_is_missing_is_one_difference():
    found = difference(declared(disks=(disk(), disk("data"))), kept(declared()))

    assert found == [("devices/disk[data]", None, "/srv/vms/web-1.data.qcow2")]


def test_a_graphical_console_is_described_with_its_protocol():
    vnc, spice = (
        devices(f"<graphics type='{protocol}'><listen type='address' address='127.0.0.1'/></graphics>")
        for protocol in ("vnc", "spice")
    )

    assert difference(spice, observed=vnc, base=vnc) == [
        ("devices/graphics[spice]", None, "spice 127.0.0.1"),
        ("devices/graphics[vnc]", "vnc 127.0.0.1", None),
    ]


def test_a_device_that_left_the_manifest_is_one_difference_and_a_foreign_one_is_none():
    base = declared(disks=(disk(), disk("data")))

    found = difference(declared(), with_foreign(kept(base)), base)

    assert found == [("devices/disk[data]", "/srv/vms/web-1.data.qcow2", None)]


def test_a_field_that_left_the_manifest_goes_and_one_that_nobody_declared_stays():
    base = declared(disks=(disk(cache="none"),))

    assert difference(declared(), kept(base), base) == [("devices/disk[root]/driver@cache", "none", None)]
    assert difference(declared(), kept(base)) == []


def test_a_field_that_left_the_manifest_and_the_host_is_no_difference():
    base = declared(disks=(disk(cache="none"),))

    assert difference(declared(), kept(declared()), base) == []


def test_a_disk_is_the_same_when_its_serial_or_its_source_changes():
    before = kept(declared())

    assert difference(declared(disks=(disk(serial="other"),)), before) == [
        ("devices/disk[root]/serial", "root", "other")
    ]
    assert difference(declared(disks=(disk(volume="moved.qcow2"),)), before) == [
        ("devices/disk[root]/source@file", "/srv/vms/web-1.root.qcow2", "/srv/vms/moved.qcow2")
    ]


def test_a_disk_without_our_name_is_found_by_its_source():
    before = (
        kept(declared()).replace('name="ua-root"', 'name="virtio-disk0"').replace("<serial>root</serial>", "")
    )

    assert difference(declared(), before) == [("devices/disk[root]/serial", None, "root")]


def test_a_cable_that_nobody_unplugged_is_plugged_in():
    before = kept(declared(nics=(nic(1),))).replace('<link state="up"/>', "")

    assert difference(declared(nics=(nic(1),)), before) == []
    assert difference(declared(nics=(nic(1, link="down"),)), before) == [
        ("devices/interface[52:54:00:00:00:01]/link@state", None, "down")
    ]


def test_a_nic_is_found_by_its_mac_wherever_it_stands():
    two = (nic(1), nic(2))

    assert difference(declared(nics=two), kept(declared(nics=two[::-1]))) == []
    assert difference(declared(nics=(nic(1), nic(2, source="br1"))), kept(declared(nics=two[::-1]))) == [
        ("devices/interface[52:54:00:00:00:02]/source@bridge", "br0", "br1")
    ]


def twins(*indexes: int, first: str = "52:54:00:00:00:01") -> str:
    """NICs of one MAC address, apart from the first, told apart by what QEMU calls them alone."""
    macs = [first, *["52:54:00:00:00:01"] * (len(indexes) - 1)]
    return devices(
        "".join(
            f"<interface type='user'><mac address='{mac}'/><acpi index='{index}'/></interface>"
            for mac, index in zip(macs, indexes, strict=True)
        )
    )


def test_nics_of_one_mac_are_each_the_one_that_they_are_most_like():
    other_mac = twins(100, 200, 300, first="52:54:00:00:00:09")

    assert difference(twins(100, 200, 300), twins(300, 100, 200)) == []
    assert [path for path, *_ in difference(twins(100, 200, 300), other_mac)] == [
        "devices/interface[52:54:00:00:00:01]"
    ]
    assert difference(twins(100, 200, 300), twins(100, 201, 300)) == [
        ("devices/interface[52:54:00:00:00:01]#2/acpi@index", "201", "200")
    ]
    assert [path for path, *_ in difference(twins(100, 200, 300), twins(100, 300))] == [
        "devices/interface[52:54:00:00:00:01]#2"
    ]


def test_disks_of_one_source_are_told_apart_by_their_targets():
    disk = "<disk type='network'><source protocol='rbd' name='pool/image'/><target dev='{}'/></disk>"
    shared = devices("".join(map(disk.format, ("vda", "vdb"))))

    assert difference(devices("".join(map(disk.format, ("vdb", "vda")))), shared) == []
    found = difference(devices("".join(map(disk.format, ("vda", "vdc", "vdd")))), shared, base=shared)
    assert [(path, before is None, after is None) for path, before, after in found] == [
        ("devices/disk[rbd:pool/image]#2", True, False),
        ("devices/disk[rbd:pool/image]#3", True, False),
        ("devices/disk[rbd:pool/image]#4", False, True),
    ]


def test_members_that_nothing_identifies_are_compared_in_order():
    two = "<watchdog model='{}'/><watchdog model='{}'/>"

    assert difference(devices(two.format("itco", "ib700")), devices(two.format("itco", "diag288"))) == [
        ("devices/watchdog#2@model", "diag288", "ib700")
    ]


def test_a_sound_card_without_our_name_is_found_by_its_model():
    named = "<sound model='ich9'><alias name='ua-sound'/></sound>"

    assert difference(devices(named), devices("<sound model='ac97'/><sound model='ich9'/>")) == []


def test_a_nic_without_mac_is_the_first_that_is_left():
    nics = "<interface type='user'><mac address='52:54:00:00:00:01'/></interface>"

    assert difference(devices("<interface type='user'/>"), devices(nics)) == []


def test_a_source_with_brackets_cannot_break_a_path():
    file = "<disk type='file'><source file='/srv/a]b@c/d[1'/><target dev='vda'/></disk>"
    (found,) = differences(devices(file), None, devices(""), Kind.DOMAIN)

    assert plain(found.path) == "devices/disk"
    assert device_key(found.path) == "disk[/srv/a)b@c/d(1]"


def test_words_about_paths():
    assert plain("devices/disk[data]/driver@cache") == "devices/disk/driver@cache"
    assert member_name("devices/disk[data]/driver@cache") == "data"
    assert device_key("devices/disk[data]/driver@cache") == "disk[data]"
    assert device_key("devices/sound#2@model") == "sound#2"
    assert device_key("memory") == ""


def test_networks_and_pools_are_compared_by_meaning_too():
    assert (
        differences(
            "<network><forward dev='eth0'/>"
            "<ip address='10.0.0.1' netmask='255.255.255.0' family='ipv4'/></network>",
            None,
            "<network connections='2'><forward mode='nat' dev='eth0'><interface dev='eth0'/></forward>"
            "<ip address='10.0.0.1' prefix='24'/></network>",
            Kind.NETWORK,
        )
        == ()
    )
    assert differences(
        "<pool><target><path>/srv//vms/</path></target></pool>",
        None,
        "<pool><capacity unit='bytes'>7</capacity><target><path>/srv/other</path></target></pool>",
        Kind.POOL,
    ) == (FieldDifference("target/path", "/srv/other", "/srv/vms"),)


def test_xml_that_is_none_is_refused():
    with pytest.raises(BadXml):
        fields("<domain>", Kind.DOMAIN)


@pytest.mark.parametrize(
    ("observed", "differs"),
    [
        ("<audio id='1' type='none'/>", False),
        ("<audio id='1' type='spice'/><graphics type='spice'/>", False),
        ("<audio id='1' type='none'/><graphics type='spice'/>", True),
        ("<audio id='1' type='alsa'/>", True),
    ],
)
def test_the_sound_backend_that_every_guest_has_is_not_taken_away(observed: str, differs: bool):
    base = devices("<audio id='1' type='alsa'/>")

    assert bool(differences(devices(""), base, devices(observed), Kind.DOMAIN)) is differs
