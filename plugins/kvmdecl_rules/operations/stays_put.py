"""A guest cannot move while it runs, and does not say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity
from kvmdecl_rules.moving import holders_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them, with all that holds it; of `ha` guests Pacemaker's checks and another rule tell."""
    free = [vm for vm in site.vms if vm.spec.host is None and vm.spec.ha is None]
    for vm in free if len(site.cluster.hosts) > 1 else ():
        if holds := list(holders_of(site, vm)):
            yield Finding(
                vm, holds[0].key, f"{vm.name} stays where it is: {'; '.join(h.what for h in holds)}"
            )


RULE = Rule(
    code="operations.stays-put",
    title="a guest cannot move while it runs, and does not say so",
    severity=Severity.INFO,
    why=(
        "When its host is to be emptied for an update the guest has to be off for as long as that takes. "
        "Somebody should know before that day: a guest that names its `host` says so."
    ),
    source="libvirt, Guest migration; QEMU, docs/devel/migration/main.rst (migration blockers)",
    fix="leave out what holds it, or name its `host`",
    bad="""\
hosts:
  kvm-2: qemu+tls://kvm-2.example/system
vms:
  db: {disks: {data: 10GiB}, shared_memory: {ring: 4MiB}}
""",
    good="""\
hosts:
  kvm-2: qemu+tls://kvm-2.example/system
vms:
  db: {host: kvm-2, disks: {data: 10GiB}, shared_memory: {ring: 4MiB}}
""",
    check=check,
)
