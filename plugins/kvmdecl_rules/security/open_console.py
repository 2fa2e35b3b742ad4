"""A graphical console that others can reach."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them, unless the manifest says that it shall be so."""
    for vm in site.saying("graphics"):
        for key, screen in (("graphics", vm.spec.graphics), ("graphics.also", vm.spec.graphics.also)):
            if screen is None or screen.type == "none" or screen.expose or not (address := screen.address):
                continue
            if not ip_address(address).is_loopback:
                yield Finding(vm, f"{key}.listen", f"whoever reaches {address} has the console of {vm.name}")


RULE = Rule(
    code="security.open-console",
    title="a graphical console that others can reach",
    severity=Severity.WARNING,
    why=(
        "It asks for no password: whoever reaches the port is in front of the guest's screen, and can "
        "reboot it into a rescue system."
    ),
    source="libvirt, formatdomain, graphics listen; RFC 6143, section security",
    fix="listen on 127.0.0.1 and use a tunnel, or write `expose: true` if it is meant so",
    bad="""\
vms:
  desk: {graphics: {type: vnc, listen: 192.0.2.10}}
""",
    good="""\
vms:
  desk: {graphics: {type: vnc, listen: 127.0.0.1}}
""",
    check=check,
)
