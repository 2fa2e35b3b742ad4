"""A guest with dedicated CPUs is behind a bridge of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms if any(vm.spec.cpus.policy == "dedicated" for vm in site.vms) else ():
        for number, nic in enumerate(vm.nics) if vm.spec.cpus.policy == "dedicated" else ():
            if nic.network in site.networks and site.networks[nic.network].spec.mode == "bridge":
                yield Finding(
                    vm, f"nics.{number}", f"NIC {number} of {vm.name} is behind the bridge of {nic.network}"
                )


RULE = Rule(
    code="network.slow-bridge",
    title="a guest with dedicated CPUs is behind a bridge of the host",
    severity=Severity.INFO,
    why=(
        "Each packet passes the host's bridge and a vhost thread. Where CPUs are set aside for latency, a "
        "virtual function of the card (SR-IOV) or macvtap takes both out of the way."
    ),
    source="Red Hat, Virtualization Tuning and Optimization Guide, network",
    fix="use a network of `mode: hostdev` or `mode: macvtap` where the guest need not reach its host",
    bad="""\
vms:
  net: {cpus: {count: 2, policy: dedicated}, nics: [lan]}
""",
    good="""\
networks:
  fast: {mode: macvtap, device: eth1}
vms:
  net: {cpus: {count: 2, policy: dedicated}, nics: [fast]}
""",
    check=check,
)
