"""A guest sends raw commands to a disk of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, disk in site.disks(lambda disk: disk.lun and not disk.reservations):
        yield Finding(vm, f"{disk.key}.lun", f"{vm.name} sends raw SCSI commands to {disk.name}")
    for vm in site.saying("hostdevs"):
        for number, device in enumerate(vm.spec.hostdevs):
            if device.scsi is not None and device.scsi.raw_io:
                yield Finding(
                    vm,
                    f"hostdevs.{number}.scsi.raw_io",
                    f"{vm.name} sends raw commands to {device.scsi.adapter}",
                )


RULE = Rule(
    code="security.raw-commands",
    title="a guest sends raw commands to a disk of the host",
    severity=Severity.WARNING,
    why=(
        "`lun` and `raw_io` pass SCSI commands on unfiltered: a guest can reserve, reformat or reflash "
        "what others use too."
    ),
    source="libvirt, formatdomain, device lun and rawio; CVE-2011-4127",
    fix="pass it as an ordinary disk, unless the guest needs reservations of its own",
    bad="""\
vms:
  db: {disks: {data: {source: /dev/mapper/data, format: raw, bus: scsi, lun: true}}}
""",
    good="""\
vms:
  db: {disks: {data: {source: /dev/mapper/data, format: raw, bus: scsi}}}
""",
    check=check,
)
