"""What hosts set aside, held against what they have: CPUs that are not there, and cores in halves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.text import set_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedHost
    from kvmdecl.facts import HostFacts


def check_hosts(placed: PlacedCluster, facts: Mapping[str, HostFacts]) -> Iterator[Diagnostic]:
    """Judge each host whose facts are known."""
    for host in placed.cluster.hosts:
        if host.name in facts:
            yield from _check_dedicated(host, facts[host.name])


def _check_dedicated(host: ResolvedHost, facts: HostFacts) -> Iterator[Diagnostic]:
    at = host.origin.find("dedicated")
    online = {cpu.id: cpu for cpu in facts.cpus}
    if lacking := host.dedicated - online.keys():
        yield Diagnostic(
            "check.no-host-cpu",
            f"{host.name} has no CPU {set_of(lacking)}",
            at,
            f"Its CPUs are {set_of(online)}.",
            "name CPUs that it has, and that are online",
            subject=f"host/{host.name}",
        )
    halves = {
        cpu
        for cpu in host.dedicated & online.keys()
        if any(other in online and other not in host.dedicated for other in online[cpu].siblings)
    }
    if halves:
        yield Diagnostic(
            "check.split-core",
            f"{host.name} sets aside CPUs {set_of(halves)} and not the other threads of their cores",
            at,
            "What runs on those slows the guest that has a CPU for itself, and no guest gets such a core as a whole.",
            f"set aside whole cores: `{set_of(host.dedicated | _siblings(halves, facts))}`, or fewer",
            severity=Severity.WARNING,
            subject=f"host/{host.name}",
        )


def _siblings(cpus: set[int], facts: HostFacts) -> set[int]:
    online = {cpu.id for cpu in facts.cpus}
    return {other for cpu in facts.cpus if cpu.id in cpus for other in cpu.siblings} & online
