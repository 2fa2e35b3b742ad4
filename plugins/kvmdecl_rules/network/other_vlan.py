"""A NIC is in another VLAN than its network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them; a trunk may have many."""
    tagged = {n.name: n.spec.vlan.tags for n in site.cluster.networks if n.spec.vlan is not None}
    for vm, number, nic in site.nics(lambda nic: tagged and nic.vlan is not None and nic.portgroup is None):
        own, usual = (nic.spec.vlan.tags if nic.spec.vlan is not None else ()), tagged.get(nic.network)
        if usual is not None and not set(own) <= set(usual):
            told = f"NIC {number} of {vm.name} is in VLAN {own[0]}, and {nic.network} in {usual[0]}"
            yield Finding(vm, f"nics.{number}.vlan", told)


RULE = Rule(
    code="network.other-vlan",
    title="a NIC is in another VLAN than its network",
    severity=Severity.WARNING,
    why=(
        "What the NIC says counts: the guest is alone in its VLAN, or among guests of another network who "
        "should not see it. On the line of the network everybody reads something else."
    ),
    source="libvirt, formatdomain and formatnetwork, vlan",
    fix="leave `vlan` of the NIC out, or plug it into the network of that VLAN",
    bad="""\
networks:
  shop: {bridge: br-shop, vlan: 42}
vms:
  web: {nics: [{network: shop, vlan: 43}]}
""",
    good="""\
networks:
  shop: {bridge: br-shop, vlan: 42}
vms:
  web: {nics: [shop]}
""",
    check=check,
)
