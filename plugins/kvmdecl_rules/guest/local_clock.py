"""A clock in local time for a system that keeps UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("clock"):
        if vm.spec.os in {"linux", "bsd"} and vm.spec.clock == "localtime":
            yield Finding(
                vm,
                "clock",
                f"{vm.name} is {vm.spec.os}, and its clock is local time",
                change=Change("clock", None),
            )


RULE = Rule(
    code="guest.local-clock",
    title="a clock in local time for a system that keeps UTC",
    severity=Severity.WARNING,
    why=(
        "Linux and the BSDs take the machine's clock for UTC. The guest is hours wrong when it starts, "
        "and at each change of daylight saving."
    ),
    source="libvirt, formatdomain, clock offset",
    fix="leave `clock` out",
    bad="""\
vms:
  web: {clock: localtime}
""",
    good="""\
vms:
  web: {}
""",
    check=check,
)
