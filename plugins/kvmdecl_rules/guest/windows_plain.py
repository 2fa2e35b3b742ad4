"""Windows does not know that it is a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("os"):
        if vm.spec.os.startswith("windows") and not (vm.spec.hyperv and vm.spec.hyperv.enabled):
            yield Finding(
                vm, "hyperv", f"{vm.name} has no Hyper-V enlightenments", change=Change("hyperv", None)
            )


RULE = Rule(
    code="guest.windows-plain",
    title="Windows does not know that it is a guest",
    severity=Severity.WARNING,
    why=(
        "Without Hyper-V's enlightenments Windows polls emulated timers and interrupts: an idle guest "
        "keeps a tenth of a CPU busy, and watchdogs bite under load."
    ),
    source="QEMU, docs/system/i386/hyperv.rst; libvirt, formatdomain, hyperv",
    fix="leave `hyperv` out, and all of them that help are on",
    bad="""\
vms:
  desk: {os: windows, hyperv: {enabled: false}, disks: {data: {size: 10GiB, bus: virtio}}}
""",
    good="""\
vms:
  desk: {os: windows, disks: {data: {size: 10GiB, bus: virtio}}}
""",
    check=check,
)
