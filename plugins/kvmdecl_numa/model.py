"""Placement as a program in whole numbers: how many guests of each kind are where. OR-tools' CP-SAT solves it.

A variable for each guest and CPU would not get far: guests alike are counted, and CPUs follow from counts (`pins`).
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from ortools.sat.python import cp_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmdecl.api import Group
    from kvmdecl_numa.counted import Kind, Room
    from kvmdecl_numa.rooms import CellLeft
    from kvmdecl_numa.ways import Resource

    # A linear expression of CP-SAT: the library is not there where it is not needed, and nor are its types.
    Sum = Any

_OF_CORES = ("isolated", "pairs", "threads")  # depend on each other


class Solved(NamedTuple):
    """How good the best answer is, and what none surpasses."""

    value: int
    bound: int


class Filled(NamedTuple):
    """Who is placed, by kind, and the most weight that any can be together."""

    members: Sequence[Sequence[int]]
    bound: int


class Model:
    """Kinds of guests in a room. Goals are set one after the other: the next keeps what the one before has reached.

    `effort` is for each goal in CP-SAT's deterministic time, roughly seconds: with a clock answers would differ.

    Attributes:
        counts: by kind, how many guests are placed in which way.
    """

    def __init__(self, kinds: Sequence[Kind], room: Room, effort: float) -> None:
        self._kinds = kinds
        self._room = room
        self._model = cp_model.CpModel()
        self._solver = cp_model.CpSolver()
        self._solver.parameters.num_workers = 1  # two race, and either may win
        self._solver.parameters.random_seed = 1
        self._solver.parameters.max_deterministic_time = effort
        self.counts: list[list[int]] = [
            [kind.likely.get(index, 0) for index in range(len(kind.ways))] for kind in kinds
        ]
        self._counts = [[self._number(len(kind.members)) for _ in kind.ways] for kind in kinds]
        self._placed = [_sum(counts) for counts in self._counts]
        for kind, placed in zip(kinds, self._placed, strict=True):
            self._model.add(placed <= len(kind.members))
        self._bound_amounts()
        self._misses = [miss for index, group in enumerate(room.groups) for miss in self._bind(index, group)]

    # -- goals ---------------------------------------------------------------------------------------------

    def reach(self, first: int, most: int) -> Solved | None:
        """Place as many of the first guests as can be: so many are known to fit, and so many there are."""
        steps = [self._number(1) for _ in range(first, most)]
        for step, next_ in itertools.pairwise(steps):
            self._model.add(next_ <= step)
        for kind, placed in zip(self._kinds, self._placed, strict=True):
            late = [steps[number - first] for number in kind.members if first <= number < most]
            self._model.add(placed >= sum(number < first for number in kind.members) + _sum(late))
        solved = self._maximize(_sum(steps))
        return solved and Solved(first + solved.value, first + solved.bound)

    def fill(self, held: int) -> Filled | None:
        """As much weight as can be beside the first guests, which are held."""
        many = 1 + sum(len(kind.members) for kind in self._kinds)  # of equal weight more guests are better
        late: list[dict[int, Sum]] = []
        for kind, placed in zip(self._kinds, self._placed, strict=True):
            by_weight = Counter(kind.weights[_first(kind, held) :])
            late.append({weight: self._number(count) for weight, count in sorted(by_weight.items())})
            self._model.add(placed == _first(kind, held) + _sum(late[-1].values()))
        terms = [(many * weight + 1) * count for each in late for weight, count in each.items()]
        solved = self._maximize(_sum(terms))
        if solved is None:
            return None
        chosen = [
            [*kind.members[: _first(kind, held)], *self._chosen(kind, held, each)]
            for kind, each in zip(self._kinds, late, strict=True)
        ]
        for members, placed in zip(chosen, self._placed, strict=True):
            self._model.add(placed == len(members))
        return Filled([sorted(members) for members in chosen], solved.bound // many)

    def please(self) -> None:
        """As few as can be who are not where their soft groups want them."""
        self._maximize(-_sum(self._misses))

    def _chosen(self, kind: Kind, held: int, late: Mapping[int, Sum]) -> Iterable[int]:
        """Of those of one weight the first."""
        start = _first(kind, held)
        rest = list(zip(kind.members[start:], kind.weights[start:], strict=True))
        for weight, count in late.items():
            yield from [number for number, by in rest if by == weight][: self._solver.value(count)]

    def _maximize(self, goal: Sum) -> Solved | None:
        """None if nothing was found in time; what was found before is still there."""
        self._model.maximize(goal)
        self._model.clear_hints()
        for variables, values in zip(self._counts, self.counts, strict=True):
            for variable, value in zip(variables, values, strict=True):
                self._model.add_hint(variable, value)
        status = self._solver.solve(self._model)
        if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return None
        self.counts = [[self._solver.value(each) for each in variables] for variables in self._counts]
        return Solved(round(self._solver.objective_value), int(self._solver.best_objective_bound + 1e-6))

    # -- rules ---------------------------------------------------------------------------------------------

    def _number(self, most: int) -> Sum:
        return self._model.new_int_var(0, most, "")

    def _bound_amounts(self) -> None:
        """No more is taken of anything than there is."""
        taken: defaultdict[tuple[int, Resource], list[Sum]] = defaultdict(list)
        for kind, counts in zip(self._kinds, self._counts, strict=True):
            for way, count in zip(kind.ways, counts, strict=True):
                for resource, amount in way.takes.items():
                    taken[way.fit.host, resource].append(amount * count)
        for key, terms in taken.items():
            if key[1][1] not in _OF_CORES:
                self._model.add(_sum(terms) <= self._room.amounts.get(key, 0))
        for host, number in sorted({(host, cell) for host, (cell, what) in taken if what in _OF_CORES}):
            of_cores = {what: _sum(taken.get((host, (number, what)), ())) for what in _OF_CORES}
            self._bound_cores(self._room.cells[host, number], of_cores)

    def _bound_cores(self, left: CellLeft, taken: Mapping[str, Sum]) -> None:
        """As `CellLeft.has`: an isolated vCPU has a CPU that is a core, or a core of several threads."""
        spent = self._number(left.whole)
        self._model.add(spent >= taken["isolated"] - left.sole)
        self._model.add(taken["threads"] + spent * (left.per_core - 1) <= left.cpus)
        self._model.add(taken["pairs"] + spent * (left.per_core // 2) <= left.most_pairs)

    def _bind(self, index: int, group: Group) -> Iterator[Sum]:
        """Keep a group apart or together; how many are not, which of a hard one is none."""
        values, there = self._room.values[index], self._room.there[index]
        coming: defaultdict[str | None, list[Sum]] = defaultdict(list)
        for kind, counts in zip(self._kinds, self._counts, strict=True):
            if index in kind.groups:
                for way, count in zip(kind.ways, counts, strict=True):
                    coming[values[way.fit.host]].append(count)
        used = []
        for value, counts in coming.items():
            number = _sum(counts)
            if group.apart:
                over = self._number(len(group.members) if group.soft else 0)
                self._model.add(number + min(there[value], group.most) <= group.most + over)
                yield over
            elif not there[value]:
                used.append(self._number(1))
                self._model.add(number <= len(group.members) * used[-1])
        if not group.apart:
            more = self._number(len(used) if group.soft else 0)
            self._model.add(_sum(used) + bool(+there) <= 1 + more)
            yield more


def _first(kind: Kind, held: int) -> int:
    """How many members are among the first."""
    return sum(number < held for number in kind.members)


def _sum(terms: Iterable[Sum]) -> Sum:
    return cp_model.LinearExpr.sum(list(terms))
