"""What is said of vms that have no host: what conflicts, how much is short of what, and what would help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.conflict_set import Asking, Bar, conflicts
from kvmdecl.diagnostics import Note
from kvmdecl.names import KIB, MIB, about_size, format_size
from kvmdecl.repairs import repairs
from kvmdecl.shortfall import shortfalls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.cluster import ResolvedCluster, ResolvedVm
    from kvmdecl.conflict_set import Conflict, Question
    from kvmdecl.diagnostics import Span
    from kvmdecl.shortfall import Short
    from kvmdecl.solver import Group, Place, PlaceAnswer, Solver, VmToPlace

_MOST_SOLVES = 100
"""How often the solver is asked for the repairs of one conflict, at most."""
_MOST_HOSTS = 3


@dataclass(frozen=True, slots=True)
class Advice:
    """Notes about a vm that has no host, and a hint; both may be empty."""

    notes: tuple[Note, ...] = ()
    hint: str = ""


def bars(cluster: ResolvedCluster, wide: Mapping[str, tuple[str, ...]]) -> tuple[Bar, ...]:
    """What bars vms from hosts that they could have otherwise, which are given: maintenance, and labels of hosts."""
    found: list[Bar] = []
    for host in cluster.hosts:
        barred = {name: frozenset({host.name}) for name, hosts in wide.items() if host.name in hosts}
        if host.maintenance and barred:
            found.append(Bar(f"{host.name} is in maintenance", f"host/{host.name}", "maintenance", barred))
    return (*found, *_labels(cluster, wide))


def _labels(cluster: ResolvedCluster, wide: Mapping[str, tuple[str, ...]]) -> Iterator[Bar]:
    """Of all vms of an entry together: there the label is written."""
    asking: dict[tuple[Span | None, str, str], list[ResolvedVm]] = {}
    for vm in cluster.vms:
        for label, value in sorted(vm.spec.host_labels.items() if vm.name in wide else ()):
            asking.setdefault((vm.origin.find(f"host_labels.{label}"), label, value), []).append(vm)
    labels = {host.name: host.labels for host in cluster.hosts}
    for (_, label, value), vms in asking.items():
        lacking = {
            vm.name: frozenset(host for host in wide[vm.name] if labels[host].get(label) != value)
            for vm in vms
        }
        barred = {name: hosts for name, hosts in lacking.items() if hosts}
        if barred:
            words = f"{_listed([vm.name for vm in vms])} must have a host whose {label} is {value}"
            yield Bar(words, f"vm/{vms[0].name}", f"host_labels.{label}", barred, (label, value))


def advise(
    cluster: ResolvedCluster, question: Question, answer: PlaceAnswer, solver: Solver
) -> dict[str, Advice]:
    """For vms that have no host in the solver's answer: what can be told of why, and what would help."""
    found: dict[str, Advice] = {}
    teller = _Teller(cluster)
    for conflict in conflicts(question, answer, solver):
        first, *others = conflict.refused
        short = _short(conflict, answer)
        tried = repairs(conflict, short, Asking(solver, solves=_MOST_SOLVES))
        hint = "; or ".join(repair.words for repair in tried)
        found[first] = Advice(
            (*(Note(str(each)) for each in short), *teller.members(conflict)),
            f"this is enough, as far as placement goes: {hint}" if hint else "",
        )
        same = Advice(
            (Note(f"it is the same with {first}"),), f"what helps {first} helps it, too" if hint else ""
        )
        found |= dict.fromkeys(others, same)
    return found


def _short(conflict: Conflict, answer: PlaceAnswer) -> list[Short]:
    """What the hosts that come nearest are short of for the conflict's first vm."""
    request = conflict.scope.request
    vms = {vm.name: vm for vm in (*request.residents, *request.vms)}
    places = {vm.name: vm.place for vm in request.residents if vm.place is not None} | dict(answer.places)
    there: dict[str, list[tuple[VmToPlace, Place]]] = {}
    for name, place in sorted(places.items()):
        if name in vms:
            there.setdefault(place.host, []).append((vms[name], place))
    first = next(vm for vm in conflict.scope.narrow().vms if vm.name == conflict.refused[0])
    open_ = [room for room in request.hosts if room.name in first.candidates]
    found = [shortfalls(first, room, there.get(room.name, ())) for room in open_]
    nearest = sorted(
        filter(None, found), key=lambda short: sum(1 - each.free / each.wanted for each in short)
    )
    return [each for short in nearest[:_MOST_HOSTS] for each in short]


class _Teller:
    """Says demands in words, each with its place in the manifest."""

    def __init__(self, cluster: ResolvedCluster) -> None:
        self._vms = {vm.name: vm for vm in cluster.vms}
        self._hosts = {host.name: host for host in cluster.hosts}

    def members(self, conflict: Conflict) -> Iterator[Note]:
        """Nothing if the vm does not even fit alone, with nothing that bars it: then the hosts say it all."""
        if len(conflict.vms) + len(conflict.groups) + len(conflict.bars) == 1:
            return
        yield Note(
            "these demands conflict; without any one of them the others could be met"
            if conflict.smallest
            else "these demands conflict; fewer of them may, but finding out would take long"
        )
        entries: dict[str, list[VmToPlace]] = {}
        for vm in conflict.question.request.vms:
            entries.setdefault(vm.group, []).append(vm)
        for vms in entries.values():
            verb = "wants" if len(vms) == 1 else "want, each,"
            names = _listed([vm.name for vm in vms])
            yield Note(f"{names} {verb} {_wish(vms[0])}", self._vms[vms[0].name].origin.at)
        yield from map(self._group, conflict.groups)
        for bar in conflict.bars:
            kind, _, name = bar.subject.partition("/")
            origin = (self._hosts if kind == "host" else self._vms)[name].origin
            yield Note(bar.words, origin.find(bar.key))

    def _group(self, group: Group) -> Note:
        names = sorted(group.members)
        where = "on one host" if group.scope == "host" else f"under one {group.scope}"
        key = "apart" if group.apart else "together"
        must = f"of them at most {group.most} may be" if group.apart else "all of them must be"
        return Note(f"{_listed(names)}: {must} {where}", self._vms[names[0]].origin.find(key))


def _wish(vm: VmToPlace) -> str:
    if vm.shape is None:
        return f"{vm.cpus} CPU{'s' * (vm.cpus > 1)} and {about_size(vm.memory)}"
    shape = vm.shape
    parts = [] if shape.cells else [about_size(shape.memory * MIB)]
    for cell in shape.cells:
        pinned, floating = len(cell.pinned), len(cell.floating)
        words = [f"{pinned} dedicated CPU{'s' * (pinned > 1)}"] * (pinned > 0)
        words += [f"{floating} shared vCPU{'s' * (floating > 1)}"] * (floating > 0)
        parts.append(" and ".join([*words, about_size(cell.memory * MIB)]))
    text = " in one cell, ".join(parts) + " in another" * (len(parts) > 1)
    devices = "".join(f" and {demand.count} of {demand.model}" for demand in shape.devices)
    pages = f" in pages of {format_size(shape.pages * KIB)}" if isinstance(shape.pages, int) else ""
    threads = f" (threads: {shape.threads})" if shape.threads != "prefer" else ""
    return f"{text}{pages}{threads}{devices}"


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    if len(known) > 4:
        return f"{', '.join(known[:3])} and {len(known) - 3} more"
    return " and ".join(filter(None, [", ".join(known[:-1]), known[-1]]))
