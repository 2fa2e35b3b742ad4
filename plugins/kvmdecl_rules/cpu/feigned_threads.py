"""The guest is shown threads of a core that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("cpus.topology"):
        cpus = vm.spec.cpus
        if (
            cpus.topology is not None
            and cpus.topology.threads > 1
            and cpus.policy == "shared"
            and not cpus.pins
        ):
            yield Finding(
                vm, "cpus.topology", f"{vm.name} is shown {cpus.topology.threads} threads for each core"
            )


RULE = Rule(
    code="cpu.feigned-threads",
    title="the guest is shown threads of a core that are none",
    severity=Severity.WARNING,
    why=(
        "Its scheduler treats two vCPUs as halves of one core and spreads or packs work accordingly, "
        "while on the host they run anywhere. Mitigations that rely on who shares a core protect nothing."
    ),
    source=(
        "Linux kernel, Documentation/admin-guide/hw-vuln/core-scheduling.rst; libvirt, formatdomain, cpu "
        "topology"
    ),
    fix="say `threads: 1` in the topology, or give it real pairs (`policy: dedicated, threads: require`)",
    bad="""\
vms:
  web: {cpus: {count: 4, topology: {cores: 2, threads: 2}}}
""",
    good="""\
vms:
  web: {cpus: {count: 4, topology: {cores: 4}}}
""",
    check=check,
)
