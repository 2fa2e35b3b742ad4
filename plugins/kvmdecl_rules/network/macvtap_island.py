"""Host and guest cannot talk over macvtap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        modes = [site.networks[nic.network].spec.mode for nic in vm.nics if nic.network in site.networks]
        if modes and len(modes) == len(vm.nics) and all(mode == "macvtap" for mode in modes):
            yield Finding(vm, "nics.0", f"{vm.name} has macvtap alone, and cannot reach its host")


RULE = Rule(
    code="network.macvtap-island",
    title="host and guest cannot talk over macvtap",
    severity=Severity.INFO,
    why=(
        "What a guest sends by macvtap leaves through the card and does not come back to the host that it "
        "runs on. Backups, monitoring and DNS on the host are out of reach for it."
    ),
    source="Linux kernel, macvlan; libvirt wiki, Guest can reach outside network but not host",
    fix="use a bridge for what has to reach the host, or give the guest a second NIC",
    bad="""\
networks:
  fast: {mode: macvtap, device: eth1}
vms:
  web: {nics: [fast]}
""",
    good="""\
networks:
  fast: {mode: macvtap, device: eth1}
vms:
  web: {nics: [fast, lan]}
""",
    check=check,
)
