"""Kinds of ports, devices and subnets of networks that run, and NICs of every kind that a lab can start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kvmdecl.cluster import ResolvedNetwork
from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.network import network_xml
from kvmdecl.libvirt_xml.network_impact import assess_network
from kvmdecl.manifest import Network
from kvmdecl.names import derive_uuid
from kvmdecl.plan import Impact
from kvmdecl.state import Address, Kind, ObservedDomain, ObservedNetwork, Origin
from kvmdecl.tasks import DefineDomain, DefineNetwork
from tests.libvirt_xml.examples import UUID, nic, vm

if TYPE_CHECKING:
    from tests.perform.conftest import Hand

pytestmark = pytest.mark.xdist_group("lab")

NET = derive_uuid("edge", "network", "inner")
NOTHING: tuple[tuple[object, ...], ...] = ((), (), ())


class Net:
    """A network that is brought to what is declared, as plan and apply do it."""

    def __init__(self, hand: Hand, **spec: Any) -> None:
        self.hand = hand
        self.declared: str | None = None
        self.become(**spec)

    def become(self, **spec: Any) -> tuple[list[Impact], tuple[str, ...]]:
        """The impacts that the plan tells, and what the user was told."""
        before, bridge = self.declared, "br0" if spec.get("mode") != "isolated" else "kv-x"
        self.declared = network_xml(ResolvedNetwork("inner", NET, Network(**spec), bridge, ("kvm-1",)))
        found = assess_network(self.declared, before, self.observed(), Origin()) if before else None
        live = found.live if found else ()
        task = DefineNetwork("inner", NET, self.declared, before, start=True, autostart=False, live=live)
        remarks = self.hand.do(task).remarks
        return sorted({change.impact for change in found.changes}) if found else [], remarks

    def observed(self) -> ObservedNetwork:
        seen = self.hand.look(Address(self.hand.host.name, Kind.NETWORK, "inner"))
        assert isinstance(seen, ObservedNetwork)
        return seen

    def left_to_do(self) -> tuple[object, ...]:
        assert self.declared
        found = assess_network(self.declared, self.declared, self.observed(), Origin())
        return found.changes, found.live


@pytest.mark.parametrize(
    "steps",
    [
        [
            {"bridge": "br0", "portgroups": {"a": {}}},
            {"bridge": "br0", "portgroups": {"a": {"trust_guest_rx_filters": True}, "b": {"default": True}}},
            {"bridge": "br0", "portgroups": {"b": {"bandwidth": {"inbound": "1MiB"}}}},
        ],
        [
            {"bridge": "br0", "openvswitch": True, "portgroups": {"a": {"vlan": 5}}},
            {"bridge": "br0", "openvswitch": True, "portgroups": {"a": {"vlan": [5, 6]}, "b": {"vlan": 7}}},
            {
                "bridge": "br0",
                "openvswitch": True,
                "portgroups": {"a": {"vlan": {"tags": [6, 8], "native": 8}}},
            },
        ],
        [
            {"mode": "macvtap", "device": "eth0"},
            {"mode": "macvtap", "device": ["eth0", "br0"]},
            {"mode": "macvtap", "device": "br0"},
        ],
    ],
    ids=["kinds of ports", "vlans", "devices"],
)
def test_ports_and_devices_come_change_and_go_while_the_network_runs(hand: Hand, steps: list[dict[str, Any]]):
    net = Net(hand, **steps[0])
    assert net.left_to_do() == ((), ())

    for spec in (*steps[1:], *reversed(steps)):
        impacts, remarks = net.become(**spec)

        assert (impacts, remarks) in (([Impact.LIVE], ()), ([], ())), spec
        assert net.left_to_do() == ((), ())


def test_another_subnet_waits_and_its_leases_with_it_while_those_of_the_first_are_live(hand: Hand):
    first: dict[str, Any] = {"mode": "isolated", "subnet": "10.77.9.0/24"}
    net = Net(hand, **first)
    lease = {"start": "10.77.9.10", "end": "10.77.9.20"}
    six = {"subnet": "fd00:7::/64", "dhcp": {"start": "fd00:7::10", "end": "fd00:7::20"}}

    impacts, remarks = net.become(**first, dhcp=lease, subnets=[six])

    assert impacts == [Impact.LIVE, Impact.NEXT_BOOT]
    assert "keeps running" in remarks[0]
    running = hand.connection.networkLookupByName("inner").XMLDesc()
    assert ("10.77.9.10" in running, "fd00:7::" in running) == (True, False)


class Plugged:
    """A guest with these NICs that runs."""

    def __init__(self, hand: Hand, *nics: Any, **given: Any) -> None:
        self.hand, self.given = hand, given
        self.declared: str | None = None
        self.become(*nics)

    def become(self, *nics: Any) -> list[str]:
        """The calls that were made."""
        before = self.declared
        self.declared = domain_xml(vm(disks=(), nics=nics, **self.given), {})
        found = assess(self.declared, before, self.observed(), Origin()) if before else None
        live = found.live if found else ()
        task = DefineDomain("web-1", UUID, self.declared, before, live, "start", False, "edge", "r1")
        assert self.hand.do(task).remarks == ()
        return [call.call for call in live]

    def observed(self) -> ObservedDomain:
        seen = self.hand.look(Address(self.hand.host.name, Kind.DOMAIN, "web-1"))
        assert isinstance(seen, ObservedDomain)
        return seen

    def left_to_do(self) -> tuple[object, ...]:
        assert self.declared
        found = assess(self.declared, self.declared, self.observed(), Origin())
        return found.changes, found.live, found.pending


def inner(**given: Any) -> Any:
    return nic(is_bridge=False, source="inner", **given)


def test_a_nic_moves_to_another_kind_of_port_and_to_the_bridge_itself_while_the_guest_runs(hand: Hand):
    Net(hand, bridge="br0", portgroups={"a": {}, "b": {"default": True}})
    guest = Plugged(hand, inner(portgroup="a", coalesce=5))
    assert guest.left_to_do() == NOTHING

    for after in (inner(portgroup="b", coalesce=7), inner(), nic(), inner(portgroup="a")):
        assert guest.become(after) == ["update-device"]
        assert guest.left_to_do() == NOTHING


def plugged(number: int = 1, **given: Any) -> Any:
    return nic(number, network=None, is_bridge=False, source="", **given)


@pytest.mark.parametrize(
    "nics",
    [
        (plugged(device="br0"),),
        (plugged(user="slirp"), plugged(2, user="slirp", model="e1000", rom=False)),
        (
            nic(
                driver={"name": "qemu", "tx_mode": "timer", "rx_queue_size": "512", "packed": True},
                tap="web0",
            ),
            nic(2, offloads={"host": {"csum": False, "tso4": False}, "guest": {"tso4": False}}, coalesce=3),
            nic(3, rom={"bar": False}, driver={"event_idx": False, "ioeventfd": True}),
        ),
    ],
    ids=["a device", "only QEMU", "drivers and offloads"],
)
def test_a_guest_starts_with_nics_of_a_kind_and_then_needs_nothing(hand: Hand, nics: tuple[Any, ...]):
    assert Plugged(hand, *nics).left_to_do() == NOTHING
