"""A running guest that stays down after its host's next boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("autostart"):
        if vm.state == "running" and not vm.spec.autostart:
            told = f"{vm.name} shall run, and does not start with its host"
            yield Finding(vm, "autostart", told, proposal=(Change("autostart", "true"),))


RULE = Rule(
    code="operations.stays-down",
    title="a running guest that stays down after its host's next boot",
    severity=Severity.WARNING,
    why=(
        "`autostart: false` of a guest that shall run means that somebody has to start it after every "
        "reboot of its host, at three in the morning too."
    ),
    source="libvirt, virDomainSetAutostart",
    fix="leave `autostart` out, or say `state: stopped` if it is not to run",
    bad="""\
vms:
  web: {autostart: false}
""",
    good="""\
vms:
  web: {}
""",
    check=check,
)
