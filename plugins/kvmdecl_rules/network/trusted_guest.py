"""A guest decides itself which packets it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, number, _ in site.nics(lambda nic: nic.trust_guest_rx_filters):
        key = f"nics.{number}.trust_guest_rx_filters"
        yield Finding(vm, key, f"NIC {number} of {vm.name} sets its own filters on the host")


RULE = Rule(
    code="network.trusted-guest",
    title="a guest decides itself which packets it gets",
    severity=Severity.WARNING,
    why=(
        "`trust_guest_rx_filters` lets the guest change the MAC address and the filters of the host's "
        "device under it. It can so receive what is meant for others."
    ),
    source="libvirt, formatdomain, trustGuestRxFilters",
    fix="leave it out, unless the guest is a router that you trust",
    bad="""\
networks:
  fast: {mode: macvtap, device: eth1}
vms:
  web: {nics: [{network: fast, trust_guest_rx_filters: true}]}
""",
    good="""\
networks:
  fast: {mode: macvtap, device: eth1}
vms:
  web: {nics: [fast]}
""",
    check=check,
)
