"""Windows with a clock in UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("os"):
        if vm.spec.os.startswith("windows") and vm.spec.clock == "utc":
            yield Finding(
                vm, "clock", f"{vm.name} is Windows, and its clock is in UTC", change=Change("clock", None)
            )


RULE = Rule(
    code="guest.windows-clock",
    title="Windows with a clock in UTC",
    severity=Severity.WARNING,
    why=(
        "Windows takes the machine's clock for local time. The guest is hours wrong after each start "
        "until it asks a time server, and Kerberos refuses its logins."
    ),
    source="libvirt, formatdomain, clock offset localtime",
    fix="leave `clock` out",
    bad="""\
vms:
  desk: {os: windows, clock: utc, disks: {data: {size: 10GiB, bus: virtio}}}
""",
    good="""\
vms:
  desk: {os: windows, disks: {data: {size: 10GiB, bus: virtio}}}
""",
    check=check,
)
