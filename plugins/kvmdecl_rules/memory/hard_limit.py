"""A hard limit hardly above the guest's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_ROOM = 512 * 1024**2


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("memory.hard_limit"):
        memory = vm.spec.memory
        if memory.hard_limit is not None and memory.hard_limit < memory.most + _ROOM:
            limit = format_size(memory.hard_limit)
            yield Finding(
                vm,
                "memory.hard_limit",
                f"{vm.name} has {format_size(memory.most)}, and QEMU is killed at {limit}",
            )


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
