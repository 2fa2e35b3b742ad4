"""Write errors of a disk are hidden from the guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, disk in site.disks(lambda disk: disk.error_policy == "ignore"):
        key, told = f"{disk.key}.error_policy", f"{vm.name} does not learn that writing {disk.name} failed"
        yield Finding(vm, key, told, proposal=(Change(key, "stop"),))


RULE = Rule(
    code="storage.ignored-errors",
    title="write errors of a disk are hidden from the guest",
    severity=Severity.WARNING,
    why=(
        "With `error_policy: ignore` the guest is told that data was written which was not. It goes on "
        "with a disk that lacks it."
    ),
    source="libvirt, formatdomain, driver error_policy",
    fix="say `stop` (the guest waits until the disk is well) or `report`",
    bad="""\
vms:
  web: {disks: {data: {size: 1GiB, error_policy: ignore}}}
""",
    good="""\
vms:
  web: {disks: {data: {size: 1GiB, error_policy: stop}}}
""",
    check=check,
)
