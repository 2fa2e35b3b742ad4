"""A section, a check, a policy and a solver. Everything comes from `kvmdecl.api`; nothing else of kvmdecl is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kvmdecl.api import (
    Action,
    Diagnostic,
    Kind,
    PlaceAnswer,
    PlacedCluster,
    PlaceRequest,
    Plan,
    PlanPolicy,
    PolicyContext,
    PolicyVerdict,
    Positive,
    Renamed,
    Section,
    Solver,
    about_size,
    hookimpl,
)


class Quota(Section):
    """How much one guest may have."""

    shorthand = "cpus"
    formerly = (Renamed(key="vcpus", to="cpus", since="example 1.0", why="as vms call it"),)

    cpus: Positive
    """CPUs of one guest, at most."""


@hookimpl
def kvmdecl_sections() -> Mapping[str, type[Section]]:
    """Add `quota:` to the manifest."""
    return {"quota": Quota}


@hookimpl
def kvmdecl_check(cluster: PlacedCluster) -> Iterator[Diagnostic]:
    """Refuse guests with more CPUs than the quota."""
    quota = cluster.cluster.sections.get("quota")
    if not isinstance(quota, Quota):
        return  # the manifest has no such section
    for vm in cluster.vms:
        if vm.max_cpus > quota.cpus:
            yield Diagnostic(
                code="quota.too-many-cpus",
                summary=f"{vm.name} can have {vm.max_cpus} CPUs, and the quota is {quota.cpus}",
                at=vm.origin.find("cpus.max"),
                cause="The quota keeps one guest from crowding out the others.",
                hint=f"write at most {quota.cpus}, or raise `quota:`",
                subject=f"vm/{vm.name}",
            )


@hookimpl
def kvmdecl_policies() -> Iterable[PlanPolicy]:
    """Offer `one-at-a-time`."""
    return [PlanPolicy("one-at-a-time", one_at_a_time)]


def one_at_a_time(plan: Plan, context: PolicyContext) -> Iterator[PolicyVerdict]:
    """Deny plans that delete more than one guest of a host."""
    deleted: dict[str, int] = {}
    for step in plan.steps:
        if step.action is Action.DELETE and step.address.kind is Kind.DOMAIN:
            deleted[step.address.host] = deleted.get(step.address.host, 0) + 1
            if deleted[step.address.host] > 1:
                reason = f"{context.user} may delete one guest of a host with each plan"
                yield PolicyVerdict(step.address, reason)


@hookimpl
def kvmdecl_solvers() -> Mapping[str, Solver]:
    """Offer `pack`."""
    return {"pack": pack}


def pack(request: PlaceRequest) -> PlaceAnswer:
    """Fill the first host that has room, in order of name."""
    free = {room.name: room.memory - room.used_memory for room in request.hosts}
    hosts: dict[str, str] = {}
    refused: dict[str, dict[str, str]] = {}
    for vm in request.vms:
        host = next((name for name in vm.candidates if free[name] >= vm.memory), None)
        if host is None:
            refused[vm.name] = {name: f"only {about_size(max(0, free[name]))} free" for name in vm.candidates}
        else:
            hosts[vm.name] = host
            free[host] -= vm.memory
    return PlaceAnswer(hosts, refused)
