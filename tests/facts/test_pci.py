"""What libvirt says of node devices -> PCI functions and IOMMU groups."""

from dataclasses import replace

import pytest

from kvmdecl.libvirt_xml.capabilities import parse_node_device
from kvmdecl.pci import PciTree, Use, pci_tree
from tests.placement.support import facts

_PORT = """<device><name>pci_0000_00_01_0</name><parent>computer</parent><driver><name>pcieport</name></driver>
  <capability type='pci'><class>0x060400</class><domain>0</domain><bus>0</bus><slot>1</slot><function>0</function>
  <capability type='pci-bridge'/><iommuGroup number='9'/></capability></device>"""


def _function(number: int, driver: str, more: str = "") -> str:
    return f"""<device><name>pci_0000_01_00_{number}</name><parent>pci_0000_00_01_0</parent>
      <driver><name>{driver}</name></driver>
      <capability type='pci'><class>0x030000</class><domain>0</domain><bus>1</bus><slot>0</slot>
      <function>{number}</function><product id='0x2235'>A GPU</product><vendor id='0x10de'>Its maker</vendor>
      <iommuGroup number='9'/><numa node='1'/>{more}</capability></device>"""


def _tree(*xml: str) -> PciTree:
    return pci_tree(replace(facts(), devices=tuple(map(parse_node_device, xml))))


@pytest.fixture
def gpu() -> PciTree:
    """A GPU with its audio function behind a port, all in one group."""
    return _tree(_PORT, _function(0, "nouveau"), _function(1, "snd_hda_intel"))


def test_a_function_says_what_it_is_and_where(gpu):
    function = gpu.functions["0000:01:00.0"]
    assert (function.vendor, function.product, function.class_code) == ("10de", "2235", "030000")
    assert (function.title, function.driver, function.cell, function.group) == (
        "Its maker A GPU", "nouveau", 1, 9,
    )  # fmt: skip
    assert [port.address for port in gpu.above(function)] == ["0000:00:01.0"]


def test_all_of_a_group_go_together_but_ports_stay(gpu):
    assert [f.address for f in gpu.groups[9]] == ["0000:00:01.0", "0000:01:00.0", "0000:01:00.1"]
    assert [f.address for f in gpu.companions(gpu.functions["0000:01:00.0"])] == ["0000:01:00.1"]


def test_what_the_host_makes_of_a_function_is_its_use():
    nic = _function(0, "i40e")
    interface = """<device><name>net_eth0</name><parent>pci_0000_01_00_0</parent><capability type='net'>
      <interface>eth0</interface></capability></device>"""
    assert _tree(nic, interface).functions["0000:01:00.0"].uses == (Use("network", "eth0"),)


@pytest.mark.parametrize(("driver", "held"), [("nouveau", True), ("vfio-pci", False), ("pci-stub", False)])
def test_a_function_kept_for_guests_is_not_held_by_the_host(driver, held):
    assert _tree(_function(0, driver)).functions["0000:01:00.0"].is_held_by_host is held
