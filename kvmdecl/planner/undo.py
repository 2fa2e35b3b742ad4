"""The way back from a run: a plan that brings objects to how they were before it, and says what cannot be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from kvmdecl.diagnostics import Diagnostic, Severity, in_order
from kvmdecl.libvirt_xml.marker import read_marker
from kvmdecl.manager import Comparison
from kvmdecl.plan import Action, HostStatus, Plan, Step
from kvmdecl.planner import linked
from kvmdecl.planner.clusters import joined
from kvmdecl.planner.domains import plan_absent_domain, plan_domain
from kvmdecl.planner.filters import plan_absent_filter, plan_filter
from kvmdecl.planner.moves import left_by, plan_move
from kvmdecl.planner.networks import plan_absent_network, plan_network
from kvmdecl.planner.pools import plan_absent_pool, plan_pool
from kvmdecl.planner.settings import plan_settings
from kvmdecl.planner.verdict import AS_DECLARED, HostView, Verdict, host_views
from kvmdecl.policy import NO_POLICIES
from kvmdecl.state import (
    Absent,
    Address,
    DesiredDomain,
    DesiredFilter,
    DesiredNetwork,
    DesiredPool,
    DesiredSettings,
    Kind,
    Observation,
    Observed,
    ObservedDomain,
    ObservedFilter,
    ObservedNetwork,
    ObservedPool,
    ObservedSettings,
    Restart,
)
from kvmdecl.tasks import (
    AdoptDomain,
    ChangeSnapshots,
    ConfigureManager,
    CreatePool,
    CreateVolume,
    DefineDomain,
    DefineFilter,
    DefineNetwork,
    DefineSecret,
    DeleteDefinition,
    DeleteDomain,
    DeleteFilter,
    DeleteNetwork,
    DeletePool,
    DeleteSecret,
    DeleteVolume,
    HandOverDomain,
    LeaveDomain,
    MoveDomain,
    ResizeVolume,
    RevertSnapshot,
    Task,
    UpdateDomain,
    UpdateHost,
    UpdatePool,
    WriteDefinition,
)

_FOUNDATIONS = {Kind.HOST, Kind.POOL, Kind.NETWORK, Kind.NWFILTER}
_STAYS: Mapping[type, str] = {
    CreateVolume: "it stays, with what is in it",
    ResizeVolume: "it stays as large as it is: to shrink it would cut off what is in it",
    DeleteVolume: "what was in it is gone",
    WriteDefinition: "its file says what it said when this run ended; apply the manifest as it was before",
    DeleteDefinition: "apply the manifest as it was before, which writes it again",
    HandOverDomain: "take `ha` out of the manifest to have it back",
    UpdateDomain: "what runs stays as it is; apply the manifest as it was before",
    AdoptDomain: "it stays this cluster's",
    DefineSecret: "it stays, with the value that it has now: which one it had before is not known",
    DeleteSecret: "its value is not known any more; apply the manifest as it was before, which reads it anew",
    ChangeSnapshots: "snapshots that were taken stay, and those that were merged are gone",
    RevertSnapshot: "it goes on from its snapshot; what it wrote before is not put back under it",
}


@dataclass(frozen=True, slots=True)
class Begun:
    """A step that a run began, and how its object was before."""

    step: Step
    before: Observed | None


def undo_plan(plan: Plan, begun: Iterable[Begun], observations: Mapping[str, Observation]) -> Plan:
    """Plan how things get to where they were before a run.

    Objects are compared as they are now: what the run did not get to is no step, and what was changed since is shown.
    Volumes are never deleted or shrunk. What cannot be undone is a note each. What cluster managers go by is for
    `undo_managers`.

    Args:
        plan: of the run.
        begun: its steps that were begun.
        observations: of all hosts of the plan, now.
    """
    views = host_views(plan.cluster, plan.revision, observations)
    verdicts, notes = list[Verdict](), list[Diagnostic]()
    for each in begun:
        if isinstance(each.step.task, ConfigureManager):
            continue
        if not views.keys() >= set(each.step.hosts):
            notes.append(_cannot(each.step, "its host does not answer"))
            continue
        verdict = _back(each, views)
        if isinstance(verdict, str):
            notes.append(_cannot(each.step, verdict))
        else:
            verdicts.append(verdict)
            notes += verdict.notes
    back = [verdict.step for verdict in verdicts if verdict.step]
    steps = _in_turn([*back, *(left for step in back if (left := left_by(step)))])
    hosts = tuple(
        host if host.name in views else replace(host, status=HostStatus.UNREACHABLE, noted=True)
        for host in plan.hosts
    )
    return replace(
        plan,
        hosts=hosts,
        steps=steps,
        unchanged=sum(1 for verdict in verdicts if not verdict.step and not verdict.blocked),
        blocked=in_order(verdict.blocked for verdict in verdicts if verdict.blocked),
        notes=in_order(notes),
        let_go=(),
        foreign=(),
        exceeded=(),
        managers=tuple(replace(manager, prospects=()) for manager in plan.managers),
        proofs=(),
        policies=NO_POLICIES,
        rulings=(),
        rollout=replace(plan.rollout, gates=()) if plan.rollout else None,
    )


def undo_managers(
    plan: Plan, begun: Iterable[Begun], back: Callable[[ConfigureManager, frozenset[str]], Comparison | str]
) -> Plan:
    """The same plan with the way back of cluster managers.

    Args:
        plan: of `undo_plan`.
        begun: the same steps.
        back: asks a manager; see `kvmdecl.manager.Manager.undo`.
    """
    steps = [each.step for each in begun]
    others = frozenset(_guest_of(step.task) for step in steps) - {""}
    for step in steps:
        if isinstance(step.task, ConfigureManager):
            found = back(step.task, others)
            compared = Comparison(None, 0, notes=(_cannot(step, found),)) if isinstance(found, str) else found
            managers = (
                replace(each, prospects=compared.prospects) if each.name == step.task.manager else each
                for each in plan.managers
            )
            plan = joined(replace(plan, managers=tuple(managers)), compared)
    return plan


def _guest_of(task: Task) -> str:
    """The guest that changes hands with a task, or whose file goes."""
    if isinstance(task, HandOverDomain):
        return task.name
    return task.owner if isinstance(task, DeleteDefinition) else ""


def _in_turn(steps: list[Step]) -> tuple[Step, ...]:
    """Guests that come back wait for what they stand on."""
    foundations = [
        s.address for s in steps if s.address.kind in _FOUNDATIONS and s.action is not Action.DELETE
    ]
    waiting = (
        replace(step, after=(*step.after, *(a for a in foundations if a.host == step.address.host)))
        if step.address.kind is Kind.DOMAIN and step.action is not Action.DELETE
        else step
        for step in steps
    )
    return linked(waiting)


def _back(begun: Begun, views: Mapping[str, HostView]) -> Verdict | str:
    """How one object gets back, or why it does not."""
    step, before = begun.step, begun.before
    address, task = step.address, step.task
    view = views[address.host]
    if type(task) in _STAYS:
        return _STAYS[type(task)]
    match task, before:
        case MoveDomain(), ObservedDomain():
            return _move(task, before, address.host, views)
        case LeaveDomain(), _:
            return AS_DECLARED  # the move that goes back notes down again what it forgot
        case DefineDomain(), None:
            return plan_absent_domain(Absent(address, power_off=task.power_off), task.uuid, view)
        case DefineDomain() | DeleteDomain(), ObservedDomain():
            return _domain(address, task, before, view)
        case DefineNetwork(), None:
            return plan_absent_network(Absent(address), task.uuid, view)
        case DefineNetwork() | DeleteNetwork(), ObservedNetwork():
            applied = _applied(before)
            if applied is None:
                return "what it was declared as before is not known"
            return plan_network(DesiredNetwork(address, task.uuid, applied, before.autostart), view)
        case CreatePool(), None:
            return plan_absent_pool(Absent(address), task.uuid, view)
        case UpdatePool() | DeletePool(), ObservedPool():
            return plan_pool(DesiredPool(address, task.uuid, before.xml, before.autostart), view)
        case DefineFilter(), None:
            return plan_absent_filter(Absent(address), task.uuid, view)
        case DefineFilter() | DeleteFilter(), ObservedFilter():
            return plan_filter(DesiredFilter(address, task.uuid, before.xml), view)
        case UpdateHost(), ObservedSettings():
            names = {name for name, _ in task.values}
            values = tuple((name, value) for name, value in before.values if name in names)
            return plan_settings(DesiredSettings(address, values), view)
    return "kvmdecl has no way back from this step"


def _domain(
    address: Address, task: DefineDomain | DeleteDomain, before: ObservedDomain, view: HostView
) -> Verdict | str:
    applied = _applied(before)
    if applied is None:
        return "it was not this cluster's before, or what it was declared as is not known"
    restart: Restart = "now" if isinstance(task, DefineDomain) and task.power == "restart" else "never"
    desired = DesiredDomain(
        address, task.uuid, applied, before.active, before.autostart, restart, task.power_off
    )
    return plan_domain(desired, view)


def _move(
    task: MoveDomain, before: ObservedDomain, there: str, views: Mapping[str, HostView]
) -> Verdict | str:
    """Back to the host where it was, live if it runs."""
    applied = _applied(before)
    if applied is None:
        return "what it was declared as before is not known"
    home = Address(task.source, Kind.DOMAIN, task.name)
    desired = DesiredDomain(
        home, task.uuid, applied, before.active, before.autostart, power_off=task.power_off
    )
    if task.power == "restart":
        desired = replace(desired, restart="now")
    if task.uuid not in views[there].domains_by_uuid:
        return plan_domain(desired, views[task.source])
    if task.copied:
        return f"its disks were copied, and what it wrote since is on {there}: move it with `host: {task.source}`"
    policy = replace(task.policy, address="")
    desired = replace(desired, moves_from=there, migration=policy, devices=task.devices)
    return plan_move(desired, views[task.source], views[there])


def _applied(before: ObservedDomain | ObservedNetwork) -> str | None:
    """The declared definition that an object had."""
    marker = read_marker(before.xml)
    return marker.applied if marker else None


def _cannot(step: Step, why: str) -> Diagnostic:
    return Diagnostic(
        code="undo.not-possible",
        summary=f"{step.address} is not undone: {why}",
        at=step.at,
        cause=f"The run was to {step.action} it.",
        severity=Severity.WARNING,
        subject=str(step.address),
    )


def steps_of(plan: Plan, begun: Iterable[Address]) -> Iterator[Step]:
    """Steps of a plan that were begun, in its order."""
    wanted = frozenset(begun)
    return (step for step in plan.steps if step.address in wanted)
