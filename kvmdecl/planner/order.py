"""Which guest is started before which, and stopped after which, over all hosts: `after:` of the manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from kvmdecl.cluster import ResolvedCluster
from kvmdecl.plan import Step
from kvmdecl.state import Address
from kvmdecl.tasks import DefineDomain, DeleteDomain, MoveDomain


def in_turn(cluster: ResolvedCluster, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The same steps, those that start or stop a guest waiting for their turn.

    Only steps of one plan wait for each other: a guest that runs already, or that this plan does not start, is no
    reason to wait. Starts never wait for stops.
    """
    pairs = [(vm.name, other.vm) for vm in cluster.vms for other in vm.spec.after]
    if not pairs:
        return steps
    starts, stops = _by_guest(filter(_is_start, steps)), _by_guest(filter(_is_stop, steps))
    waits: defaultdict[Address, list[Address]] = defaultdict(list)
    for later, earlier in pairs:
        for waiting, first in ((starts[later], starts[earlier]), (stops[earlier], stops[later])):
            for address in waiting:
                waits[address] += first
    return tuple(
        replace(step, after=tuple(dict.fromkeys((*step.after, *waits[step.address]))))
        if step.address in waits
        else step
        for step in steps
    )


def _by_guest(steps: Iterable[Step]) -> defaultdict[str, list[Address]]:
    """Addresses by the guest's name; one may be on two hosts while it is being deleted."""
    found: defaultdict[str, list[Address]] = defaultdict(list)
    for step in steps:
        found[step.address.name].append(step.address)
    return found


def _is_start(step: Step) -> bool:
    return isinstance(step.task, DefineDomain | MoveDomain) and step.task.power in {"start", "restart"}


def _is_stop(step: Step) -> bool:
    if isinstance(step.task, DeleteDomain):
        return step.task.stop
    return isinstance(step.task, DefineDomain | MoveDomain) and step.task.power == "shutdown"
