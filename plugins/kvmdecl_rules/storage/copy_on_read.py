"""A disk copies what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, disk in site.disks(lambda disk: disk.copy_on_read):
        yield Finding(vm, f"{disk.key}.copy_on_read", f"{disk.name} of {vm.name} grows as it is read")


RULE = Rule(
    code="storage.copy-on-read",
    title="a disk copies what it reads",
    severity=Severity.INFO,
    why=(
        "`copy_on_read` writes each block that comes from the image into the guest's file. That serves an "
        "image on a slow server once; afterwards the file holds the whole image."
    ),
    source="libvirt, formatdomain, driver copy_on_read",
    fix="leave it out, or say `full_copy: true`",
    bad="""\
vms:
  web: {disks: {data: {size: 1GiB, copy_on_read: true}}}
""",
    good="""\
vms:
  web: {disks: {data: {size: 1GiB}}}
""",
    check=check,
)
