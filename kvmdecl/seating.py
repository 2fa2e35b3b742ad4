"""Where each vm is once a plan is carried out, and on which cells of its host: what pictures of the plan show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmdecl.plan import PlannedGuest
from kvmdecl.rooms import taken_by, taken_of
from kvmdecl.state import HostSnapshot, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedVm
    from kvmdecl.facts import HostFacts
    from kvmdecl.numa_rooms import Taken
    from kvmdecl.plan import Plan
    from kvmdecl.state import Observation


def with_guests(plan: Plan, placed: PlacedCluster, observations: Mapping[str, Observation]) -> Plan:
    """The plan with the vms that have a host, and the cells of the hosts that were read.

    Definitions on hosts are read for guests that the plan changes alone: the others are where they shall be.
    """
    seen = {name: host for name, host in observations.items() if isinstance(host, HostSnapshot)}
    cells = {name: tuple(cell.id for cell in host.facts.cells) for name, host in seen.items()}
    before = _before(plan, seen)
    return replace(
        plan,
        hosts=tuple(replace(host, cells=cells.get(host.name, ())) for host in plan.hosts),
        guests=tuple(_guests(placed, seen, before)),
    )


def _guests(
    placed: PlacedCluster, seen: Mapping[str, HostSnapshot], before: Mapping[str, tuple[int, ...]]
) -> Iterator[PlannedGuest]:
    for vm in placed.vms:
        if vm.host is not None and vm.state != "absent":
            cells = _cells(vm, placed, seen)
            yield PlannedGuest(vm.host, vm.name, vm.cpus, vm.memory, cells, before.get(vm.name, cells))


def _cells(vm: ResolvedVm, placed: PlacedCluster, seen: Mapping[str, HostSnapshot]) -> tuple[int, ...]:
    place = placed.places.get(vm.name)
    if place is not None and place.cells:
        parts = (*((cell.home,) for cell in place.cells), *((i for i, *_ in c.memory) for c in place.cells))
        return tuple(sorted({id_ for part in parts for id_ in part}))
    host = seen.get(vm.host or "")
    if host is None or not (vm.spec.numa or vm.spec.cpus.pinned):
        return ()
    return _bound(taken_of(vm), host.facts)


def _before(plan: Plan, seen: Mapping[str, HostSnapshot]) -> dict[str, tuple[int, ...]]:
    """The cells that guests with a step are bound to now, by their names."""
    steps = [step for step in plan.steps if step.address.kind is Kind.DOMAIN]
    wanted = {(step.seat.host, step.seat.name): step.address.name for step in steps}
    return {
        wanted[name, domain.name]: _bound(taken_by(domain, seen[name].facts), seen[name].facts)
        for name in sorted({host for host, _ in wanted} & seen.keys())
        for domain in seen[name].state.domains
        if (name, domain.name) in wanted
    }


def _bound(taken: Taken, facts: HostFacts) -> tuple[int, ...]:
    """Cells that its memory is bound to or, if to none, that it is pinned to some CPUs of and not of all."""
    cells = {id_ for nodes, _, _ in taken.memory if nodes is not None for id_ in nodes}
    pinned = {cell.id for cell in facts.cells for cpu in cell.cpus if cpu.id in taken.cpus}
    return tuple(sorted(cells or (pinned if len(pinned) < len(facts.cells) else ())))
