"""A part of a plan that somebody chose: of hosts, of vms, or of what a change of the manifest is about. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from kvmdecl.plan import Plan, Selection, Step
from kvmdecl.state import Address, Kind
from kvmdecl.tasks import HandOverDomain


@dataclass(frozen=True, slots=True)
class Choice:
    """What to keep of a plan. Each part narrows the others; None is all.

    Attributes:
        by: the same in the words of options.
        hosts: on which something is done; a guest that moves is on both ends of its way.
        vms: with their disks and definitions.
        changed: vms by their names, and addresses of what is no vm's, as `subjects` tells them of another plan.
    """

    by: tuple[str, ...]
    hosts: frozenset[str] | None = None
    vms: frozenset[str] | None = None
    changed: frozenset[str | Address] | None = None

    def takes(self, step: Step) -> bool:
        """Whether a step was chosen. What a cluster manager goes by is about all of its guests, so it is not."""
        return (
            step.address.kind is not Kind.CLUSTER
            and (self.hosts is None or not self.hosts.isdisjoint(step.hosts))
            and (self.vms is None or step.vm in self.vms)
            and (self.changed is None or _subject(step) in self.changed)
        )


def subjects(plan: Plan) -> frozenset[str | Address]:
    """What a plan is about: vms wherever they are, and other objects on their hosts."""
    return frozenset(map(_subject, plan.steps))


def _subject(step: Step) -> str | Address:
    return step.vm or step.address


def selected(plan: Plan, choice: Choice) -> Plan:
    """The chosen steps of a plan and all that they stand on, in their order; its limits are those of the whole."""
    chosen = {step.address for step in plan.steps if choice.takes(step)}
    kept = chosen | _stood_on(plan.steps, chosen | _takers(plan.steps, chosen))
    left = [step.address for step in plan.steps if step.address not in kept]
    left += [Address(member.name, Kind.HOST, "membership") for member in plan.let_go]
    needed = tuple(step.address for step in plan.steps if step.address in kept - chosen)
    steps = tuple(step for step in plan.steps if step.address in kept)
    told = {step.address.host for step in steps if step.address.kind is Kind.CLUSTER}
    managers = tuple(each if each.name in told else replace(each, prospects=()) for each in plan.managers)
    selection = Selection(choice.by, needed, tuple(left))
    return replace(plan, steps=steps, let_go=(), managers=managers, selection=selection)


def _takers(steps: Iterable[Step], chosen: set[Address]) -> set[Address]:
    """What tells cluster managers of guests that libvirt forgets: without, nobody would run them."""
    steps = tuple(steps)
    if not any(isinstance(step.task, HandOverDomain) and step.address in chosen for step in steps):
        return set()
    return {step.address for step in steps if step.address.kind is Kind.CLUSTER}


def _stood_on(steps: Iterable[Step], chosen: set[Address]) -> set[Address]:
    """These steps, and all that must be done before them, however far back."""
    after = {step.address: step.after for step in steps}
    found, todo = set(chosen), list(chosen)
    while todo:
        fresh = {other for other in after[todo.pop()] if other in after} - found
        found |= fresh
        todo += fresh
    return found
