"""Which wave a step belongs to. Pure; the plan's views ask as well as apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic

if TYPE_CHECKING:
    from kvmdecl.plan import Plan, Rollout, Step
    from kvmdecl.state import Address


def waves_of(plan: Plan) -> Mapping[Address, int]:
    """The wave of each step, from 0: the last of its hosts', or a later one if it waits for such. Empty without."""
    if plan.rollout is None:
        return {}
    return step_waves(plan.steps, plan.rollout)


def step_waves(steps: Sequence[Step], rollout: Rollout) -> dict[Address, int]:
    """As `waves_of`, in an order in which every step comes after those that it waits for.

    Where steps wait for each other in a ring, which `apply` refuses, the waves are those of the hosts.
    """
    of_host = {host: number for number, wave in enumerate(rollout.waves) for host in wave.hosts}
    last = len(rollout.waves) - 1
    by_address = {step.address: step for step in steps}
    sorter: TopologicalSorter[Address] = TopologicalSorter()
    for step in steps:
        sorter.add(step.address, *(other for other in step.after if other in by_address))
    try:
        order = list(sorter.static_order())
    except CycleError:
        return {step.address: max(of_host.get(host, last) for host in step.hosts) for step in steps}
    found: dict[Address, int] = {}
    for address in order:
        step = by_address[address]
        waited_for = (found[other] for other in step.after if other in found)
        found[address] = max(*(of_host.get(host, last) for host in step.hosts), *waited_for, 0)
    return found


def spent(plan: Plan) -> Diagnostic | None:
    """Why a plan must not begin: more hosts do not answer than may fail."""
    silent = plan.silent
    if plan.rollout is None or len(silent) <= plan.rollout.max_failed:
        return None
    return Diagnostic(
        code="rollout.budget-spent",
        summary=f"nothing was changed: {', '.join(silent)} did not answer, and at most"
        f" {plan.rollout.max_failed} may fail (`rollout.max_failed`)",
        cause="A rollout goes on only while few enough hosts are in trouble; one that does not answer is.",
        hint="bring them back, or raise `max_failed`.",
    )
