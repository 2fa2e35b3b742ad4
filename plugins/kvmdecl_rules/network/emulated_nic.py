"""An emulated network card where the guest has virtio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, number, nic in site.nics(lambda nic: nic.model != "virtio" and nic.has_model):
        if vm.spec.os in {"linux", "bsd"}:
            key, told = f"nics.{number}.model", f"NIC {number} of {vm.name} is an emulated {nic.spec.model}"
            yield Finding(vm, key, told, proposal=(Change(key, "virtio"),))


RULE = Rule(
    code="network.emulated-nic",
    title="an emulated network card where the guest has virtio",
    severity=Severity.WARNING,
    why=(
        "Each packet of an e1000 or rtl8139 takes several exits to QEMU, and no vhost helps. A virtio NIC "
        "moves ten times as much with less CPU."
    ),
    source="Red Hat, Virtualization Tuning and Optimization Guide, virtio and vhost-net",
    fix="leave `model` out; one that exists may name its interface in the guest",
    bad="""\
vms:
  web: {nics: [{network: lan, model: e1000e}]}
""",
    good="""\
vms:
  web: {nics: [lan]}
""",
    check=check,
)
