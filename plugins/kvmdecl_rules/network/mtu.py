"""NICs and their network disagree about the largest packet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, number, nic in site.nics(lambda nic: nic.mtu is not None):
        network = site.networks.get(nic.network)
        wanted = network.spec.mtu if network is not None else None
        if wanted is not None and nic.spec.mtu != wanted:
            summary = (
                f"NIC {number} of {vm.name} has an MTU of {nic.spec.mtu}, and {nic.network} has {wanted}"
            )
            yield Finding(vm, f"nics.{number}.mtu", summary)


RULE = Rule(
    code="network.mtu",
    title="NICs and their network disagree about the largest packet",
    severity=Severity.WARNING,
    why=(
        "A packet that fits the sender and not the receiver is dropped without a word on a bridge: small "
        "requests work, and transfers hang."
    ),
    source="libvirt, formatdomain and formatnetwork, mtu; RFC 4821",
    fix="say the MTU of the network once, and leave it out of NICs",
    bad="""\
networks:
  jumbo: {mode: isolated, mtu: 9000}
vms:
  db: {nics: [{network: jumbo, mtu: 1500}]}
""",
    good="""\
networks:
  jumbo: {mode: isolated, mtu: 9000}
vms:
  db: {nics: [jumbo]}
""",
    check=check,
)
