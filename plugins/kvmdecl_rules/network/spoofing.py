"""A tenant's NIC may claim any address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms if site.has_tenants else ():
        for number, nic in enumerate(vm.nics):
            if nic.spec.filter is None and nic.is_bridge:
                yield Finding(vm, f"nics.{number}", f"NIC {number} of {vm.name} may claim others' addresses")


RULE = Rule(
    code="network.spoofing",
    title="a tenant's NIC may claim any address",
    severity=Severity.WARNING,
    why=(
        "On a bridge every guest sees the broadcasts of all, and may answer for others' addresses: it "
        "takes their traffic over with one ARP packet."
    ),
    source="libvirt, firewall and network filtering (clean-traffic)",
    fix="add `filter: clean-traffic`",
    bad="""\
rules: {tenancy: shared}
vms:
  shop: {nics: [lan]}
""",
    good="""\
rules: {tenancy: shared}
vms:
  shop: {nics: [{network: lan, filter: clean-traffic}]}
""",
    check=check,
)
