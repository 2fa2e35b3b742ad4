"""Why a placement cannot be had: the smallest set of demands that conflict, found by asking the solver again."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl.shortfall import Left
from kvmdecl.solver import Budget, PlaceRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmdecl.solver import Group, Place, PlaceAnswer, Solver, VmToPlace

MOST_WORK = 20_000
"""Vms and hosts that the solver is asked about, counted again each time that it is asked.

That is for all sets together: where a question is large, one set is told of, or none, rather than kept waiting for.
"""
MOST_SOLVES = 400
_ADDING_UP = 10  # is that much less work than solving
MOST_SETS = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """A line of the manifest that keeps vms from hosts that they could have otherwise.

    Attributes:
        words: what it is ("kvm-2 is in maintenance").
        subject: whose line it is (`host/kvm-2`, `vm/web`), and `key` which one (`maintenance`, `host_labels.rack`).
        hosts: that are barred, by vm.
        label: that vms must find at their host, if it is about one.
    """

    words: str
    subject: str
    key: str
    hosts: Mapping[str, frozenset[str]]
    label: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A request whose vms have all candidates that they could have, and what bars them from some of these."""

    request: PlaceRequest
    bars: tuple[Bar, ...] = ()

    def narrow(self) -> PlaceRequest:
        """As a solver is asked. A vm that is barred from all hosts has no candidates."""
        barred: defaultdict[str, set[str]] = defaultdict(set)
        for bar in self.bars:
            for name, hosts in bar.hosts.items():
                barred[name] |= hosts
        vms = tuple(
            replace(vm, candidates=tuple(host for host in vm.candidates if host not in barred[vm.name]))
            if vm.name in barred
            else vm
            for vm in self.request.vms
        )
        return replace(self.request, vms=vms)

    def part(self, vms: Iterable[str], groups: Iterable[Group], bars: Iterable[Bar]) -> Question:
        """The same with these of its vms, groups and bars alone. A soft group is no demand."""
        names, kept = frozenset(vms), tuple(bars)
        asked = tuple(vm for vm in self.request.vms if vm.name in names)
        for bar in self.bars:
            if bar.label is not None and bar not in kept:
                asked = tuple(_without_label(vm, bar) for vm in asked)
        there = names | {vm.name for vm in self.request.residents}
        left = (replace(group, members=group.members & there) for group in groups if not group.soft)
        apart = tuple(group for group in left if len(group.members) > 1)
        return Question(replace(self.request, vms=asked, groups=apart), kept)


def _without_label(vm: VmToPlace, bar: Bar) -> VmToPlace:
    if vm.shape is None or vm.name not in bar.hosts:
        return vm
    labels = tuple(label for label in vm.shape.labels if label != bar.label)
    return replace(vm, shape=replace(vm.shape, labels=labels))


class Asking:
    """A solver that is asked a limited number of times."""

    def __init__(self, solver: Solver, work: int = MOST_WORK, solves: int = MOST_SOLVES) -> None:
        self._solver = solver
        self._work = work
        self._solves = solves
        self.exhausted = False

    def fits(self, question: Question) -> bool | None:
        """Whether all of its vms find a host; None if the solver was asked often enough."""
        request = question.narrow()
        if any(not vm.candidates for vm in request.vms):
            return False
        if not request.vms:
            return True
        self._work -= (len(request.vms) + len(request.hosts)) // _ADDING_UP
        if self._work < 0:
            self.exhausted = True
            return None
        if impossible(request):
            return False
        answer = self.answer(request)
        if answer is None:
            return None
        return all(answer.hosts.get(vm.name) in vm.candidates for vm in request.vms)

    def answer(self, request: PlaceRequest) -> PlaceAnswer | None:
        """What the solver says; None if it was asked often enough."""
        self._work -= len(request.vms) + len(request.hosts)
        self._solves -= 1
        if self._work < 0 or self._solves < 0:
            self.exhausted = True
            return None
        return self._solver(replace(request, all_or_none=True))


def impossible(request: PlaceRequest) -> bool:
    """Whether numbers alone show that not all vms can be placed: a solver would look for a way for long.

    Vms alike are held against what their candidates have. False says nothing.
    """
    if request.budget != Budget():
        return False  # who moves leaves other room
    there: defaultdict[str, list[tuple[VmToPlace, Place]]] = defaultdict(list)
    for vm in request.residents:
        if vm.place is not None:
            there[vm.place.host].append((vm, vm.place))
    left = {room.name: Left(room, there[room.name]) for room in request.hosts}
    free = {room.name: room.memory - room.used_memory for room in request.hosts}
    counts = Counter((vm.shape, vm.memory, vm.candidates) for vm in request.vms)
    for (shape, memory, hosts), count in counts.items():
        known = [name for name in hosts if name in left]
        if shape is None:
            most = sum(max(0, free[name]) // memory for name in known) if memory else count
        else:
            most = count if shape.spills else sum(left[name].most(shape) for name in known)
        if count > most:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Conflict:
    """Demands that cannot be met together, beside the vms that keep their place.

    Attributes:
        vms: of which without any one the others have a place.
        groups: the same of what keeps vms apart or together.
        bars: the same of what bars vms from hosts.
        refused: vms alike that the solver found no host for, which this is about; the first is among `vms`.
        scope: the question whether these have a place beside all that have one.
        smallest: whether no member can be left out; False if the solver would have had to be asked too often.
    """

    vms: tuple[str, ...]
    groups: tuple[Group, ...]
    bars: tuple[Bar, ...]
    refused: tuple[str, ...]
    scope: Question
    smallest: bool

    @property
    def question(self) -> Question:
        """Whether the members alone have a place."""
        return self.scope.part(self.vms, self.groups, self.bars)


def conflicts(question: Question, answer: PlaceAnswer, solver: Solver) -> Iterator[Conflict]:
    """For each kind of vms that has no host in the solver's answer, up to three: what it conflicts with.

    Of large clusters fewer, for the solver is asked a limited number of times.
    """
    asking = Asking(solver, solves=MOST_SOLVES * MOST_SETS)
    placed = [vm.name for vm in question.request.vms if vm.name in answer.hosts]
    alike = ([vm.name for vm in vms if vm.name not in answer.hosts] for vms in kinds(question))
    for names in list(filter(None, alike))[:MOST_SETS]:
        scope = question.part((*placed, *names), question.request.groups, question.bars)
        if (found := conflict(scope, names, answer, asking)) is not None:
            yield found


def conflict(scope: Question, refused: Sequence[str], answer: PlaceAnswer, asking: Asking) -> Conflict | None:
    """The smallest set of demands of `scope` that has the first of the refused vms in it and cannot be met.

    None if the solver finds a place for that vm after all.
    """
    others = frozenset(refused[1:])
    names = [vm.name for vm in scope.request.vms if vm.name not in others]
    whole = scope.part(names, scope.request.groups, scope.bars)
    parts = _parts(whole, refused[0], answer)
    if asking.fits(whole) is not False:
        # Alone it has a place; only with those like it there is none.
        whole, parts = scope, _parts(scope, refused[0], answer)
        if asking.fits(whole) is not False:
            return None
    found = _Thinning(whole, parts, asking).done()
    return Conflict(
        tuple(name for part in found for name in part.vms),
        tuple(part.group for part in found if part.group is not None),
        tuple(part.bar for part in found if part.bar is not None),
        tuple(refused),
        scope,
        smallest=not asking.exhausted,
    )


class _Part(NamedTuple):
    """Demands of which any number may be left out: vms alike, a group, or a bar."""

    vms: tuple[str, ...] = ()
    group: Group | None = None
    bar: Bar | None = None
    least: int = 0

    @property
    def size(self) -> int:
        return len(self.vms) if self.vms else 1


def kinds(question: Question) -> list[list[VmToPlace]]:
    """The vms of a question: those that are alike to a solver together, in the order of the first of each."""
    ties: defaultdict[str, list[object]] = defaultdict(list)
    for number, group in enumerate(question.request.groups):
        for name in group.members:
            ties[name].append(number)
    for bar in question.bars:
        for name, hosts in bar.hosts.items():
            ties[name].append((bar.subject, bar.key, hosts))
    found: dict[object, list[VmToPlace]] = {}
    for vm in question.request.vms:
        alike = replace(vm, name="", place=None), tuple(ties.get(vm.name, ()))
        found.setdefault(alike, []).append(vm)
    return list(found.values())


def _parts(whole: Question, first: str, answer: PlaceAnswer) -> list[_Part]:
    """What may be left out, the likeliest first: groups and bars, vms far from its hosts, near ones, those like it."""
    mine = next(vm for vm in whole.request.vms if vm.name == first)
    near = frozenset(mine.candidates)
    parts: list[tuple[int, _Part]] = []
    for alike in kinds(whole):
        names = tuple(vm.name for vm in alike if vm.name != first)
        if any(vm.name == first for vm in alike):
            parts.append((2, _Part((first, *names), least=1)))
        else:
            touches = any(answer.hosts.get(vm.name) in near for vm in alike)
            parts.append((int(touches), _Part(names)))
    vms = [part for _, part in sorted(parts, key=lambda each: each[0])]
    bars = [_Part(bar=bar) for bar in whole.bars]
    return [*bars, *(_Part(group=group) for group in whole.request.groups), *vms]


class _Thinning:
    """Leaves demands out for as long as the rest cannot be met: halves of them first, then of vms alike some."""

    def __init__(self, whole: Question, parts: list[_Part], asking: Asking) -> None:
        self._whole = whole
        self._parts = parts
        self._kept = [part.size for part in parts]
        self._asking = asking

    def done(self) -> list[_Part]:
        """The parts that are left, each with the vms that are."""
        rules = sum(not part.vms for part in self._parts)
        self._thin(range(rules))
        self._thin(range(rules, len(self._parts)))
        while self._one_more():
            pass
        return [
            part._replace(vms=part.vms[:kept])
            for part, kept in zip(self._parts, self._kept, strict=True)
            if kept
        ]

    def _thin(self, chunk: range, *, needed: bool = False) -> None:
        """Keep as little as possible of a chunk of the parts; `needed`: it is known that it is needed."""
        if not chunk or (not needed and self._reduce({n: self._parts[n].least for n in chunk})):
            return
        if len(chunk) == 1:
            self._bisect(chunk[0])
            return
        half = len(chunk) // 2
        self._thin(chunk[:half])
        # If all of the first half could go, the second cannot: together they cannot.
        gone = all(self._kept[n] == self._parts[n].least for n in chunk[:half])
        self._thin(chunk[half:], needed=gone)

    def _bisect(self, number: int) -> None:
        """Keep the fewest of vms alike; that the least do not conflict is known."""
        fits, most = self._parts[number].least, self._kept[number]
        while most - fits > 1:
            middle = (fits + most) // 2
            if self._reduce({number: middle}):
                most = middle
            else:
                fits = middle

    def _one_more(self) -> bool:
        """Whether one more demand could go: a solver that is not exact may refuse less of more."""
        return any(
            kept > 0 and not (kept == 1 and self._parts[number].least) and self._reduce({number: kept - 1})
            for number, kept in enumerate(self._kept)
        )

    def _reduce(self, counts: dict[int, int]) -> bool:
        """Keep only so many of these parts, if the rest conflicts all the same."""
        kept = [counts.get(number, count) for number, count in enumerate(self._kept)]
        if self._asking.fits(self._question(kept)) is not False:
            return False
        self._kept = kept
        return True

    def _question(self, kept: list[int]) -> Question:
        some = list(zip(self._parts, kept, strict=True))
        return self._whole.part(
            [name for part, count in some for name in part.vms[:count]],
            [part.group for part, count in some if part.group is not None and count],
            [part.bar for part, count in some if part.bar is not None and count],
        )
