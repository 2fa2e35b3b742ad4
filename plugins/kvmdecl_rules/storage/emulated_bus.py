"""A disk on an emulated controller where the guest has virtio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm, disk in site.disks(lambda disk: disk.bus in {"sata", "ide"}):
        if vm.spec.os in {"linux", "bsd"}:
            told = f"{disk.name} of {vm.name} is on emulated {disk.spec.bus.upper()}"
            key = f"{disk.key}.bus"
            yield Finding(vm, key, told, proposal=(Change(key, "virtio"),))


RULE = Rule(
    code="storage.emulated-bus",
    title="a disk on an emulated controller where the guest has virtio",
    severity=Severity.WARNING,
    why=(
        "IDE and SATA are emulated register by register, one request at a time for IDE. Linux and the "
        "BSDs have had virtio drivers for more than ten years."
    ),
    source="Red Hat, Virtualization Tuning and Optimization Guide, virtio; libvirt, formatdomain, target bus",
    fix="say `bus: virtio` for a new guest; one that exists may name its disks in /etc/fstab",
    bad="""\
vms:
  web: {disks: {data: {size: 1GiB, bus: sata}}}
""",
    good="""\
vms:
  web: {disks: {data: {size: 1GiB, bus: virtio}}}
""",
    check=check,
)
