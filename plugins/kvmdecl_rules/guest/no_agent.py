"""A guest without the channel of its agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        if not vm.spec.agent:
            yield Finding(
                vm, "agent", f"{vm.name} has no channel for its agent", change=Change("agent", None)
            )


RULE = Rule(
    code="guest.no-agent",
    title="a guest without the channel of its agent",
    severity=Severity.INFO,
    why=(
        "Without it nobody can ask the guest for its addresses, freeze its file systems for a snapshot, "
        "set its time after a pause, or wait until it is up."
    ),
    source="QEMU guest agent; libvirt, formatdomain, channel org.qemu.guest_agent.0",
    fix="leave `agent` out",
    bad="""\
vms:
  web: {agent: false}
""",
    good="""\
vms:
  web: {}
""",
    check=check,
    workloads=("web", "database", "latency", "gpu", "windows", "vdi"),
)
