"""A guest of the host's own architecture is emulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        if vm.spec.type == "qemu" and vm.arch == "x86_64":
            yield Finding(vm, "type", f"{vm.name} is emulated")


RULE = Rule(
    code="cpu.emulated",
    title="a guest of the host's own architecture is emulated",
    severity=Severity.INFO,
    why=(
        "`type: qemu` translates every instruction. The guest is ten to fifty times slower than with KVM, "
        "and keeps a CPU of the host busy for work that would take a moment."
    ),
    source="QEMU, docs/system/introduction.rst (accelerators)",
    fix="leave `type` out for KVM, or accept it for tests",
    bad="""\
vms:
  web: {type: qemu}
""",
    good="""\
vms:
  web: {}
""",
    check=check,
)
