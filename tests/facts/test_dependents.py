"""What depends on a host's interfaces and disks, as far as libvirt can tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmdecl.dependents import with_uses
from kvmdecl.facts import HostInterface
from kvmdecl.libvirt_xml.capabilities import parse_interface
from kvmdecl.pci import pci_tree
from kvmdecl.state import HostState, ObservedDomain, ObservedNetwork, ObservedPool
from tests.devices.machines import gpu_server, nic_server


def _purposes(facts, state=HostState(), address=""):  # noqa: B008 - it is frozen
    return dict(with_uses(facts, state, address).in_use)


def _connected(*interfaces: HostInterface):
    return replace(nic_server().facts(), connections=interfaces)


def _pool(xml: str, name: str = "vms") -> ObservedPool:
    return ObservedPool(name, "", f"<pool><name>{name}</name>{xml}</pool>", True, True, 0, 0, ())


def _guest(name: str, devices: str) -> ObservedDomain:
    xml = f"<domain><name>{name}</name><devices>{devices}</devices></domain>"
    return ObservedDomain(name, "", xml, None, False, True, False, False)


def test_the_purpose_of_a_use_is_what_depends_on_it():
    facts = with_uses(
        nic_server().facts(), HostState(pools=(_pool("<source><device path='/dev/nvme0n1p3'/></source>"),))
    )
    functions = pci_tree(facts).functions
    assert [use.purpose for use in functions["0000:01:00.0"].uses] == ["port of bridge br0"]
    assert [use.purpose for use in functions["0000:02:00.0"].uses] == ["pool vms"]
    assert [use.purpose for use in functions["0000:3b:00.0"].uses] == [""]


BOND = HostInterface("bond0", "bond", ("ens1f0", "ens1f1"))


@pytest.mark.parametrize(
    ("interfaces", "purposes"),
    [
        ([HostInterface("br0", "bridge", ("eno1",))], {"eno1": "port of bridge br0"}),
        ([BOND], {"ens1f0": "member of bond bond0", "ens1f1": "member of bond bond0"}),
        (
            [BOND, HostInterface("br0", "bridge", ("bond0",), ("10.0.0.5",))],
            {
                "bond0": "port of bridge br0, has address 10.0.0.5",
                "br0": "has address 10.0.0.5",
                "ens1f0": "member of bond bond0, has address 10.0.0.5",
                "ens1f1": "member of bond bond0, has address 10.0.0.5",
            },
        ),
        (
            [HostInterface("eno1.5", "vlan", ("eno1",), ("10.0.5.5", "fe80::1"))],
            {"eno1": "below VLAN eno1.5, has address 10.0.5.5", "eno1.5": "has address 10.0.5.5"},
        ),
        ([HostInterface("lo", "ethernet", (), ("127.0.0.1", "::1"))], {}),
        ([HostInterface("a", "bridge", ("b",)), HostInterface("b", "bridge", ("a",))],
         {"a": "port of bridge b", "b": "port of bridge a"}),
    ],
)  # fmt: skip
def test_what_depends_on_an_interface_depends_on_what_it_is_made_of(interfaces, purposes):
    assert _purposes(_connected(*interfaces)) == purposes


def test_the_address_by_which_the_host_is_reached_is_known_by_the_manifest():
    facts = _connected(HostInterface("eno1", "ethernet", (), ("192.0.2.7",)))
    reached = "has address 192.0.2.7, by which kvmdecl reaches the host"
    assert _purposes(facts, address="192.0.2.7") == {"eno1": reached}
    assert _purposes(facts, address="kvm-1.example") == {"eno1": "has address 192.0.2.7"}


@pytest.mark.parametrize(
    ("forward", "purposes"),
    [
        ("<forward mode='nat' dev='ens1f1'><interface dev='ens1f1'/></forward>", "way out of network lan"),
        ("<forward mode='bridge'><interface dev='ens1f1'/></forward>", "way out of network lan"),
        ("<forward mode='hostdev'><pf dev='ens1f1'/></forward>", "network lan has its virtual functions"),
    ],
)
def test_a_network_depends_on_the_interfaces_that_it_names(forward, purposes):
    network = ObservedNetwork("lan", "", f"<network><name>lan</name>{forward}</network>", True, True)
    assert _purposes(_connected(), HostState(networks=(network,))) == {"ens1f1": purposes}


def test_guests_depend_on_the_interfaces_that_they_share():
    nic = "<interface type='direct'><source dev='ens1f1' mode='bridge'/></interface>"
    guests = tuple(_guest(f"web-{number}", nic) for number in range(5))
    state = HostState(domains=(*guests, _guest("db", "<interface type='network'/>")))
    assert _purposes(_connected(), state) == {"ens1f1": "way out of guests web-0, web-1, web-2 and 2 more"}


@pytest.mark.parametrize(
    "source",
    [
        "<device path='/dev/sda'/>",
        "<device path='/dev/sda2'/>",
        "<device path='/dev/disk/by-id/scsi-S4EVNX0R'/><name>vg0</name>",
        "<device path='/dev/disk/by-id/scsi-S4EVNX0R-part1'/>",
        "<adapter type='scsi_host' name='scsi_host0'/>",
        "<adapter name='host0'/>",
    ],
)
def test_a_pool_depends_on_the_disk_below_it_by_whatever_name(source):
    state = HostState(pools=(_pool(f"<source>{source}</source>"),))
    assert _purposes(gpu_server().facts(), state)["/dev/sda"] == "pool vms"


@pytest.mark.parametrize(
    "pool",
    [
        "<target><path>/var/lib/libvirt/images</path></target>",  # nobody tells which disk that is on
        "<source><host name='nas'/><dir path='/export'/></source>",
        "<source><device path='/dev/vdz1'/></source>",
        "<source><device path='iqn.2013-06.com.example:iscsi-pool'/></source>",
        "<source><",
    ],
)
def test_of_other_pools_nothing_is_known(pool):
    assert "/dev/sda" not in _purposes(gpu_server().facts(), HostState(pools=(_pool(pool),)))


def test_a_guest_depends_on_the_disk_that_it_has():
    disk = "<disk type='block'><source dev='/dev/nvme1n1'/></disk>"
    found = _purposes(gpu_server().facts(), HostState(domains=(_guest("db", disk),)))
    assert found["/dev/nvme1n1"] == "disk of guest db"


def test_interfaces_are_read_with_what_they_are_made_of():
    """libvirt lists a bond that is a port of a bridge in the bridge alone."""
    assert parse_interface("""
      <interface type='bridge' name='br0'><mtu size='1500'/>
        <protocol family='ipv4'><ip address='192.0.2.7' prefix='24'/></protocol>
        <bridge stp='off' delay='1500'>
          <interface type='bond' name='bond0'><bond mode='802.3ad'>
            <interface type='ethernet' name='ens1f1'/><interface type='ethernet' name='ens1f0'/></bond></interface>
          <interface type='ethernet' name='vnet0'/>
        </bridge></interface>""") == (
        HostInterface("br0", "bridge", ("bond0", "vnet0"), ("192.0.2.7",)),
        HostInterface("bond0", "bond", ("ens1f0", "ens1f1")),
        HostInterface("ens1f1", "ethernet"),
        HostInterface("ens1f0", "ethernet"),
        HostInterface("vnet0", "ethernet"),
    )  # fmt: skip
    (vlan, _) = parse_interface(
        "<interface type='vlan' name='eno1.5'><vlan tag='5'><interface name='eno1'/></vlan></interface>"
    )
    assert vlan == HostInterface("eno1.5", "vlan", ("eno1",))
