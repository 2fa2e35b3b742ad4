"""A gate asks an agent that a guest has no channel for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity, is_member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import ResolvedVm, Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them; a gate that names no vms asks those of its wave."""
    rollout = site.cluster.rollout
    asked = [gate.vms for gate in rollout.gates if gate.check == "agent"] if rollout is not None else []
    if not asked:
        return
    for vm in site.saying("agent"):
        if not vm.spec.agent and vm.state == "running" and any(_asks(names, vm) for names in asked):
            told = f"{vm.name} has no channel for the agent that a gate waits for"
            yield Finding(vm, "agent", told, change=Change("agent", None))


def _asks(names: tuple[str, ...], vm: ResolvedVm) -> bool:
    return not names or any(is_member(vm.name, name) for name in names)


RULE = Rule(
    code="guest.deaf-gate",
    title="a gate asks an agent that a guest has no channel for",
    severity=Severity.WARNING,
    why=(
        "The gate cannot know whether the guest is up, so a rollout stops after the first wave that has this "
        "guest, inconclusive, whenever something is changed."
    ),
    source="QEMU guest agent; libvirt, formatdomain, channel org.qemu.guest_agent.0",
    fix="leave `agent` out, or name the vms that the gate asks (`vms:`)",
    bad="""\
rollout: {gates: [agent]}
vms:
  web: {agent: false}
""",
    good="""\
rollout: {gates: [{check: agent, vms: [db]}]}
vms:
  web: {agent: false}
  db: {}
""",
    check=check,
)
