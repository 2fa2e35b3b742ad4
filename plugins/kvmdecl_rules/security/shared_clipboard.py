"""Tenants and whoever watches their consoles share a clipboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms if site.has_tenants else ():
        screen = vm.spec.graphics
        if screen.type == "spice" and (screen.clipboard is not False or screen.file_transfer is not False):
            told = f"the clipboard of {vm.name} is shared with who watches it"
            shut = (Change("graphics.clipboard", "false"), Change("graphics.file_transfer", "false"))
            yield Finding(vm, "graphics", told, proposal=shut)


RULE = Rule(
    code="security.shared-clipboard",
    title="tenants and whoever watches their consoles share a clipboard",
    severity=Severity.WARNING,
    why=(
        "What an administrator copied last, a password perhaps, is in the guest's clipboard, and files "
        "can be dropped into it."
    ),
    source="SPICE, agent protocol; libvirt, formatdomain, graphics clipboard and filetransfer",
    fix="say `clipboard: false, file_transfer: false`",
    bad="""\
rules: {tenancy: shared, ignore: [security.no-limits]}
vms:
  desk: {memory: {size: 1GiB, ksm: false}, graphics: spice}
""",
    good="""\
rules: {tenancy: shared, ignore: [security.no-limits]}
vms:
  desk: {memory: {size: 1GiB, ksm: false}, graphics: {type: spice, clipboard: false, file_transfer: false}}
""",
    check=check,
)
