"""libvirt's descriptions of a host become facts; what makes no sense is refused with a reason."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdecl.facts import Cell, GuestType, HostCpu, Machine, PagePool
from kvmdecl.libvirt_xml.capabilities import parse_capabilities, parse_domain_capabilities, parse_node_device
from kvmdecl.libvirt_xml.observed import parse_volume
from kvmdecl.libvirt_xml.safe import MAX_DOCUMENT, BadXml, parse_xml

CAPABILITIES = """
<capabilities>
  <host>
    <uuid>4C4C4544-0001-4000-8000-B0C04F000001</uuid>
    <cpu><arch>x86_64</arch><model>EPYC-Rome</model><feature name='svm'/><feature name='avx2'/></cpu>
    <iommu support='yes'/>
    <topology><cells num='2'>
      <cell id='0'>
        <memory unit='KiB'>1024</memory>
        <pages unit='KiB' size='4'>200</pages>
        <pages unit='KiB' size='1048576'>8</pages>
        <distances><sibling id='0' value='10'/><sibling id='1' value='32'/></distances>
        <cpus num='2'>
          <cpu id='0' socket_id='0' die_id='0' core_id='0' siblings='0,4-5'/>
          <cpu id='7'/>
        </cpus>
      </cell>
      <cell id='1'><memory unit='bytes'>4096</memory></cell>
    </cells></topology>
  </host>
  <guest>
    <os_type>hvm</os_type>
    <arch name='x86_64'>
      <emulator>/usr/bin/qemu-system-x86_64</emulator>
      <machine maxCpus='255'>pc-i440fx-9.1</machine>
      <machine canonical='pc-q35-9.1' maxCpus='288'>q35</machine>
      <domain type='qemu'/>
      <domain type='kvm'><emulator>/usr/bin/kvm</emulator><machine>microvm</machine></domain>
    </arch>
  </guest>
</capabilities>"""


def test_capabilities_become_facts():
    found = parse_capabilities(CAPABILITIES)
    assert found.uuid == "4c4c4544-0001-4000-8000-b0c04f000001"
    assert (found.arch, found.cpu_model, found.cpu_features) == ("x86_64", "EPYC-Rome", ("avx2", "svm"))
    assert found.iommu
    assert found.memory == 1024 * 1024 + 4096
    assert found.cells == (
        Cell(
            id=0,
            memory=1024 * 1024,
            cpus=(HostCpu(0, 0, 0, 0, (0, 4, 5)), HostCpu(7, 0, 0, 7, (7,))),
            pages=(PagePool(4096, 200), PagePool(2**30, 8)),
            distances=((0, 10), (1, 32)),
        ),
        Cell(id=1, memory=4096, cpus=(), pages=(), distances=()),
    )


def test_a_domain_type_may_have_an_emulator_and_machines_of_its_own():
    qemu, kvm = parse_capabilities(CAPABILITIES).guests
    assert qemu == GuestType(
        "x86_64",
        "qemu",
        "/usr/bin/qemu-system-x86_64",
        (Machine("pc-i440fx-9.1", "pc-i440fx-9.1", 255), Machine("q35", "pc-q35-9.1", 288)),
    )
    assert kvm == GuestType("x86_64", "kvm", "/usr/bin/kvm", (Machine("microvm", "microvm", 0),))


def test_domain_capabilities_become_enumerations_by_path():
    support = parse_domain_capabilities("""
      <domainCapabilities>
        <domain>kvm</domain><machine>pc-q35-9.1</machine><arch>x86_64</arch><vcpu max='288'/>
        <os supported='yes'>
          <enum name='firmware'><value>efi</value></enum>
          <loader supported='yes'><value>/fw/code.fd</value>
            <enum name='secure'><value>no</value></enum></loader>
        </os>
        <cpu>
          <mode name='host-passthrough' supported='yes'><enum name='hostPassthroughMigratable'/></mode>
          <mode name='maximum' supported='no'/>
          <mode name='custom' supported='yes'>
            <model usable='yes'>qemu64</model><model usable='no'>EPYC</model><model usable='yes'>486</model>
          </mode>
        </cpu>
        <devices>
          <disk supported='yes'><enum name='bus'><value>virtio</value><value>scsi</value></enum></disk>
          <hostdev supported='no'><enum name='mode'><value>subsystem</value></enum></hostdev>
        </devices>
        <features><gic supported='no'/><genid supported='yes'/></features>
      </domainCapabilities>""")
    assert (support.arch, support.type, support.machine, support.max_cpus) == (
        "x86_64",
        "kvm",
        "pc-q35-9.1",
        288,
    )
    assert support.cpu_models == ("486", "qemu64")
    assert dict(support.enums) == {
        "os/firmware": ("efi",),
        "os/loader": ("/fw/code.fd",),
        "os/loader/secure": ("no",),
        "cpu/mode": ("custom", "host-passthrough"),
        "devices": ("disk",),
        "devices/disk/bus": ("virtio", "scsi"),
        "features": ("genid",),
        "unsupported": ("devices/hostdev", "features/gic"),
    }


@pytest.mark.parametrize(
    ("host_model", "nested"),
    [
        ("<vendor>Intel</vendor><feature policy='require' name='vmx'/>", ("yes",)),
        ("<vendor>Intel</vendor><feature policy='require' name='aes'/>", ()),
        ("<vendor>AMD</vendor><feature policy='require' name='svm'/>", ("yes",)),
        ("<vendor>AMD</vendor><feature policy='disable' name='svm'/>", ()),
        ("<vendor>AMD</vendor>", None),  # its model may have it
    ],
)
def test_whether_guests_can_have_guests_is_told_by_host_model(
    host_model: str, nested: tuple[str, ...] | None
):
    mode = f"<mode name='host-model' supported='yes'>{host_model}</mode>"
    support = parse_domain_capabilities(f"<domainCapabilities><cpu>{mode}</cpu></domainCapabilities>")
    assert dict(support.enums).get("cpu/nested") == nested


def test_a_pci_function_tells_its_place_its_group_and_its_relatives():
    device = parse_node_device("""
      <device><name>pci_0000_41_00_1</name><parent>pci_0000_40_01_0</parent>
        <driver><name>mlx5_core</name></driver>
        <capability type='pci'>
          <class>0x020000</class><domain>0</domain><bus>65</bus><slot>0</slot><function>1</function>
          <product id='0x101d'>A NIC</product><vendor id='0x15b3'>Its maker</vendor>
          <capability type='virt_functions' maxCount='8'>
            <address domain='0x0000' bus='0x41' slot='0x01' function='0x2'/>
            <address domain='0x0000' bus='0x41' slot='0x01' function='0x3'/>
          </capability>
          <iommuGroup number='31'/><numa node='1'/>
        </capability>
      </device>""")
    assert (device.name, device.parent, device.capability) == ("pci_0000_41_00_1", "pci_0000_40_01_0", "pci")
    properties = dict(device.properties)
    assert (
        properties.items()
        >= {
            "address": "0000:41:00.1",
            "vendor": "0x15b3",
            "product": "0x101d",
            "driver": "mlx5_core",
            "iommu_group": "31",
            "numa_cell": "1",
            "virtual_functions": "0000:41:01.2 0000:41:01.3",
            "max_virtual_functions": "8",
        }.items()
    )
    assert "physical_function" not in properties


def test_a_network_interface_tells_its_name_address_and_link():
    device = parse_node_device("""
      <device><name>net_eth0</name><capability type='net'><interface>eth0</interface>
        <address>52:54:00:00:00:01</address><link speed='25000' state='up'/></capability></device>""")
    assert dict(device.properties) == {
        "interface": "eth0",
        "address": "52:54:00:00:00:01",
        "link": "up",
        "speed": "25000",
    }


def test_a_volume_tells_its_sizes_format_and_backing_file():
    volume = parse_volume(
        """<volume type='file'><name>a</name><capacity unit='bytes'>20</capacity>
        <allocation unit='bytes'>3</allocation>
        <target><path>/srv/a</path><format type='qcow2'/></target>
        <backingStore><path>/srv/b</path></backingStore></volume>""",
        "vms",
    )
    assert (volume.pool, volume.name, volume.path, volume.format) == ("vms", "a", "/srv/a", "qcow2")
    assert (volume.capacity, volume.allocation, volume.backing) == (20, 3, "/srv/b")


HOST = "<capabilities><host><uuid>{}</uuid></host></capabilities>"
LAUGHS = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 20}">' for n in range(1, 12))
BAD = {
    "nothing": "",
    "half a document": "<capabilities><host>",
    "another document": "<domain/>",
    "no host": "<capabilities/>",
    "a doctype": "<!DOCTYPE capabilities><capabilities><host/></capabilities>",
    "a file": f'<!DOCTYPE c [<!ENTITY x SYSTEM "file:///etc/passwd">]>{HOST.format("&x;")}',
    "laughter": f'<!DOCTYPE c [<!ENTITY e0 "ha">{LAUGHS}]>{HOST.format("&e11;")}',
    "a control character": "<capabilities>\x00</capabilities>",
    "a surrogate": "<capabilities>\ud800</capabilities>",
    "depth": "<a>" * 100_000,
    "length": f"<capabilities><host>{' ' * MAX_DOCUMENT}</host></capabilities>",
    "a word for a number": CAPABILITIES.replace("id='7'", "id='seven'"),
    "a negative number": CAPABILITIES.replace("id='7'", "id='-7'"),
    "digits of another script": CAPABILITIES.replace("id='7'", "id='\u0667'"),
    "an endless number": CAPABILITIES.replace(">1024<", f">{'9' * 5000}<"),
    "an unknown unit": CAPABILITIES.replace("unit='KiB'>1024", "unit='parsec'>1024"),
    "an endless set of CPUs": CAPABILITIES.replace("0,4-5", "0-999999"),
    "a set backwards": CAPABILITIES.replace("0,4-5", "5-4"),
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_capabilities_that_make_no_sense_are_refused_quickly(text: str):
    began = time.process_time()
    with pytest.raises(BadXml):
        parse_capabilities(text)
    assert time.process_time() - began < 4


@given(st.data())
def test_a_damaged_answer_is_read_or_refused_and_nothing_else(data: st.DataObject):
    begin = data.draw(st.integers(0, len(CAPABILITIES)))
    end = data.draw(st.integers(begin, min(begin + 40, len(CAPABILITIES))))
    text = CAPABILITIES[:begin] + data.draw(st.text(max_size=10)) + CAPABILITIES[end:]
    for parse in (parse_capabilities, parse_domain_capabilities, parse_node_device):
        with suppress(BadXml):
            parse(text)


def test_comments_and_instructions_are_not_part_of_a_document():
    root = parse_xml("<?xml version='1.0'?><!-- a --><a><!-- b --><?c d?><e/></a>")
    assert [child.tag for child in root] == ["e"]
