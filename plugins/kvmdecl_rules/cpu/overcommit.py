"""More than four vCPUs for each CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity, numbers_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import ResolvedVm, Site


_USUAL = 4
"""vCPUs for each CPU beyond which guests are known to wait for each other."""


def check(site: Site) -> Iterator[Finding]:
    """Find hosts, and cells of hosts. A bound of its own, where the manifest gives one, is what its author means."""
    for host in site.cluster.hosts:
        vms = site.vms_on.get(host.name, ()) if host.name in site.facts else ()
        if not vms:
            continue
        facts, bound = site.facts[host.name], max(_USUAL, host.overcommit)
        cpus = max(0, len({cpu.id for cpu in facts.cpus} - host.dedicated) - host.reserved_cpus)
        vcpus = sum(vm.cpus - _alone(vm) for vm in vms)
        if vcpus > bound * cpus:
            told = f"the guests of {host.name} have {vcpus} vCPUs on {cpus} CPU{'s' * (cpus != 1)}"
            yield Finding(host, "", told)
        pinned = [
            numbers_of(pin) for vm in vms for pin in vm.spec.cpus.pinned.values() if not pin.isdecimal()
        ]
        for cell in facts.cells if pinned and len(facts.cells) > 1 else ():
            shared = {cpu.id for cpu in cell.cpus} - host.dedicated
            there = sum(pin <= shared for pin in pinned)
            if there > bound * len(shared):
                yield Finding(
                    host,
                    "",
                    f"{there} vCPUs are pinned to the {len(shared)} CPUs of cell {cell.id} of {host.name}",
                )


def _alone(vm: ResolvedVm) -> int:
    """How many of its vCPUs have a CPU for themselves."""
    cpus = vm.spec.cpus
    if cpus.policy == "dedicated":
        return vm.cpus
    if cpus.dedicated is not None:
        return len(numbers_of(cpus.dedicated))
    return sum(pin.isdecimal() for pin in cpus.pinned.values())


RULE = Rule(
    code="cpu.overcommit",
    title="more than four vCPUs for each CPU",
    severity=Severity.WARNING,
    why=(
        "A guest with several vCPUs waits until the host has time for those that hold its locks; beyond "
        "four vCPUs for each CPU that shows even when no guest is very busy. CPUs that are set aside or "
        "reserved do not count, nor vCPUs that have a CPU for themselves. Guests that are pinned to a NUMA "
        "cell share that cell's CPUs alone."
    ),
    source="Red Hat, Virtualization Tuning and Optimization Guide; OpenStack Nova, cpu_allocation_ratio",
    fix="put some guests on other hosts, set fewer CPUs aside, or say `overcommit: 8` of a host whose guests idle",
    bad="""\
vms:
  a: {host: kvm-1, cpus: 40}
  b: {host: kvm-1, cpus: 40}
""",
    good="""\
vms:
  a: {host: kvm-1, cpus: 30}
  b: {host: kvm-1, cpus: 30}
""",
    check=check,
    needs_hosts=True,
)
