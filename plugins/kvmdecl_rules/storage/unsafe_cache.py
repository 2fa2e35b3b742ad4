"""A disk says that data is written before it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, disk in site.disks(lambda disk: disk.cache == "unsafe"):
        key, told = f"{disk.key}.cache", f"flushes of {vm.name} to {disk.name} are ignored"
        yield Finding(vm, key, told, proposal=(Change(key, "none"),))


RULE = Rule(
    code="storage.unsafe-cache",
    title="a disk says that data is written before it is",
    severity=Severity.WARNING,
    why=(
        "`cache: unsafe` ignores what the guest flushes. When the host loses power, or QEMU ends, file "
        "systems and databases in the guest are torn in a way that no journal repairs."
    ),
    source="QEMU, docs/system/qemu-block-drivers.rst.inc (cache modes); libvirt, formatdomain, driver cache",
    fix="leave `cache` out, or say `none` or `writeback`",
    bad="""\
vms:
  web: {disks: {data: {size: 1GiB, cache: unsafe}}}
""",
    good="""\
vms:
  web: {disks: {data: {size: 1GiB, cache: writeback}}}
""",
    check=check,
)
