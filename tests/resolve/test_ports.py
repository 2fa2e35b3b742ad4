"""What NICs may be plugged into, and what their ports can do there."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from kvmdecl.check import check
from kvmdecl.cluster import PlacedCluster
from kvmdecl.emit import emit
from kvmdecl.pluginhost import load_plugins
from kvmdecl.state import DesiredDomain, DesiredNetwork
from tests.placement.support import facts
from tests.resolve.support import HEAD, only_vm, resolved, told

ONE = HEAD + 'hosts: {kvm-1: "qemu+tls://kvm-1.example/system"}\n'


def nics(text: str, networks: str = "lan: {bridge: br0}") -> str:
    return f"networks: {{{networks}}}\nvms: {{web: {{host: kvm-1, nics: [{text}]}}}}\n"


SWITCH = "lan: {bridge: br0, openvswitch: true, portgroups: {staff: {vlan: 42}}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (nics("{network: lan, portgroup: staf}", SWITCH), [("reference.unknown-portgroup", "staf")]),
        (nics("{network: lan, portgroup: staff, vlan: 7}", SWITCH), None),
        (nics("{network: lan, vlan: 7}", "lan: {mode: isolated}"), [("reference.no-vlan", "7")]),
        (nics("{network: lan, vlan: 7}", "lan: {mode: hostdev, device: eth1}"), None),
        (
            nics("{network: lan, queues: 4}", "lan: {mode: hostdev, device: eth1}"),
            [("reference.hostdev-nic", "4")],
        ),
        (
            nics("{network: lan, model: e1000}", "lan: {mode: hostdev, device: eth1}"),
            [("reference.hostdev-nic", "e1000")],
        ),
        (
            nics("{network: lan, mtu: 9000}", "lan: {mode: macvtap, device: eth1}"),
            [("reference.macvtap-nic", "9000")],
        ),
        (nics("{network: lan, tap: a0}, {network: lan, tap: a0}"), [("reference.duplicate-tap", "a0")]),
        (nics("{network: lan, portgroup: theirs}", "lan: {mode: existing}"), None),
    ],
)
def test_a_port_has_what_its_network_has(text: str, expected: list[tuple[str, str]] | None) -> None:
    if expected is None:
        resolved(text, head=ONE)
    else:
        assert told(text, head=ONE) == expected


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        ("lan: {mode: isolated, subnet: 10.0.0.0/24}", None),
        ("lan: {mode: existing}", None),
        ("lan: {bridge: br0}", [("reference.no-address", "lan")]),
        ("lan: {mode: macvtap, device: eth1}", [("reference.no-address", "lan")]),
        ("wan: {bridge: br0}", [("reference.unknown-network", "lan")]),
        ("lan: {mode: isolated, state: absent}", [("reference.absent", "lan")]),
    ],
)
def test_a_console_listens_on_a_network_where_its_host_has_an_address(networks, expected) -> None:
    for graphics in ("{type: vnc, network: lan}", "{type: spice, also: {type: vnc, network: lan}}"):
        text = f"networks: {{{networks}}}\nvms: {{web: {{host: kvm-1, graphics: {graphics}}}}}\n"
        if expected is None:
            resolved(text, head=ONE)
        else:
            assert told(text, head=ONE) == expected


@pytest.mark.parametrize(
    ("network", "key"),
    [
        ("{bridge: br0, mtu: 9000}", "mtu"),
        ("{bridge: br0, bandwidth: {inbound: 1MiB}}", "bandwidth"),
        ("{bridge: {name: br0, stp: false}}", "bridge"),
        ("{mode: nat, subnet: 10.0.0.0/24, openvswitch: true}", "openvswitch"),
        ("{mode: nat, subnet: 10.0.0.0/24, vlan: 4}", "vlan"),
        ("{mode: nat, subnet: 10.0.0.0/24, device: [eth0, eth1]}", "device"),
        ("{mode: nat, subnet: 10.0.0.0/24, address: 10.1.0.1}", "address"),
        ("{mode: nat, subnet: 10.0.0.0/24, routes: [{to: 10.9.0.0/16, via: 10.1.0.1}]}", "via"),
        ("{mode: nat, subnet: 10.0.0.0/24, nat: {addresses: 10.0.0.9-10.0.0.1}}", "addresses"),
        ("{mode: isolated, portgroups: {a: {default: true}, b: {default: true}}}", "default"),
        ("{mode: isolated, portgroups: {a: {vlan: 4}}}", "vlan"),
        ("{mode: isolated, portgroups: {a: {profile: q-1}}}", "profile"),
        ("{mode: isolated, nat: {ipv6: true}}", "nat"),
        ("{mode: hostdev}", "lan"),
        ("{mode: hostdev, device: eth0, pci: ['0000:03:10.0']}", "lan"),
        (
            "{mode: isolated, subnets: [{subnet: 'fd00::/64', dhcp: {start: 'fd00::5', end: 'fd00::9', tftp: /srv}}]}",
            "tftp",
        ),
        (
            "{mode: isolated, subnets: [{subnet: 'fd00::/64', dhcp: {start: 'fd00::5', end: 'fd00::9', hosts: [M]}}]}",
            "mac",
        ),
        (
            "{mode: isolated, subnet: 10.0.0.0/24, dns: {enabled: false, txt: [{name: a, value: b}]}}",
            "enabled",
        ),
    ],
)
def test_what_no_network_of_a_mode_has_is_refused_at_its_key(network: str, key: str) -> None:
    network = network.replace("[M]", "[{mac: '52:54:00:00:00:01', ip: 'fd00::4'}]")
    text = f"networks: {{lan: {network}}}\n"

    ((code, at),) = told(text, head=ONE)

    before = text[: text.index(at, text.index(key) if key in text else 0)]
    assert (code, re.findall(r"[a-z_]+(?=: $)", before) or [at]) == ("manifest.bad-network", [key])


def test_a_plain_bridge_needs_no_object_and_one_with_ports_of_its_own_has_one() -> None:
    for network, kinds in (("lan: {bridge: br0}", (0, True)), (SWITCH, (1, False))):
        cluster = resolved(nics("lan", network), head=ONE)
        state = emit(PlacedCluster(cluster, cluster.vms), {})
        assert sum(isinstance(found, DesiredNetwork) for found in state.resources) == kinds[0]
        (domain,) = (found for found in state.resources if isinstance(found, DesiredDomain))
        assert ('type="bridge"' in domain.xml) is kinds[1]


def test_a_nic_without_a_network_is_known_by_what_it_is_plugged_into() -> None:
    before = only_vm("vms: {a: {nics: [{device: eth0}, {user: slirp}]}}")
    after = only_vm("vms: {a: {nics: [{user: slirp}, {pci: '0000:03:10.0'}, {device: eth0}]}}")

    assert [nic.mac for nic in before.nics] == [after.nics[2].mac, after.nics[0].mac]
    assert len({nic.mac for nic in after.nics}) == 3


def test_a_nic_may_stay_out_of_the_boot_order() -> None:
    vm = only_vm(nics("{network: lan, boot: false}, lan").replace("host: kvm-1, ", "boot: [network], "))

    assert [nic.boot_order for nic in vm.nics] == [None, 1]


def test_the_nics_of_a_team_share_an_address_and_one_of_them_goes() -> None:
    networks = "lan: {bridge: br0}, fast: {mode: hostdev, device: eth1}"
    for other in ("{network: fast, team: t}", "{pci: '0000:03:10.0', team: t}"):
        vm = only_vm(nics(f"{{network: lan, team: t}}, {other}, lan", networks).replace("host: kvm-1, ", ""))

        assert [nic.failover for nic in vm.nics] == ["persistent", "transient", ""]
        assert [nic.mac == vm.nics[0].mac for nic in vm.nics] == [True, True, False]


@pytest.mark.parametrize(
    "members", ["{network: lan, team: t}", "{network: lan, team: t}, {network: lan, team: t}"]
)
def test_a_team_needs_one_nic_that_goes(members: str) -> None:
    assert told(nics(members), head=ONE) == [("manifest.bad-nic", "t")]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (nics("{device: eth7}"), ["check.no-interface"]),
        (nics("lan", "lan: {mode: macvtap, device: [eth0, eth7]}"), ["check.no-interface"]),
        (nics("lan", SWITCH), []),
        (nics("{network: lan, vlan: 4}"), ["check.no-vlan"]),
        (nics("lan", "lan: {bridge: br0, vlan: 5, portgroups: {a: {vlan: 6}}}"), ["check.no-vlan"] * 2),
    ],
)
def test_what_a_host_lacks_is_told(text: str, codes: list[str]) -> None:
    cluster = resolved(text, head=ONE)
    host = replace(facts(bridges=("br0", "eth0", "lo")), libvirt=9_000_000)

    found = check(PlacedCluster(cluster, cluster.vms), {"kvm-1": host}, load_plugins())

    assert [diagnostic.code for diagnostic in found] == codes
