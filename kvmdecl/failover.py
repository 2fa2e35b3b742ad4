"""Whether all vms still have a legal home after hosts fail, and who goes where then."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, islice
from math import comb
from typing import TYPE_CHECKING

from kvmdecl.conflict_set import Asking, Question, conflict, impossible
from kvmdecl.solver import PlaceRequest
from kvmdecl.verdict import faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.solver import Group, HostRoom, PlaceAnswer, Solver, VmToPlace

MOST_LOSSES = 200
"""Combinations of hosts that are tried; if there are more, those of the fullest hosts."""
_MOST_SOLVES = 60


@dataclass(frozen=True, slots=True)
class Standing:
    """A cluster whose vms all have a place.

    Attributes:
        hosts: less what vms have that are bound to no cells, and what runs unmanaged.
        bare: the same hosts less what runs unmanaged alone.
        vms: with their places, and all hosts that could have them for candidates.
        groups: of vms.
        wanted: those that need a home when their hosts fail; all if None. Others stay, and are lost with their hosts.
    """

    hosts: tuple[HostRoom, ...]
    bare: tuple[HostRoom, ...]
    vms: tuple[VmToPlace, ...]
    groups: tuple[Group, ...]
    wanted: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """What comes of the loss of some hosts.

    Attributes:
        hosts: that are lost.
        homes: the new host of each vm that was on them.
        moved: the new host of each other vm that would have to make room; empty if the others can stay.
        unfit: the smallest set of vms that do not fit on what is left; empty if all have a home.
        smallest: False if finding a smaller set would have taken long.
    """

    hosts: tuple[str, ...]
    homes: Mapping[str, str]
    moved: Mapping[str, str]
    unfit: tuple[str, ...] = ()
    smallest: bool = True


@dataclass(frozen=True, slots=True)
class Survival:
    """What comes of the loss of any `lose` hosts: of `combinations`, `losses` were tried, up to one that fails."""

    lose: int
    combinations: int
    losses: tuple[Loss, ...]

    @property
    def survives(self) -> bool:
        """Whether all vms had a home whatever was tried."""
        return not any(loss.unfit for loss in self.losses)

    @property
    def exact(self) -> bool:
        """Whether this is so for all combinations: each was tried, or one was found that fails."""
        return not self.survives or len(self.losses) == self.combinations


def survival(standing: Standing, lose: int, solver: Solver) -> Survival:
    """Try the loss of any `lose` hosts, those with the most vms first, until one fails."""
    losses: list[Loss] = []
    for hosts in losses_of(standing, lose):
        losses.append(loss_of(standing, hosts, solver))
        if losses[-1].unfit:
            break
    return Survival(lose, comb(len(standing.hosts), lose), tuple(losses))


def losses_of(standing: Standing, lose: int) -> Iterator[tuple[str, ...]]:
    """The combinations of hosts that are tried, those with the most vms first."""
    count = {room.name: 0 for room in standing.hosts}
    for vm in standing.vms:
        if vm.place is not None:
            count[vm.place.host] += 1
    fullest = sorted(count, key=lambda name: (-count[name], name))
    for hosts in islice(combinations(fullest, lose), MOST_LOSSES):
        yield tuple(sorted(hosts))


def loss_of(standing: Standing, gone: tuple[str, ...], solver: Solver) -> Loss:
    """The others stay if they can; else everybody is placed anew."""
    was = {vm.name: vm.place.host for vm in standing.vms if vm.place is not None}
    lost = {name for name, host in was.items() if host in gone and _is_wanted(standing, name)}
    if not lost:
        return Loss(gone, {}, {})
    stay = _where_others_stay(standing, gone, lost)
    if all(vm.candidates for vm in stay.vms) and not impossible(stay):
        answer = solver(stay)
        if _all_placed(stay, answer):
            return Loss(gone, dict(sorted(answer.hosts.items())), {})
    return anew(standing, gone, solver)


def _where_others_stay(standing: Standing, gone: tuple[str, ...], lost: set[str]) -> PlaceRequest:
    grouped = frozenset[str]().union(*(group.members for group in standing.groups))
    residents = tuple(
        replace(vm, candidates=(vm.place.host,))
        for vm in standing.vms
        if vm.place is not None and vm.place.host not in gone and (vm.shape is not None or vm.name in grouped)
    )
    asked = tuple(_homeless(vm, gone) for vm in standing.vms if vm.name in lost)
    return PlaceRequest(asked, _left(standing.hosts, gone), residents, standing.groups)


def anew(standing: Standing, gone: tuple[str, ...], solver: Solver) -> Loss:
    """What comes of a loss if all vms that are wanted may move: if this has no home for them, nothing has."""
    was = {vm.name: vm.place.host for vm in standing.vms if vm.place is not None}
    vms = tuple(
        _homeless(vm, gone) if _is_wanted(standing, vm.name) else _fixed(vm, was[vm.name])
        for vm in standing.vms
        if _is_wanted(standing, vm.name) or was.get(vm.name, gone[0]) not in gone
    )
    request = PlaceRequest(vms, _left(standing.bare, gone), (), standing.groups)
    nowhere = tuple(vm.name for vm in vms if not vm.candidates)
    if nowhere:
        return Loss(gone, {}, {}, nowhere[:1])
    answer = solver(request)
    if _all_placed(request, answer):
        homes = {name: host for name, host in sorted(answer.hosts.items()) if was[name] in gone}
        moved = {name: host for name, host in sorted(answer.hosts.items()) if host != was[name] not in gone}
        return Loss(gone, homes, moved)
    refused = [vm.name for vm in vms if vm.name not in answer.hosts] or [vms[0].name]
    question = Question(request).part([*answer.hosts, refused[0]], standing.groups, ())
    found = conflict(question, refused[:1], answer, Asking(solver, solves=_MOST_SOLVES))
    if found is None:
        return Loss(gone, {}, {}, tuple(refused), smallest=False)
    return Loss(gone, {}, {}, tuple(sorted(found.vms)), found.smallest)


def misfits(
    standing: Standing, gone: tuple[str, ...], homes: Mapping[str, str], solver: Solver
) -> Mapping[str, str]:
    """Who does not fit where somebody else puts the vms after the loss of some hosts, and why.

    Args:
        standing: before the loss.
        gone: the hosts that are lost.
        homes: the host of each vm that runs afterwards, those that stay too.
        solver: of the manifest; it finds cells on these hosts.
    """
    there = [vm for vm in standing.vms if vm.name in homes]
    barred = {
        vm.name: f"{homes[vm.name]} is none of its hosts"
        for vm in there
        if homes[vm.name] not in vm.candidates
    }
    stay = {
        vm.name
        for vm in there
        if vm.shape is not None and vm.place is not None and vm.place.host == homes[vm.name]
    }
    unbound = [vm for vm in there if vm.name not in stay and vm.name not in barred]
    # Who was there before comes first; who comes is refused where not all fit.
    unbound.sort(key=lambda vm: vm.place is None or vm.place.host != homes[vm.name])
    asked = tuple(_fixed(vm, homes[vm.name]) for vm in unbound)
    residents = tuple(replace(vm, candidates=(homes[vm.name],)) for vm in there if vm.name in stay)
    request = PlaceRequest(asked, _left(standing.bare, gone), residents, standing.groups)
    answer = solver(request)
    refused = {
        vm.name: answer.refused.get(vm.name, {}).get(homes[vm.name], "the solver does not say why not")
        for vm in asked
        if vm.name not in answer.hosts
    }
    fault = next(faults(request, answer), None)
    if fault is not None and not refused:
        refused = dict.fromkeys([vm.name for vm in asked][-1:], fault)
    return dict(sorted((barred | refused).items()))


def _homeless(vm: VmToPlace, gone: tuple[str, ...]) -> VmToPlace:
    return replace(vm, place=None, candidates=tuple(host for host in vm.candidates if host not in gone))


def _fixed(vm: VmToPlace, host: str) -> VmToPlace:
    return replace(vm, place=None, candidates=(host,))


def _is_wanted(standing: Standing, name: str) -> bool:
    return standing.wanted is None or name in standing.wanted


def _left(rooms: tuple[HostRoom, ...], gone: tuple[str, ...]) -> tuple[HostRoom, ...]:
    return tuple(room for room in rooms if room.name not in gone)


def _all_placed(request: PlaceRequest, answer: PlaceAnswer) -> bool:
    return all(vm.name in answer.hosts for vm in request.vms) and next(faults(request, answer), None) is None
