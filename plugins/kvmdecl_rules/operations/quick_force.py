"""A guest is switched off before it can have shut down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_LEAST = 30


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("shutdown"):
        shutdown = vm.spec.shutdown
        if shutdown.force and shutdown.timeout < _LEAST:
            told = f"{vm.name} is switched off after {shutdown.timeout} seconds"
            yield Finding(vm, "shutdown", told, proposal=(Change("shutdown.timeout", "2m"),))


RULE = Rule(
    code="operations.quick-force",
    title="a guest is switched off before it can have shut down",
    severity=Severity.WARNING,
    why=(
        "`shutdown: {force: true}` pulls the plug when the time is over. With less than half a minute "
        "that is in the middle of an ordinary shutdown, and databases recover for longer than they would "
        "have needed."
    ),
    source="libvirt, virDomainDestroyFlags",
    fix="give it a timeout of a minute or more",
    bad="""\
vms:
  db: {shutdown: {timeout: 10s, force: true}}
""",
    good="""\
vms:
  db: {shutdown: {timeout: 2m, force: true}}
""",
    check=check,
)
