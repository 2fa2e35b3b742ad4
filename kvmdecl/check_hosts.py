"""What hosts set aside, held against what they have: CPUs that are not there, cores in halves, too many vCPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.text import set_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedHost, ResolvedVm
    from kvmdecl.facts import HostFacts

USUAL = 4
"""vCPUs for each CPU beyond which guests are known to wait for each other."""


def check_hosts(placed: PlacedCluster, facts: Mapping[str, HostFacts]) -> Iterator[Diagnostic]:
    """Judge each host whose facts are known."""
    floating: dict[str, int] = {}
    for vm in placed.vms:
        if vm.host is not None and vm.state != "absent":
            floating[vm.host] = floating.get(vm.host, 0) + _floating(vm)
    for host in placed.cluster.hosts:
        if host.name in facts:
            yield from _check_dedicated(host, facts[host.name])
            yield from _check_overcommit(host, facts[host.name], floating.get(host.name, 0))


def _floating(vm: ResolvedVm) -> int:
    """How many of its vCPUs have no CPU for themselves."""
    return vm.cpus - sum(cpus.isdecimal() for cpus in vm.spec.cpus.pinned.values())


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


def _check_overcommit(host: ResolvedHost, facts: HostFacts, vcpus: int) -> Iterator[Diagnostic]:
    """A bound of its own, where the manifest gives one, is what its author means."""
    cpus = max(0, len({cpu.id for cpu in facts.cpus} - host.dedicated) - host.reserved_cpus)
    if vcpus > USUAL * cpus and vcpus > host.overcommit * cpus:
        yield Diagnostic(
            "check.cpus-overcommitted",
            f"the guests of {host.name} have {vcpus} vCPUs on {cpus} CPU{'s' * (cpus != 1)}",
            host.origin.at,
            f"With more than {USUAL} for each CPU guests wait for each other even when none is very busy.",
            "put some on other hosts, set fewer CPUs aside, or say `overcommit:` if you know that they are idle",
            severity=Severity.WARNING,
            subject=f"host/{host.name}",
        )
