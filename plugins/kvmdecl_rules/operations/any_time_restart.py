"""A change may restart the guest at any time of the day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        if vm.spec.restart == "now":
            yield Finding(vm, "restart", f"{vm.name} may be restarted by any apply")


RULE = Rule(
    code="operations.any-time-restart",
    title="a change may restart the guest at any time of the day",
    severity=Severity.INFO,
    why=(
        "`restart: now` lets every apply that needs it restart the guest, whoever made the change and "
        "whenever it is merged."
    ),
    source="this manual, docs/fidelity.md",
    fix="say `restart: scheduled`, and apply in a window",
    bad="""\
vms:
  web: {restart: now}
""",
    good="""\
vms:
  web: {restart: scheduled}
""",
    check=check,
)
