"""Who has PCI functions of a host, as the definitions of its domains and networks say."""

from __future__ import annotations

import pytest

from kvmdecl.libvirt_xml.holders import holders
from kvmdecl.state import HostState, ObservedDomain, ObservedNetwork

_PCI = "type='pci'"


def _place(function: int, type_: str = "") -> str:
    return f"<address {type_} domain='0x0000' bus='0x41' slot='0x00' function='0x{function}'/>"


def _hostdev(function: int) -> str:
    source = f"<source>{_place(function)}</source>"
    return f"<hostdev mode='subsystem' type='pci' managed='yes'>{source}</hostdev>"


def _nic(function: int) -> str:
    source = f"<source>{_place(function, _PCI)}</source>"
    return f"<interface type='hostdev' managed='yes'>{source}</interface>"


def _disk(function: int) -> str:
    source = f"<source type='pci' namespace='1'>{_place(function)}</source>"
    return f"<disk type='nvme'><driver type='raw'/>{source}</disk>"


def _domain(devices: str, live: str | None = None) -> ObservedDomain:
    xml, running = (
        f"<domain><devices>{text}</devices></domain>" if text is not None else None
        for text in (devices, live)
    )
    return ObservedDomain("gpu", "u", xml or "", running, running is not None, True, False, False)


@pytest.mark.parametrize(
    ("devices", "live", "addresses"),
    [
        (_hostdev(0) + _hostdev(1), None, ("0000:41:00.0", "0000:41:00.1")),
        (_nic(2), None, ("0000:41:00.2",)),
        (_disk(3), None, ("0000:41:00.3",)),
        (_hostdev(0), _hostdev(1), ("0000:41:00.1",)),  # what runs is what it has
        (_hostdev(0), _hostdev(0) + _nic(0), ("0000:41:00.0",)),
    ],
)
def test_a_domain_has_what_is_passed_to_it(devices: str, live: str | None, addresses: tuple[str, ...]):
    (holder,) = holders(HostState(domains=(_domain(devices, live),)))
    assert (holder.kind, holder.name, holder.active, holder.addresses) == (
        "domain", "gpu", live is not None, addresses,
    )  # fmt: skip


@pytest.mark.parametrize(
    "domain",
    [
        _domain("<hostdev mode='subsystem' type='usb'><source><vendor id='0x046d'/></source></hostdev>"),
        _domain("<disk type='file'/>"),
        _domain(_hostdev(0), "<disk type='file'/>"),  # defined, and not yet attached
        _domain("<hostdev"),
    ],
)
def test_a_domain_without_a_function_holds_nothing(domain: ObservedDomain):
    assert holders(HostState(domains=(domain,))) == ()


@pytest.mark.parametrize(
    ("forward", "addresses", "card"),
    [
        ("<forward mode='hostdev'><pf dev='eth0'/></forward>", (), "eth0"),
        (
            "<forward mode='hostdev'>" + _place(4, _PCI) + "</forward>",
            ("0000:41:00.4",),
            "",
        ),
    ],
)
def test_a_network_hands_out_the_functions_of_a_card_or_those_it_lists(
    forward: str, addresses: tuple[str, ...], card: str
):
    network = ObservedNetwork("fast", "u", f"<network>{forward}</network>", True, True)
    (holder,) = holders(HostState(networks=(network,)))
    assert (holder.kind, holder.addresses, holder.card, holder.active) == ("network", addresses, card, True)


def test_a_bridged_network_hands_out_nothing():
    xml = "<network><name>hostdev</name><forward mode='bridge'/><bridge name='br0'/></network>"
    assert holders(HostState(networks=(ObservedNetwork("hostdev", "u", xml, True, True),))) == ()
