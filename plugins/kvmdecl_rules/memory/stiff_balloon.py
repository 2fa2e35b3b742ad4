"""A balloon is to give back memory that cannot be given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("memory.max"):
        memory = vm.spec.memory
        if memory.max is None or memory.max <= memory.size or not vm.spec.balloon.enabled:
            continue
        passed = any(device.pci is not None for device in vm.spec.hostdevs)
        why = (
            "is on huge pages"
            if memory.pages
            else "is locked"
            if memory.locked
            else "is used by a passed device"
        )
        if memory.pages or memory.locked or passed:
            yield Finding(
                vm,
                "memory.max",
                f"{vm.name} has a balloon of {format_size(memory.max)}, and its memory {why}",
            )


RULE = Rule(
    code="memory.stiff-balloon",
    title="a balloon is to give back memory that cannot be given back",
    severity=Severity.WARNING,
    why=(
        "Memory that is locked, on huge pages or used by a passed device stays with the host's page "
        "tables of the guest. The balloon takes it from the guest, and the host does not get it."
    ),
    source="QEMU, ram_block_discard_disable in hw/vfio and util/mlock; libvirt, formatdomain, memballoon",
    fix="leave `memory.max` out and give the guest what it needs",
    bad="""\
vms:
  db: {memory: {size: 2GiB, max: 8GiB, pages: 2MiB}}
""",
    good="""\
vms:
  db: {memory: {size: 8GiB, pages: 2MiB}}
""",
    check=check,
)
