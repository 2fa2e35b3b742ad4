"""No console for the day when the network does not work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("serial"):
        if not vm.spec.serial.enabled and not vm.spec.graphics.screens and not vm.spec.consoles:
            yield Finding(vm, "serial", f"{vm.name} has neither a serial nor a graphical console")


RULE = Rule(
    code="guest.no-console",
    title="no console for the day when the network does not work",
    severity=Severity.WARNING,
    why=(
        "Without a serial and a graphical console nobody sees why a guest does not boot, or logs in to "
        "mend its network."
    ),
    source="libvirt, formatdomain, serial and console",
    fix="leave `serial` out, or add `graphics: vnc`",
    bad="""\
vms:
  web: {serial: false}
""",
    good="""\
vms:
  web: {}
""",
    check=check,
)
