"""A graphical console crosses the network in clear text."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them that is meant to be open (`expose`); of others another rule says more."""
    for vm in site.saying("graphics"):
        for key, screen in (("graphics", vm.spec.graphics), ("graphics.also", vm.spec.graphics.also)):
            if screen is None or screen.type == "none" or not screen.expose:
                continue
            if screen.tls_port is not None or screen.tls is not None:
                continue
            if screen.address is not None and not ip_address(screen.address).is_loopback:
                yield Finding(
                    vm, f"{key}.listen", f"the {screen.type.upper()} console of {vm.name} is in clear text"
                )


RULE = Rule(
    code="security.plain-console",
    title="a graphical console crosses the network in clear text",
    severity=Severity.WARNING,
    why=(
        "Keys that are typed, passwords among them, and the screen can be read and changed by whoever is "
        "on the way."
    ),
    source="libvirt, formatdomain, graphics; RFB protocol (RFC 6143), section security",
    fix="listen on 127.0.0.1 and tunnel it, or add `tls`",
    bad="""\
vms:
  desk: {graphics: {type: vnc, listen: 192.0.2.10, expose: true}}
""",
    good="""\
vms:
  desk: {graphics: {type: vnc, listen: 127.0.0.1}}
""",
    check=check,
)
