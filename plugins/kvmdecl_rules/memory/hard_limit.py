"""A hard limit hardly above the guest's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity, format_size
from kvmdecl_rules.passing import has_passed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_ROOM, _LOCKED = 512 * 1024**2, 1024**3
"""What QEMU needs beside the guest's memory, and what libvirt lets it lock beside it for a device."""


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("memory.hard_limit"):
        limit, most = vm.spec.memory.hard_limit, vm.spec.memory.most
        is_passed = has_passed(site, vm)
        if limit is not None and limit < most + (_LOCKED if is_passed else _ROOM):
            told = f"{vm.name} has {format_size(most)}, and QEMU is killed at {format_size(limit)}"
            if is_passed:
                told += ", and may lock no more for its device, for which libvirt reckons with 1GiB beside it"
            yield Finding(vm, "memory.hard_limit", told)


RULE = Rule(
    code="memory.hard-limit",
    title="a hard limit hardly above the guest's memory",
    severity=Severity.WARNING,
    why=(
        "The limit counts all of QEMU: video memory, disk caches, threads, migration. When it is reached "
        "the kernel kills QEMU, which is the guest's power cut. How much QEMU needs depends on its "
        "version and devices."
    ),
    source="libvirt, formatdomain, memtune hard_limit (which advises against guessing one)",
    fix="leave `hard_limit` out, or set it at least a quarter and 512MiB above the memory",
    bad="""\
vms:
  db: {memory: {size: 4GiB, hard_limit: 4200MiB}}
""",
    good="""\
vms:
  db: {memory: {size: 4GiB, hard_limit: 6GiB}}
""",
    check=check,
)
