"""A guest without a source of random numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("rng"):
        if not vm.spec.rng.enabled:
            yield Finding(vm, "rng", f"{vm.name} has no source of random numbers", change=Change("rng", None))


RULE = Rule(
    code="guest.no-entropy",
    title="a guest without a source of random numbers",
    severity=Severity.WARNING,
    why=(
        "Without virtio-rng a guest collects entropy from interrupts that a virtual machine hardly has. "
        "Keys are made late, or from little."
    ),
    source="libvirt, formatdomain, rng; Linux, random(4)",
    fix="leave `rng` out",
    bad="""\
vms:
  web: {rng: false}
""",
    good="""\
vms:
  web: {}
""",
    check=check,
)
