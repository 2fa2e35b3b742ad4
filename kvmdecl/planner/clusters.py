"""What cluster managers go by, in a plan beside libvirt's objects: after what vms stand on, wherever these may run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Rejected, Severity, in_order
from kvmdecl.manager import Comparison, Configuration, Unknown
from kvmdecl.plan import Action, HostStatus, Plan, PlannedManager, Step
from kvmdecl.planner.limits import faults_of, limits_met, managed_guests, nearest
from kvmdecl.planner.verdict import held_back, host_views
from kvmdecl.state import Kind
from kvmdecl.tasks import ConfigureManager, DefineDomain, DeleteDefinition, HandOverDomain, WriteDefinition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.manager import Observed
    from kvmdecl.state import DesiredState, Observation
    from kvmdecl.takeover import Proof

_ABOUT = {Kind.CLUSTER, Kind.DOMAIN}
_OF_GUESTS = WriteDefinition | DeleteDefinition
_STANDS_ON = "A cluster manager may start a guest on any of its hosts, and finds there what is blocked."
_FOUNDATIONS = {Kind.HOST, Kind.SECRET, Kind.POOL, Kind.NWFILTER, Kind.NETWORK, Kind.VOLUME}


def with_manager(
    plan: Plan,
    name: str,
    observed: Observed,
    compare: Callable[[Configuration], Comparison],
    proofs: Callable[[], tuple[Proof, ...]] | None = None,
    way: str = "",
) -> Plan:
    """The plan with what is done about a cluster manager's configuration, as far as that is known.

    With `proofs` it is not done if not every vm that has to run would run again after a loss that is to be survived.
    """
    notes = [note for note in plan.notes if note.code != "plan.ha-not-applied"]
    if isinstance(observed, Unknown):
        reason = observed.diagnostic.summary
        managers = (
            (PlannedManager(name, HostStatus.UNREACHABLE, reason=reason, way=way),) if observed.asked else ()
        )
        plan = _without_hand_overs(plan, f"manager/{name}") if observed.asked else plan
        return replace(
            plan, notes=in_order((*notes, observed.diagnostic)), managers=(*plan.managers, *managers)
        )
    try:
        compared = compare(observed)
        if compared.step is not None and proofs is not None and (broken := _broken(proofs())):
            compared = replace(compared, step=None, blocked=(*compared.blocked, *broken))
    except Rejected as rejected:
        compared = Comparison(None, 0, tuple(rejected.diagnostics))
    if compared.blocked and compared.step is None:
        plan = _without_hand_overs(plan, compared.blocked[0].subject or f"manager/{name}")
    plan = joined(replace(plan, notes=tuple(notes)), compared)
    told = any(step.address.kind is Kind.CLUSTER and step.address.host == name for step in plan.steps)
    prospects = compared.prospects if told else ()
    found = PlannedManager(name, HostStatus.OK, observed.host, prospects=prospects, way=way)
    return replace(plan, managers=(*plan.managers, found))


def joined(plan: Plan, compared: Comparison) -> Plan:
    """The plan with what comes of a comparison, in its turn."""
    steps, blocked = _joined(plan, compared)
    return replace(
        plan,
        steps=steps,
        unchanged=plan.unchanged + (compared.objects if not compared.step and not compared.blocked else 0),
        blocked=in_order((*plan.blocked, *blocked)),
        notes=in_order((*plan.notes, *compared.notes)),
    )


def bounded(
    plan: Plan, cluster: ResolvedCluster, desired: DesiredState, observations: Mapping[str, Observation]
) -> Plan:
    """The plan held against the manifest's limits again, with what cluster managers do to guests."""
    found = [each for manager in plan.managers for each in manager.prospects]
    if not found:
        return plan
    tasks = [step.task for step in plan.steps if isinstance(step.task, ConfigureManager)]
    managed = managed_guests(found, {name for task in tasks for name in task.deletes})
    there = {host.name: observations[host.name] for host in cluster.hosts}
    views = host_views(plan.cluster, plan.revision, there)
    limits = tuple(limits_met(cluster, plan.steps, desired.resources, views, managed))
    return replace(plan, exceeded=in_order(faults_of(limits)), limits=nearest(limits))


def with_proofs(plan: Plan, proofs: Callable[[], tuple[Proof, ...]]) -> Plan:
    """The plan with what comes of lost hosts, if it is about what a cluster manager runs or the room that it has."""
    if not any(step.address.kind in _ABOUT or isinstance(step.task, _OF_GUESTS) for step in plan.steps):
        return plan
    try:
        found = proofs()
    except Rejected as rejected:
        return replace(plan, notes=in_order((*plan.notes, _not_proven(rejected.diagnostics[0]))))
    broken = [each for each in _broken(found) if each not in plan.blocked]
    errors = {*broken, *plan.blocked}
    notes = [
        replace(each, severity=Severity.WARNING)
        for each in dict.fromkeys(each for proof in found for each in proof.findings)
        if each not in errors
    ]
    return replace(
        plan,
        blocked=in_order((*plan.blocked, *broken)),
        notes=in_order((*plan.notes, *notes)),
        proofs=found,
    )


def _broken(proofs: Iterable[Proof]) -> list[Diagnostic]:
    """What breaks a promise of the manifest."""
    found = (each for proof in proofs if proof.binding for each in proof.findings)
    return list(dict.fromkeys(each for each in found if each.severity is Severity.ERROR))


def _not_proven(why: Diagnostic) -> Diagnostic:
    return Diagnostic(
        "plan.not-proven",
        f"what becomes of vms when a host is lost is not known: {why.summary}",
        why.at,
        why.cause,
        why.hint,
        severity=Severity.WARNING,
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
            _STANDS_ON,
        )
        return plan.steps, (*compared.blocked, held)
    before = tuple(other.address for other in plan.steps if _comes_before(other))
    steps = tuple(
        replace(other, after=(*other.after, step.address)) if _comes_after(other, step) else other
        for other in plan.steps
    )
    return (*steps, replace(step, after=before)), compared.blocked


def without_hollow(plan: Plan) -> Plan:
    """The plan without steps of managers that something comes before which is not in it any more."""
    there = {step.address for step in plan.steps}
    gone = {
        step.address: next((address for address in step.after if address not in there), None)
        for step in plan.steps
        if isinstance(step.task, ConfigureManager)
    }
    hollow = [step for step in plan.steps if gone.get(step.address)]
    blocked = [held_back(step, f"{gone[step.address]}, which is blocked", _STANDS_ON) for step in hollow]
    steps = tuple(step for step in plan.steps if step not in hollow)
    silent = {step.address.host for step in hollow}
    managers = tuple(replace(each, prospects=()) if each.name in silent else each for each in plan.managers)
    return replace(plan, steps=steps, blocked=in_order((*plan.blocked, *blocked)), managers=managers)


def _comes_before(other: Step) -> bool:
    """What a guest stands on, and that libvirt has no definition of it any more."""
    made = other.address.kind in _FOUNDATIONS and other.action is not Action.DELETE
    return made or isinstance(other.task, HandOverDomain)


def _comes_after(other: Step, step: Step) -> bool:
    """A guest that libvirt gets back, and what nobody starts a guest from any more, or runs one on."""
    task = other.task
    released = step.task.releases if isinstance(step.task, ConfigureManager) else ()
    if other.address.kind in _FOUNDATIONS and other.action is Action.DELETE:
        return True
    return isinstance(task, DeleteDefinition) or (isinstance(task, DefineDomain) and task.name in released)


def _kind_of(subject: str) -> str:
    return subject.split("/")[1] if subject.count("/") > 1 else ""
