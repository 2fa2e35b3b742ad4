"""What means the same, and what does not though it looks alike. tests/fidelity puts the same to a real libvirtd."""

from __future__ import annotations

import pytest

from kvmdecl.libvirt_xml.fields import differences, fields
from kvmdecl.libvirt_xml.overlay import overlay
from kvmdecl.state import Kind


def devices(body: str) -> str:
    return f"<devices>{body}</devices>"


def paths(kind: Kind, declared: str, observed: str, base: str | None = None) -> list[str]:
    declared, observed = (f"<{kind}>{body}</{kind}>" for body in (declared, observed))
    return [found.path for found in differences(declared, base, observed, kind)]


INSTANCE = "<interface><virtualport><parameters instanceid='{}'/></virtualport></interface>"
COMPANION = "<controller type='usb' index='0' model='ich9-{}'/>"

POWER = (
    "<os><type arch='ppc64le' machine='pseries'>hvm</type></os>"
    "<devices><memory model='dimm'><target>{}</target></memory></devices>"
)

SAME: list[tuple[Kind, str, str]] = (
    [
        (Kind.DOMAIN, text, other)
        for text, other in [
            (
                "<cputune><vcpusched vcpus='0-1' scheduler='batch'/></cputune>",
                "<cputune><vcpusched vcpus='1' scheduler='batch'/><vcpusched vcpus='0' scheduler='batch'/></cputune>",
            ),
            ("<cputune><quota>0</quota></cputune>", ""),
            ("<cpu mode='host-passthrough' match='exact'/>", "<cpu mode='host-passthrough'/>"),
            ("<cpu mode='host-model'><model fallback='forbid'/></cpu>", "<cpu mode='host-model'/>"),
            (
                "<features><hyperv><stimer state='on'><direct state='off'/></stimer></hyperv></features>",
                "<features><hyperv><stimer state='on'/></hyperv></features>",
            ),
            (
                "<iothreads>1</iothreads><iothreadids><iothread id='7'/><iothread id='9'/></iothreadids>",
                "<iothreads>2</iothreads><iothreadids><iothread id='7'/><iothread id='9'/></iothreadids>",
            ),
            (
                "<cpu><numa><cell id='0'><cache level='1' associativity='none' policy='none'/></cell></numa></cpu>",
                "<cpu><numa><cell id='0'><cache level='1'/></cell></numa></cpu>",
            ),
            (
                "<numatune><memory mode='strict' placement='static' nodeset='0'/></numatune>",
                "<numatune><memory mode='strict' nodeset='0'/></numatune>",
            ),
            ("<features><vmcoreinfo/></features>", "<features><vmcoreinfo state='on'/></features>"),
            (
                "<features><hyperv><spinlocks state='off' retries='4096'/></hyperv></features>",
                "<features><hyperv><spinlocks state='off'/></hyperv></features>",
            ),
            (
                "<clock offset='utc' adjustment='60'/>",
                "<clock offset='variable' adjustment='60' basis='utc'/>",
            ),
            ("<os><bootmenu enable='no' timeout='3000'/></os>", "<os><bootmenu enable='no'/></os>"),
            (
                "<vcpu>2</vcpu><numatune><memory placement='auto' nodeset='0'/></numatune>",
                "<vcpu placement='auto'>2</vcpu><numatune><memory mode='strict' placement='auto'/></numatune>",
            ),
            (
                POWER.format("<size unit='MiB'>300</size>"),
                POWER.format("<size>524288</size>"),
            ),
            (
                "<launchSecurity><policy>0x0001</policy></launchSecurity>",
                "<launchSecurity><policy>0x1</policy></launchSecurity>",
            ),
            (
                "<genid>E9392370-2917-565E-692B-D057F46512D6</genid>",
                "<genid>e9392370-2917-565e-692b-d057f46512d6</genid>",
            ),
            (
                "<seclabel model='dac' type='none'/><seclabel model='selinux' type='none'/>",
                "<seclabel model='selinux' type='none'/><seclabel model='dac' type='none'/>",
            ),
        ]
    ]
    + [
        (Kind.DOMAIN, devices(text), devices(other))
        for text, other in [
            (
                "<video><model type='vga'/></video><video><model type='qxl' primary='yes'/></video>",
                "<video><model type='qxl' primary='yes'/></video><video><model type='vga'/></video>",
            ),
            ("<disk><driver name='qemu' cache='default'/></disk>", "<disk><driver name='qemu'/></disk>"),
            ("<disk><iotune><read_iops_sec>0</read_iops_sec></iotune></disk>", "<disk/>"),
            (
                "<disk><driver name='qemu' type='aio'/></disk>",
                "<disk><driver name='qemu' type='raw'/></disk>",
            ),
            (
                "<disk><source protocol='rbd'><host name='a' transport='tcp'/></source></disk>",
                "<disk><source protocol='rbd'><host name='a'/></source></disk>",
            ),
            ("<graphics type='sdl' fullscreen='no'/>", "<graphics type='sdl'/>"),
            (
                INSTANCE.format("09B11C53-8B5C-4EEB-8F00-D84EAA0AAA4F"),
                INSTANCE.format("09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f"),
            ),
            ("<interface type='hostdev' managed='no'/>", "<interface type='hostdev'/>"),
            ("<disk device='cdrom' snapshot='no'/>", "<disk device='cdrom' type='file'/>"),
            ("<disk snapshot='no'><readonly/></disk>", "<disk><readonly/></disk>"),
            ("<disk type='network' device='cdrom'/>", "<disk type='file' device='cdrom'/>"),
            (
                "<disk><source protocol='iscsi' name='iqn.example:x'/></disk>",
                "<disk><source protocol='iscsi' name='iqn.example:x/0'/></disk>",
            ),
            (
                "<disk><source protocol='http'><cookies><cookie name='a'>b</cookie></cookies></source></disk>",
                "<disk><source protocol='http'/></disk>",
            ),
            (
                "<disk><boot order='1' loadparm='system1'/></disk>",
                "<disk><boot order='1' loadparm='SYSTEM1'/></disk>",
            ),
            (
                "<console type='pty'><target port='1'/></console>",
                "<console type='pty'><target type='serial' port='0'/></console>",
            ),
            ("<graphics type='vnc' port='-1'/>", "<graphics type='vnc' port='-1' autoport='yes'/>"),
            (
                "<graphics type='spice' defaultMode='any'><channel name='main' mode='any'/></graphics>",
                "<graphics type='spice'/>",
            ),
            (
                "<redirfilter><usbdev version='9.4'/></redirfilter>",
                "<redirfilter><usbdev version='9.40'/></redirfilter>",
            ),
            ("<filesystem fmode='644'/>", "<filesystem fmode='0644'/>"),
            (
                "<controller type='scsi' index='0' model='auto'/>",
                "<controller type='scsi' index='0' model='lsilogic'/>",
            ),
            (
                COMPANION.format("uhci1") + COMPANION.format("ehci1"),
                COMPANION.format("ehci1") + COMPANION.format("uhci1"),
            ),
            (
                "<memballoon model='none'><address type='pci' slot='0x3'/></memballoon>",
                "<memballoon model='none'/>",
            ),
            ("<disk><acpi/></disk>", "<disk/>"),
        ]
    ]
    + [
        (Kind.NETWORK, "<forward mode='bridge' managed='no'/>", "<forward mode='bridge'/>"),
        (Kind.NETWORK, "<portgroup name='a' default='no'/>", "<portgroup name='a'/>"),
        (
            Kind.NETWORK,
            "<dns><srv service='a' protocol='tcp' target='.' port='0'/></dns>",
            "<dns><srv service='a' protocol='tcp' target='.'/></dns>",
        ),
        (
            Kind.POOL,
            "<source><device path='/dev/a'/><device path='/dev/b'/></source>",
            "<source><device path='/dev/b'/><device path='/dev/a'/></source>",
        ),
        (
            Kind.VOLUME,
            "<target><permissions><owner>0744</owner></permissions></target>",
            "<target><permissions><owner>744</owner></permissions></target>",
        ),
    ]
)


@pytest.mark.parametrize(("kind", "declared", "observed"), SAME)
def test_one_meaning_in_two_spellings_is_no_difference(kind: Kind, declared: str, observed: str):
    assert paths(kind, declared, observed) == []


@pytest.mark.parametrize(
    ("declared", "observed", "path"),
    [
        ("<disk><readonly/></disk>", "<disk/>", "devices/disk/readonly"),
        ("<disk snapshot='no'/>", "<disk/>", "devices/disk@snapshot"),
        (
            "<memballoon model='virtio'><stats period='5'/></memballoon>",
            "<memballoon model='virtio'/>",
            "devices/memballoon/stats@period",
        ),
        (
            "<video><model type='vga'/></video><video><model type='qxl'/></video>",
            "<video><model type='qxl' primary='yes'/></video><video><model type='vga'/></video>",
            "devices/video/model@type",
        ),
        (
            "<interface><source network='default'/></interface>",
            "<interface><source/></interface>",
            "devices/interface/source@network",
        ),
        (
            "<channel type='unix'><source mode='connect'><reconnect enabled='yes' timeout='5'/></source></channel>",
            "<channel type='unix'><source mode='connect'><reconnect enabled='yes' timeout='6'/></source></channel>",
            "devices/channel/source/reconnect@timeout",
        ),
    ],
)
def test_what_looks_like_nothing_or_a_default_and_is_neither_is_a_difference(
    declared: str, observed: str, path: str
):
    assert path in paths(Kind.DOMAIN, devices(declared), devices(observed))


@pytest.mark.parametrize("pin", ["vcpupin vcpu='0'", "emulatorpin", "iothreadpin iothread='1'"])
def test_numad_chooses_no_cpus_where_something_is_pinned(pin: str):
    body = f"<vcpu placement='{{}}'>2</vcpu><cputune><{pin} cpuset='0'/></cputune>"
    body += "<numatune><memory mode='strict' placement='auto'/></numatune>"
    assert paths(Kind.DOMAIN, body.format("auto"), body.format("static")) == ["vcpu@placement"]


@pytest.mark.parametrize("feature", ["xen", "kvm"])
def test_a_kind_of_features_is_there_without_any_of_its_own(feature: str):
    assert fields(f"<domain><features><{feature}/></features></domain>", Kind.DOMAIN) != {}


def test_a_line_of_a_cache_is_counted_in_bytes():
    line = "<cpu><numa><cell id='0'><cache level='1'><line value='{}' unit='B'/></cache></cell></numa></cpu>"

    (path,) = paths(Kind.DOMAIN, line.format(64), line.format(57))

    assert path == "cpu/numa/cell[0]/cache[1]/line@value"


def test_members_without_a_name_are_told_apart_by_what_they_say():
    three = "<serial type='file'><source path='/a'/></serial><serial type='pty'/><serial type='null'/>"
    two = three.replace("<serial type='pty'/>", "")

    assert paths(Kind.DOMAIN, devices(two), devices(three)) == []
    before, after = (f"<domain>{devices(body)}</domain>" for body in (three, two))
    (gone,) = differences(after, before, before, Kind.DOMAIN)
    assert (gone.path, gone.before, gone.after) == ("devices/serial#3", "pty", None)


def test_disks_with_one_source_are_told_apart_by_their_targets():
    disk = "<disk type='file'><source file='/a'/><target dev='{}'/><boot order='{}'/></disk>"
    one, other = disk.format("vda", 1), disk.format("sda", 2)

    assert paths(Kind.DOMAIN, devices(one + other), devices(other + one)) == []


def test_a_scheduler_for_many_is_laid_over_as_one_for_each():
    declared = "<domain><cputune><vcpusched vcpus='0-1' scheduler='batch'/></cputune></domain>"
    merged = overlay("<domain><cputune><vcpusched vcpus='0' scheduler='batch'/></cputune></domain>", declared)

    assert fields(merged, Kind.DOMAIN) == fields(declared, Kind.DOMAIN)


def test_a_member_that_goes_takes_its_members_along():
    cell = "<cpu><numa><cell id='0'/>{}</numa></cpu>"
    second = "<cell id='1'><distances><sibling id='0' value='20'/></distances></cell>"

    assert paths(Kind.DOMAIN, cell.format(second), cell.format("")) == ["cpu/numa/cell[1]"]
