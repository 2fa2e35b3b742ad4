"""A cluster manager is to move a guest that cannot move while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity
from kvmdecl_rules.moving import holders_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("ha"):
        if vm.spec.ha is None or not vm.spec.is_ha or not vm.spec.ha.migrate:
            continue
        if holds := list(holders_of(site, vm)):
            yield Finding(
                vm, holds[0].key, f"{vm.name} stays where it is: {'; '.join(h.what for h in holds)}"
            )


RULE = Rule(
    code="operations.ha-cannot-move",
    title="a cluster manager is to move a guest that cannot move while it runs",
    severity=Severity.WARNING,
    why=(
        "Pacemaker tries to migrate it whenever its host is emptied, and that fails after a while; only "
        "then it is stopped and started again, and nobody had planned for its being away."
    ),
    source="libvirt, Guest migration; Pacemaker Explained, migrating resources (allow-migrate)",
    fix="say `ha: {migrate: false}`, or leave out what holds it",
    bad="""\
vms:
  db: {ha: true, timers: {tsc: {frequency: 2400000000}}, shared_memory: {ring: 4MiB}}
""",
    good="""\
vms:
  db: {ha: {migrate: false}, timers: {tsc: {frequency: 2400000000}}, shared_memory: {ring: 4MiB}}
""",
    check=check,
)
