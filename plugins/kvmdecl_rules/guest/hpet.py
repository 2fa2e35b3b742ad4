"""The HPET is on for a guest that does not need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("timers"):
        timer = vm.spec.timers.get("hpet") if vm.spec.os != "bsd" else None
        if timer is not None and timer.present:
            yield Finding(vm, "timers.hpet", f"{vm.name} has an HPET", change=Change("timers.hpet", "false"))


RULE = Rule(
    code="guest.hpet",
    title="the HPET is on for a guest that does not need it",
    severity=Severity.WARNING,
    why=(
        "Each look at the HPET is an exit to QEMU, and some guests choose it for their clock and look "
        "thousands of times a second. Linux has kvm-clock, Windows the Hyper-V reference counter."
    ),
    source="Red Hat, Virtualization Deployment and Administration Guide, timer management",
    fix="leave the timer out",
    bad="""\
vms:
  web: {timers: {hpet: true}}
""",
    good="""\
vms:
  web: {}
""",
    check=check,
)
