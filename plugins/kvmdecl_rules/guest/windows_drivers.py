"""Windows without virtio drivers at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("os"):
        if not vm.spec.os.startswith("windows") or any("virtio" in cdrom.image for cdrom in vm.cdroms):
            continue
        if any(disk.spec.bus in {"sata", "ide"} for disk in vm.disks):
            told = f"{vm.name} has emulated disks, and no image of the virtio drivers"
            images = [image.name for image in site.cluster.images if "virtio" in image.name]
            drive = (
                (Change("cdroms.drivers", images[0]),) if images and "drivers" not in vm.spec.cdroms else ()
            )
            yield Finding(vm, "os", told, proposal=drive)


RULE = Rule(
    code="guest.windows-drivers",
    title="Windows without virtio drivers at hand",
    severity=Severity.WARNING,
    why=(
        "Emulated SATA and e1000e work, at a tenth of the speed and for much more CPU. Without the "
        "drivers on a CD nobody can change over."
    ),
    source="virtio-win, documentation; Red Hat, Virtualization Tuning and Optimization Guide",
    fix=(
        "add the image virtio-win.iso as a cdrom, install the drivers, then say `bus: virtio` and `model: "
        "virtio`"
    ),
    bad="""\
vms:
  desk: {os: windows, disks: {data: 10GiB}}
""",
    good="""\
vms:
  desk: {os: windows, disks: {data: {size: 10GiB, bus: virtio}}, nics: [{network: lan, model: virtio}]}
""",
    check=check,
)
