"""Memory that a guest no longer uses stays with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("web", "vdi")


def check(site: Site) -> Iterator[Finding]:
    """Find each of them whose memory can be given back."""
    for vm in site.working(*_FOR):
        memory, balloon = vm.spec.memory, vm.spec.balloon
        held = memory.pages or memory.locked or vm.spec.devices or vm.spec.hostdevs
        if balloon.enabled and not balloon.free_page_reporting and not held:
            told = f"{vm.name} keeps the memory that it does not use"
            yield Finding(vm, "balloon", told, proposal=(Change("balloon.free_page_reporting", "true"),))


RULE = Rule(
    code="workload.idle-memory",
    title="memory that a guest no longer uses stays with it",
    severity=Severity.WARNING,
    why=(
        "Guests that are busy by day, or in bursts, keep what they once touched. With free page reporting "
        "they hand back what they do not use, page by page, and the host has it for others."
    ),
    source="Linux kernel, mm/page_reporting.c; libvirt, formatdomain, memballoon freePageReporting",
    fix="say `balloon: {free_page_reporting: true}`",
    bad="""\
rules: {workloads: {web: web}}
vms:
  web: {memory: 2GiB}
""",
    good="""\
rules: {workloads: {web: web}}
vms:
  web: {memory: 2GiB, balloon: {free_page_reporting: true}}
""",
    check=check,
    workloads=_FOR,
)
