"""A tenant may run guests of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms if site.has_tenants else ():
        if vm.spec.cpus.nested is True:
            yield Finding(
                vm, "cpus.nested", f"{vm.name} may run guests", change=Change("cpus.nested", "false")
            )


RULE = Rule(
    code="security.nested-tenants",
    title="a tenant may run guests of its own",
    severity=Severity.WARNING,
    why=(
        "Nested virtualisation hands the guest large parts of KVM that are otherwise out of its reach, "
        "and most escapes from KVM of the last years were found there."
    ),
    source="Linux kernel, Documentation/virt/kvm/x86/running-nested-guests.rst",
    fix="leave `nested` out",
    bad="""\
rules: {tenancy: shared, ignore: [security.no-limits]}
vms:
  shop: {cpus: {count: 1, nested: true}, memory: {size: 1GiB, ksm: false}}
""",
    good="""\
rules: {tenancy: shared, ignore: [security.no-limits]}
vms:
  shop: {memory: {size: 1GiB, ksm: false}}
""",
    check=check,
)
