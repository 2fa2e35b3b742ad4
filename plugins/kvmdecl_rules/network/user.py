"""A NIC without a network of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, number, _ in site.nics(lambda nic: nic.user is not None):
        yield Finding(vm, f"nics.{number}.user", f"NIC {number} of {vm.name} has user networking")


RULE = Rule(
    code="network.user",
    title="a NIC without a network of the host",
    severity=Severity.WARNING,
    why=(
        "User networking translates every packet in a process. It is slow, nobody reaches the guest but "
        "by ports that are forwarded, and the guest reaches the host's own services."
    ),
    source="QEMU, docs/system/devices/net.rst (user mode); libvirt, formatdomain, interface type user",
    fix="plug it into a network (`nics: [lan]`)",
    bad="""\
vms:
  web: {nics: [{user: slirp}]}
""",
    good="""\
vms:
  web: {nics: [lan]}
""",
    check=check,
)
