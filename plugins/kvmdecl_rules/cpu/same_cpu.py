"""Two guests have their vCPUs pinned to one CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find the second of two, and who is on a CPU that its host sets aside."""
    first: dict[tuple[str, str], str] = {}
    for vm in site.saying("cpus.pins"):
        host = vm.spec.host
        if host is None or vm.state != "running":
            continue
        aside = site.hosts[host].dedicated if host in site.hosts else ()
        for pin in {pin for pin in vm.spec.cpus.pinned.values() if pin.isdecimal()}:
            other = first.setdefault((host, pin), vm.name)
            if other != vm.name:
                yield Finding(vm, "cpus.pins", f"{vm.name} and {other} are both on CPU {pin} of {host}")
            elif int(pin) in aside:
                yield Finding(
                    vm, "cpus.pins", f"{vm.name} is on CPU {pin}, which {host} sets aside for others"
                )


RULE = Rule(
    code="cpu.same-cpu",
    title="two guests have their vCPUs pinned to one CPU",
    severity=Severity.WARNING,
    why=(
        "A pin to one CPU says that the vCPU has it for itself. With two on it each gets half, and waits "
        "for the other at the worst time: while that one holds a lock. A CPU that the host sets aside is "
        "given to one guest by placement, which knows nothing of who pins another to it."
    ),
    source="libvirt, formatdomain, vcpupin; Red Hat, Virtualization Tuning and Optimization Guide, vCPU pinning",
    fix="give each its own CPUs, or let placement do it (`policy: dedicated`)",
    bad="""\
vms:
  a: {host: kvm-1, cpus: {count: 1, pins: "2"}, numa: "0"}
  b: {host: kvm-1, cpus: {count: 1, pins: "2"}, numa: "0"}
""",
    good="""\
vms:
  a: {host: kvm-1, cpus: {count: 1, pins: "2"}, numa: "0"}
  b: {host: kvm-1, cpus: {count: 1, pins: "3"}, numa: "0"}
""",
    check=check,
)
