"""Host and guest cannot talk over macvtap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    islands = {network.name for network in site.cluster.networks if network.spec.mode == "macvtap"}
    for vm in site.vms:
        if vm.nics and all(nic.spec.device is not None or nic.network in islands for nic in vm.nics):
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
