"""A guest may run guests of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("cpus.nested"):
        if vm.spec.cpus.nested is True and not site.has_tenants:  # of tenants another rule says more
            yield Finding(vm, "cpus.nested", f"{vm.name} may run guests of its own")


RULE = Rule(
    code="cpu.nested",
    title="a guest may run guests of its own",
    severity=Severity.WARNING,
    why=(
        "While a guest runs inside of it, KVM can neither save nor migrate it safely on every CPU and "
        "kernel, and it reaches parts of the CPU that others do not. By default guests are not shown these "
        "features."
    ),
    source="Linux kernel, Documentation/virt/kvm/x86/running-nested-guests.rst",
    fix="leave `nested` out but for tests, or write `nested: host` to have what the CPU model brings",
    bad="""\
vms:
  ci: {cpus: {count: 2, nested: true}}
""",
    good="""\
vms:
  ci: {cpus: {count: 2}}
""",
    check=check,
)
