"""A BIOS boots from a disk of more than 2TiB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_MOST = 2 * 1024**4


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        root = vm.spec.disk
        if vm.spec.firmware.type == "bios" and root is not None and (root.size or 0) > _MOST:
            yield Finding(vm, "disk", f"{vm.name} boots by BIOS from {format_size(root.size or 0)}")


RULE = Rule(
    code="guest.bios-large-disk",
    title="a BIOS boots from a disk of more than 2TiB",
    severity=Severity.WARNING,
    why=(
        "A BIOS reads a partition table that ends at 2TiB. What lies beyond cannot be used on the disk "
        "that it boots from, and resizing into it loses the guest."
    ),
    source="UEFI specification, MBR limits",
    fix="say `firmware: uefi` for a new guest, or keep large data on a disk of its own",
    bad="""\
vms:
  db: {image: debian-13, disk: 3TiB}
""",
    good="""\
vms:
  db: {image: debian-13, disk: 20GiB, disks: {data: 3TiB}}
""",
    check=check,
)
