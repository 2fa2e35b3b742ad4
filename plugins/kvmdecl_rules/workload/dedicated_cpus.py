"""A guest that must not wait shares its CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import ResolvedHost, Site


_FOR = ("latency",)


def check(site: Site) -> Iterator[Finding]:
    """Find each of them; dedicated CPUs are proposed where a host sets enough of them aside."""
    for vm in site.working(*_FOR):
        cpus = vm.spec.cpus
        if cpus.policy != "shared" or len(cpus.pinned) == cpus.most:
            continue
        told = f"the {vm.cpus} vCPUs of {vm.name} share CPUs with others"
        hosts = [host for host in site.cluster.hosts if vm.spec.host in {None, host.name}]
        if any(len(host.dedicated) >= vm.cpus for host in hosts):
            yield Finding(vm, "cpus", told, proposal=(Change("cpus.policy", "dedicated"),))
        else:
            yield Finding(vm, "cpus", told, _what_first(site, hosts, vm.cpus))


def _what_first(site: Site, hosts: list[ResolvedHost], wanted: int) -> str:
    """Which CPUs could be set aside: whole cores, and not the one of CPU 0, on which the host does its own work."""
    for host in hosts:
        facts = site.facts.get(host.name)
        cores = (
            sorted({cpu.siblings for cpu in facts.cpus if 0 not in cpu.siblings}) if facts is not None else []
        )
        chosen: set[int] = set()
        while cores and len(chosen) < wanted:
            chosen |= set(cores.pop())
        if len(chosen) >= wanted:
            named = ",".join(map(str, sorted(chosen)))
            return f'no host sets that many CPUs aside: say `dedicated: "{named}"` of {host.name} first'
    return "no host sets that many CPUs aside: say `dedicated` of one first, with whole cores"


RULE = Rule(
    code="workload.dedicated-cpus",
    title="a guest that must not wait shares its CPUs",
    severity=Severity.WARNING,
    why=(
        "On a CPU that others use a vCPU waits until they are done, which is milliseconds now and then. "
        "With CPUs of its own nobody is before it, and its memory is beside them."
    ),
    source="OpenStack Nova, hw:cpu_policy=dedicated; Red Hat, Optimizing RHEL for Real Time low latency operation",
    fix="set CPUs aside on a host (`dedicated: ...`) and say `policy: dedicated`",
    bad="""\
rules: {workloads: {net: latency}}
hosts:
  kvm-2: {uri: "qemu+tls://kvm-2.example/system", dedicated: "2-7"}
vms:
  net: {cpus: 4}
""",
    good="""\
rules: {workloads: {net: latency}}
hosts:
  kvm-2: {uri: "qemu+tls://kvm-2.example/system", dedicated: "2-7"}
vms:
  net: {cpus: {count: 4, policy: dedicated}}
""",
    check=check,
    workloads=_FOR,
)
