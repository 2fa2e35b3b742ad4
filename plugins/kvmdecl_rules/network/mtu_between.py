"""NICs of one network have different largest packets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    first: dict[str, tuple[int, str]] = {}
    for vm, number, nic in site.nics(lambda nic: nic.mtu is not None):
        network = site.networks.get(nic.network)
        if network is None or network.spec.mtu is not None:
            continue
        mtu, other = first.setdefault(nic.network, (nic.spec.mtu or 0, vm.name))
        if mtu != nic.spec.mtu:
            summary = f"NIC {number} of {vm.name} has an MTU of {nic.spec.mtu}, and that of {other} {mtu}"
            yield Finding(vm, f"nics.{number}.mtu", summary)


RULE = Rule(
    code="network.mtu-between",
    title="NICs of one network have different largest packets",
    severity=Severity.WARNING,
    why=(
        "What one guest sends as a whole the other cannot receive, and the bridge between them drops it "
        "silently."
    ),
    source="RFC 4821; Linux, bridge(8)",
    fix="give all NICs of a network the same MTU, best as `mtu` of the network",
    bad="""\
vms:
  a: {nics: [{network: lan, mtu: 9000}]}
  b: {nics: [{network: lan, mtu: 1500}]}
""",
    good="""\
vms:
  a: {nics: [{network: lan, mtu: 9000}]}
  b: {nics: [{network: lan, mtu: 9000}]}
""",
    check=check,
)
