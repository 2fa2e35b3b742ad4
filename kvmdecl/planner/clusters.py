"""What cluster managers go by, in a plan beside libvirt's objects: after what vms stand on, wherever these may run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Rejected, in_order
from kvmdecl.manager import Comparison, Configuration, Unknown
from kvmdecl.plan import Action, HostStatus, Plan, PlannedManager, Step
from kvmdecl.planner.verdict import held_back
from kvmdecl.state import Kind
from kvmdecl.tasks import ConfigureManager, DefineDomain, DeleteDefinition, HandOverDomain

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmdecl.manager import Observed

_FOUNDATIONS = {Kind.HOST, Kind.SECRET, Kind.POOL, Kind.NWFILTER, Kind.NETWORK, Kind.VOLUME}


def with_manager(
    plan: Plan, name: str, observed: Observed, compare: Callable[[Configuration], Comparison]
) -> Plan:
    """The plan with what is done about a cluster manager's configuration, as far as that is known."""
    notes = [note for note in plan.notes if note.code != "plan.ha-not-applied"]
    if isinstance(observed, Unknown):
        reason = observed.diagnostic.summary
        managers = (PlannedManager(name, HostStatus.UNREACHABLE, reason=reason),) if observed.asked else ()
        plan = _without_hand_overs(plan, f"manager/{name}") if observed.asked else plan
        return replace(
            plan, notes=in_order((*notes, observed.diagnostic)), managers=(*plan.managers, *managers)
        )
    try:
        compared = compare(observed)
    except Rejected as rejected:
        compared = Comparison(None, 0, tuple(rejected.diagnostics))
    if compared.blocked and compared.step is None:
        plan = _without_hand_overs(plan, compared.blocked[0].subject or f"manager/{name}")
    steps, blocked = _joined(plan, compared)
    return replace(
        plan,
        steps=steps,
        unchanged=plan.unchanged + (compared.objects if not compared.step and not compared.blocked else 0),
        blocked=in_order((*plan.blocked, *blocked)),
        notes=in_order((*notes, *compared.notes)),
        managers=(*plan.managers, PlannedManager(name, HostStatus.OK, observed.host)),
    )


def _without_hand_overs(plan: Plan, waits_for: str) -> Plan:
    """The plan with each guest left to libvirt: whom it is handed to cannot be told of it now, and would not run it."""
    held = [step for step in plan.steps if isinstance(step.task, HandOverDomain)]
    blocked = [
        held_back(step, waits_for, "Libvirt forgets the guest when it stops, and nobody else knows it yet.")
        for step in held
    ]
    steps = tuple(step for step in plan.steps if step not in held)
    return replace(plan, steps=steps, blocked=in_order((*plan.blocked, *blocked)))


def _joined(plan: Plan, compared: Comparison) -> tuple[tuple[Step, ...], tuple[Diagnostic, ...]]:
    """A guest may be started anywhere as soon as its manager knows it; so all that guests stand on comes first."""
    step = compared.step
    if step is None:
        return plan.steps, compared.blocked
    missing = [each for each in plan.blocked if _kind_of(each.subject) in _FOUNDATIONS]
    if missing:
        held = held_back(
            step,
            f"{missing[0].subject}, which is blocked",
            "A cluster manager may start a guest on any of its hosts, and finds there what is blocked.",
        )
        return plan.steps, (*compared.blocked, held)
    before = tuple(other.address for other in plan.steps if _comes_before(other))
    steps = tuple(
        replace(other, after=(*other.after, step.address)) if _comes_after(other, step) else other
        for other in plan.steps
    )
    return (*steps, replace(step, after=before)), compared.blocked


def _comes_before(other: Step) -> bool:
    """What a guest stands on, and that libvirt has no definition of it any more."""
    made = other.address.kind in _FOUNDATIONS and other.action is not Action.DELETE
    return made or isinstance(other.task, HandOverDomain)


def _comes_after(other: Step, step: Step) -> bool:
    """A guest that libvirt gets back, and the files that nobody starts a guest from any more."""
    task = other.task
    released = step.task.releases if isinstance(step.task, ConfigureManager) else ()
    return isinstance(task, DeleteDefinition) or (isinstance(task, DefineDomain) and task.name in released)


def _kind_of(subject: str) -> str:
    return subject.split("/")[1] if subject.count("/") > 1 else ""
