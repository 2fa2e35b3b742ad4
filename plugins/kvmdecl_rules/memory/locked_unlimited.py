"""Locked memory without a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("memory.locked"):
        if vm.spec.memory.locked and vm.spec.memory.hard_limit is None:
            yield Finding(vm, "memory.locked", f"QEMU of {vm.name} may lock all of the host's memory")


RULE = Rule(
    code="memory.locked-unlimited",
    title="locked memory without a limit",
    severity=Severity.WARNING,
    why=(
        "To lock its memory QEMU is allowed to lock as much as there is, since nobody can tell how much "
        "it needs. A guest that makes QEMU use more takes it from the host for good, and nothing of it "
        "can be swapped."
    ),
    source="libvirt, formatdomain, memoryBacking locked (a hard_limit is asked for there)",
    fix="add `hard_limit`, well above the memory",
    bad="""\
vms:
  plc: {memory: {size: 4GiB, locked: true}}
""",
    good="""\
vms:
  plc: {memory: {size: 4GiB, locked: true, hard_limit: 6GiB}}
""",
    check=check,
)
