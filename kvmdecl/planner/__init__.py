"""Desired and observed -> plan. Pure: same input, same plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain

from kvmdecl.cluster import ResolvedCluster, ResolvedHost
from kvmdecl.diagnostics import Diagnostic, Severity, in_order
from kvmdecl.membership import Membership, membership
from kvmdecl.names import derive_uuid
from kvmdecl.plan import Action, HostStatus, Plan, PlannedHost, Step
from kvmdecl.planner.baselines import changed_baselines
from kvmdecl.planner.definitions import left_behind, plan_absent_definition, plan_definition
from kvmdecl.planner.departed import departed_hosts, gone_hosts, said_to_be_new
from kvmdecl.planner.domains import orphans, plan_absent_domain, plan_domain
from kvmdecl.planner.filters import plan_absent_filter, plan_filter
from kvmdecl.planner.foreign import foreign_objects
from kvmdecl.planner.handover import handed_over
from kvmdecl.planner.limits import faults_of, limits_met, nearest
from kvmdecl.planner.moves import (
    brought_along,
    copies_left,
    in_legs,
    is_along,
    is_moving,
    leavings,
    plan_move,
    tidied,
    without_idle_copies,
)
from kvmdecl.planner.networks import plan_absent_network, plan_existing_network, plan_network
from kvmdecl.planner.order import in_turn
from kvmdecl.planner.policies import counted
from kvmdecl.planner.pools import plan_absent_pool, plan_pool
from kvmdecl.planner.secrets import plan_absent_secret, plan_secret
from kvmdecl.planner.seeds import changed_seeds
from kvmdecl.planner.settings import plan_settings, settings_left
from kvmdecl.planner.shared import makers
from kvmdecl.planner.verdict import AS_DECLARED, HostView, Verdict, held_back, host_views
from kvmdecl.planner.volumes import plan_volume
from kvmdecl.planner.waves import in_waves
from kvmdecl.state import (
    Absent,
    Address,
    Desired,
    DesiredDefinition,
    DesiredDomain,
    DesiredFilter,
    DesiredNetwork,
    DesiredPool,
    DesiredSecret,
    DesiredSettings,
    DesiredState,
    DesiredVolume,
    Existing,
    Kind,
    Observation,
    Unreachable,
    remembered,
)

_STANDS_ON = "It stands on an object that is not, and cannot be made, what the manifest says."
_ORDER = {kind: number for number, kind in enumerate(Kind)}


def make_plan(
    cluster: ResolvedCluster,
    desired: DesiredState,
    observations: Mapping[str, Observation],
    *,
    foreign: bool = False,
) -> Plan:
    """Compare what should be with what is, on every host that answered; `foreign` adds what nobody declares.

    Objects on a host that did not answer are frozen: unknown is never taken for gone.
    """
    there = {host.name: observations[host.name] for host in cluster.hosts}
    views = host_views(cluster.name, cluster.revision, there, versions=True)
    known = [
        brought_along(resource, views) for resource in desired.resources if resource.address.host in views
    ]
    made_by = makers(known, views)
    moving = {resource.address.name for resource in known if is_moving(resource)}
    verdicts = [
        AS_DECLARED
        if resource.address in made_by or is_along(resource, moving)
        else _plan_one(resource, views)
        for resource in known
    ]
    unusable = {
        r.address
        for r, verdict in zip(known, verdicts, strict=True)
        if verdict.blocked and not verdict.usable
    }
    going = [_waiting_there(verdict.step, made_by) for verdict in verdicts if verdict.step]
    steps, held = _without_held(going, unusable)
    steps = without_idle_copies(steps)
    steps, without_room = in_legs(tidied(steps, leavings(known, views, steps)), desired.legs)
    steps, held = without_idle_copies(steps), [*held, *without_room]
    dropped, left_there = copies_left(known, views)
    steps, swapping = handed_over([*steps, *dropped], views)
    roll = membership(cluster, observations)
    waiting, left = departed_hosts(cluster, roll, desired.unplaced)
    blocked = in_order(
        [*(verdict.blocked for verdict in verdicts if verdict.blocked), *held, *swapping, *waiting]
    )
    notes = chain(
        chain.from_iterable(verdict.notes for verdict in verdicts),
        left,
        gone_hosts(cluster, roll, steps),
        changed_seeds(cluster, steps),
        changed_baselines(desired, steps),
        _undecided(desired) if len(views) < len(cluster.hosts) else (),
        said_to_be_new(cluster, observations, roll, steps),
        orphans(cluster, desired, views),
        left_behind(desired, views),
        _handed_over(cluster),
        settings_left(desired, views.values()),
        left_there,
    )
    plan = Plan(
        cluster=cluster.name,
        revision=cluster.revision,
        hosts=_hosts(cluster, desired, observations, roll),
        steps=in_turn(cluster, linked(steps)),
        unchanged=sum(
            1
            for resource, verdict in zip(known, verdicts, strict=True)
            if not verdict.step and not verdict.blocked and resource.address not in made_by
        ),
        blocked=blocked,
        notes=in_order(notes),
        members=roll.members,
        let_go=roll.let_go,
        foreign=foreign_objects(desired, views) if foreign else (),
        policies=counted(cluster.policies, cluster, desired.resources),
    )
    limits = tuple(limits_met(cluster, plan.steps, desired.resources, views))
    plan = replace(plan, exceeded=in_order(faults_of(limits)), limits=nearest(limits))
    return in_waves(cluster, plan, desired)


def _waiting_there(step: Step, made_by: Mapping[Address, Address]) -> Step:
    """The step, waiting for what another host makes for its own."""
    return replace(step, after=tuple(made_by.get(address, address) for address in step.after))


def _plan_one(resource: Desired, views: Mapping[str, HostView]) -> Verdict:
    view = views[resource.address.host]
    match resource:
        case DesiredSettings():
            return plan_settings(resource, view)
        case DesiredSecret():
            return plan_secret(resource, view)
        case DesiredPool():
            return plan_pool(resource, view)
        case DesiredNetwork():
            return plan_network(resource, view)
        case DesiredFilter():
            return plan_filter(resource, view)
        case DesiredVolume():
            return plan_volume(resource, view)
        case DesiredDefinition():
            return plan_definition(resource, view)
        case DesiredDomain() if resource.moves_from:
            return plan_move(resource, view, views[resource.moves_from])
        case DesiredDomain():
            return plan_domain(resource, view)
        case Existing():
            return plan_existing_network(resource, view)
        case Absent():
            return _plan_absent(resource, view)


def _plan_absent(absent: Absent, view: HostView) -> Verdict:
    if absent.address.kind is Kind.VOLUME:
        return plan_absent_definition(absent, view)
    uuid = absent.uuid or derive_uuid(view.cluster, absent.address.kind, absent.address.name)
    if absent.address.kind is Kind.SECRET:
        return plan_absent_secret(absent, uuid, view)
    if absent.address.kind is Kind.POOL:
        return plan_absent_pool(absent, uuid, view)
    if absent.address.kind is Kind.NETWORK:
        return plan_absent_network(absent, uuid, view)
    if absent.address.kind is Kind.NWFILTER:
        return plan_absent_filter(absent, uuid, view)
    return plan_absent_domain(absent, uuid, view)


def _without_held(steps: list[Step], unusable: set[Address]) -> tuple[list[Step], list[Diagnostic]]:
    """Hold back what needs an object that cannot be brought to what is declared, and what needs that in turn."""
    going, held = steps, list[Diagnostic]()
    while waiting := {
        step.address: need for step in going if (need := next(iter(unusable & set(step.after)), None))
    }:
        held += [
            held_back(step, f"{waiting[step.address]}, which is blocked", _STANDS_ON)
            for step in going
            if step.address in waiting
        ]
        going = [step for step in going if step.address not in waiting]
        unusable = unusable | set(waiting)
    return going, held


def linked(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Steps in the order that users read, each waiting only for steps that are really in the plan."""
    ordered = sorted(steps, key=lambda s: (s.address.host, _ORDER[s.address.kind], s.address.name))
    planned = {step.address for step in ordered}
    domains_to_delete: dict[str, list[Address]] = {}
    for step in ordered:
        if step.action is Action.DELETE and step.address.kind is Kind.DOMAIN:
            domains_to_delete.setdefault(step.address.host, []).append(step.address)
    return tuple(_link(step, planned, domains_to_delete.get(step.address.host, [])) for step in ordered)


def _link(step: Step, planned: set[Address], deleted_domains: list[Address]) -> Step:
    waits = [address for address in step.after if address in planned]
    if step.action is Action.DELETE and step.address.kind is not Kind.DOMAIN:
        waits += deleted_domains  # nothing is taken away from under a guest
    return Step(
        step.address, step.action, step.impact, step.changes, step.summary, step.precondition, step.task,
        tuple(dict.fromkeys(waits)), step.at,
    )  # fmt: skip


def _hosts(
    cluster: ResolvedCluster, desired: DesiredState, observations: Mapping[str, Observation], roll: Membership
) -> tuple[PlannedHost, ...]:
    return tuple(_host(host, desired, observations[host.name], roll) for host in cluster.hosts)


def _host(
    host: ResolvedHost, desired: DesiredState, observation: Observation, roll: Membership
) -> PlannedHost:
    name, uri = host.name, str(host.uri)
    if not isinstance(observation, Unreachable):
        noted = observation.state.ledger(desired.cluster).hosts
        knows = remembered(noted, roll.members, roll.let_go) == noted
        return PlannedHost(
            name, uri, HostStatus.OK, machine=observation.facts.uuid, noted=knows, labels=host.labels
        )
    frozen = tuple(str(resource.address) for resource in desired.resources if resource.address.host == name)
    return PlannedHost(
        name, uri, HostStatus.UNREACHABLE, observation.diagnostic.summary, frozen, labels=host.labels
    )


def _handed_over(cluster: ResolvedCluster) -> Iterator[Diagnostic]:
    vms = [vm for vm in cluster.vms if vm.spec.is_ha]
    if vms:
        names = ", ".join(vm.name for vm in vms[:5]) + (f" and {len(vms) - 5} more" if len(vms) > 5 else "")
        yield Diagnostic(
            code="plan.ha-not-applied",
            summary=f"the cluster manager of these vms is not asked: {names}",
            at=vms[0].origin.find("ha"),
            cause="Their disks and definitions are in this plan; what it goes by itself is not.",
            hint="a plan that reads the hosts asks it, too",
            severity=Severity.WARNING,
        )


def _undecided(desired: DesiredState) -> Iterator[Diagnostic]:
    for vm in desired.unplaced:
        yield Diagnostic(
            code="plan.undecided",
            summary=f"vm {vm} is left alone: it may be on a host that does not answer",
            cause="It is on none of the hosts that do; making it again could run it twice.",
            hint=f"bring the host back; or, if you know that the vm exists nowhere, add `--new {vm}`.",
            severity=Severity.WARNING,
            subject=f"vm/{vm}",
        )
