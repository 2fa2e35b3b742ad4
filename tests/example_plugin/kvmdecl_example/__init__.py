"""A section, a check and a solver. Everything comes from `kvmdecl.api`; nothing else of kvmdecl is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kvmdecl.api import (
    Diagnostic,
    PlaceAnswer,
    PlacedCluster,
    PlaceRequest,
    Positive,
    Section,
    Solver,
    about_size,
    hookimpl,
)


class Quota(Section):
    """How much one guest may have."""

    shorthand = "cpus"

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
