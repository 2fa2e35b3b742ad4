"""A serial console listens to the network."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for key in "serials", "consoles":
        for vm in site.saying(key):
            for number, device in enumerate(getattr(vm.spec, key)):
                listens = (
                    device.type in {"tcp", "udp"} and device.mode != "client" and device.address is not None
                )
                if listens and not ip_address(device.address or "").is_loopback:
                    yield Finding(
                        vm,
                        f"{key}.{number}.address",
                        f"whoever reaches {device.address} has a console of {vm.name}",
                    )


RULE = Rule(
    code="security.open-serial",
    title="a serial console listens to the network",
    severity=Severity.WARNING,
    why=(
        "Whoever reaches the port has the console of the guest, in clear text and without a password. "
        "Many systems give a root shell there in single-user mode."
    ),
    source="libvirt, formatdomain, serial type tcp",
    fix="listen on 127.0.0.1 and use a tunnel, or leave the console to `virsh console`",
    bad="""\
vms:
  web: {serials: [{type: tcp, address: 0.0.0.0, port: 2323, mode: server}]}
""",
    good="""\
vms:
  web: {serials: [{type: tcp, address: 127.0.0.1, port: 2323, mode: server}]}
""",
    check=check,
)
