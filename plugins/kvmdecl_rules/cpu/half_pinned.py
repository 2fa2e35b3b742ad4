"""Some vCPUs are pinned and others are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("cpus.pins"):
        cpus = vm.spec.cpus
        if cpus.policy == "shared" and cpus.pins and len(cpus.pinned) < cpus.most:
            yield Finding(
                vm, "cpus.pins", f"{len(cpus.pinned)} of the {cpus.most} vCPUs of {vm.name} are pinned"
            )


RULE = Rule(
    code="cpu.half-pinned",
    title="some vCPUs are pinned and others are not",
    severity=Severity.WARNING,
    why=(
        "A guest is as fast as the vCPU that it waits for. The ones that float compete with everybody, "
        "and may run on the very CPUs that the others are pinned to."
    ),
    source="Red Hat, Virtualization Tuning and Optimization Guide, vCPU pinning",
    fix="pin all of them, or none",
    bad="""\
vms:
  db: {host: kvm-1, cpus: {count: 4, pins: {0: "2", 1: "3"}}}
""",
    good="""\
vms:
  db: {host: kvm-1, cpus: {count: 2, pins: {0: "2", 1: "3"}}}
""",
    check=check,
)
