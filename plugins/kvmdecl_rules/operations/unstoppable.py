"""A guest that starts again whenever it is switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        if vm.spec.on_poweroff == "restart":
            yield Finding(vm, "on_poweroff", f"{vm.name} starts again when it is switched off")


RULE = Rule(
    code="operations.unstoppable",
    title="a guest that starts again whenever it is switched off",
    severity=Severity.WARNING,
    why=(
        "With `on_poweroff: restart` neither its own users nor a shutdown of the host ends it: it boots "
        "again until it is killed."
    ),
    source="libvirt, formatdomain, on_poweroff",
    fix="leave `on_poweroff` out; `on_crash: restart` is for crashes",
    bad="""\
vms:
  web: {on_poweroff: restart}
""",
    good="""\
vms:
  web: {on_crash: restart}
""",
    check=check,
)
