"""The time stamp counter has a fixed frequency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("timers"):
        timer = vm.spec.timers.get("tsc")
        if timer is not None and timer.frequency is not None:
            yield Finding(vm, "timers.tsc", f"{vm.name} runs only where the TSC has {timer.frequency} Hz")


RULE = Rule(
    code="guest.fixed-tsc",
    title="the time stamp counter has a fixed frequency",
    severity=Severity.WARNING,
    why=(
        "A guest with a fixed TSC starts, and migrates, only to hosts whose TSC has just that frequency "
        "or can be scaled."
    ),
    source="libvirt, formatdomain, timer tsc frequency",
    fix="leave `frequency` out, unless all hosts are of one model",
    bad="""\
vms:
  web: {timers: {tsc: {frequency: 2400000000}}}
""",
    good="""\
vms:
  web: {}
""",
    check=check,
)
