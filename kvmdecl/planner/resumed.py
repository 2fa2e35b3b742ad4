"""What is left of a run that did not come to its end: the plan that was agreed to, without what is done."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from kvmdecl.libvirt_xml.fingerprint import fingerprint
from kvmdecl.plan import Plan, Step
from kvmdecl.planner.saved import observed_at, plan_again
from kvmdecl.planner.verdict import HostView, host_views
from kvmdecl.state import Address, Observation


def resumed(
    plan: Plan,
    done: Collection[Address],
    begun: Collection[Address],
    observations: Mapping[str, Observation],
) -> Plan:
    """The plan of a run without its steps that are done.

    A step that was begun, and of which nobody knows how it ended, is planned again from its task: what the host did of
    it is not done twice. The others stay as they were agreed to, and hosts refuse those whose objects moved meanwhile.

    Args:
        plan: of the run.
        done: steps that the run knows to be done.
        begun: steps that it began.
        observations: of all hosts of the plan, now.
    """
    views = host_views(plan.cluster, plan.revision, observations)
    left = {step.address: step for step in _left(plan, done, begun, views)}
    steps = (
        replace(step, after=tuple(address for address in step.after if address in left))
        for step in left.values()
    )
    return replace(plan, steps=tuple(steps))


def _left(
    plan: Plan, done: Collection[Address], begun: Collection[Address], views: Mapping[str, HostView]
) -> Iterator[Step]:
    for step in plan.steps:
        if step.address in done:
            continue
        if not views.keys() >= set(step.hosts) or step.address not in begun:
            yield step
            continue
        observed = observed_at(step.seat, views[step.seat.host])
        if fingerprint(observed) == step.precondition:
            yield step
        elif again := plan_again(step, observed, views).step:
            yield replace(again, after=step.after, at=step.at)
