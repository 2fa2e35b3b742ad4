"""A balloon is to give back memory that cannot be given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity, format_size
from kvmdecl_rules.passing import has_passed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import ResolvedVm, Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("memory.max"):
        memory = vm.spec.memory
        if memory.most > memory.size and vm.spec.balloon.enabled and (why := _why(site, vm)):
            told = f"{vm.name} has a balloon of {format_size(memory.most)}, and its memory {why}"
            yield Finding(vm, "memory.max", told, proposal=(Change("memory.max", None),))
    for vm in site.saying("balloon"):
        if vm.spec.balloon.free_page_reporting and (why := _why(site, vm)):
            told = f"{vm.name} reports free pages, and its memory {why}"
            key = "balloon.free_page_reporting"
            yield Finding(vm, key, told, proposal=(Change(key, "false"),))


def _why(site: Site, vm: ResolvedVm) -> str:
    """What holds its memory; empty if nothing does. A device may write to any of it, so all of it is mapped for it."""
    spec = vm.spec
    if spec.memory.pages:
        return "is on huge pages"
    if spec.memory.locked:
        return "is locked"
    return "is used by a passed device" if has_passed(site, vm) else ""


RULE = Rule(
    code="memory.stiff-balloon",
    title="a balloon is to give back memory that cannot be given back",
    severity=Severity.WARNING,
    why=(
        "Memory that is locked, on huge pages or used by a passed device stays with the host's page "
        "tables of the guest, from its start: as much as `max` says. The balloon takes it from the guest, and "
        "the host does not get it."
    ),
    source="QEMU, ram_block_discard_disable in hw/vfio and util/mlock; libvirt, formatdomain, memballoon",
    fix="leave `memory.max` out and give the guest what it needs, or let it grow by modules of `virtio-mem`",
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
