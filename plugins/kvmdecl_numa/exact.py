"""The solver `exact`: begins with what `numa` answers, and finds what is better or proves that nothing is."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kvmdecl.api import Diagnostic, Rejected
from kvmdecl_numa.counted import Counted
from kvmdecl_numa.search import Effort
from kvmdecl_numa.solver import first_placed, numa

if TYPE_CHECKING:
    from kvmdecl.api import PlaceAnswer, PlaceRequest
    from kvmdecl_numa.search import Measure

_TIME = 10.0
_MOST_WAYS = 60_000  # with more of them the library does not get beyond what it is given


def exact(request: PlaceRequest, /, effort: Effort = Effort(), time: float = _TIME) -> PlaceAnswer:  # noqa: B008 - it is frozen
    """As `numa`, and never worse; says how many of the first vms any answer could place.

    `time` is CP-SAT's deterministic time, roughly seconds, for each of three goals: the first vms, then others beside
    them, then what soft groups wish. Residents are where `numa` leaves them.

    Raises:
        Rejected: `numa.no-library`: OR-tools is not installed.
    """
    if find_spec("ortools") is None:
        raise Rejected([_no_library()])
    answer = numa(request, effort)
    if not answer.refused and not any(group.soft for group in request.groups):
        return replace(answer, bound=len(request.vms))
    return improved(request, answer, "prefix", time)


def improved(
    request: PlaceRequest, answer: PlaceAnswer, measure: Measure, time: float = _TIME
) -> PlaceAnswer:
    """A better answer, or the same. Its bound is of the first vms, or of the weight or the number of all."""
    counted = Counted(request, answer, measure)
    if counted.size > _MOST_WAYS:
        return answer
    from kvmdecl_numa.model import Model

    model = Model(counted.kinds, counted.room, time)
    held, bound = 0, None
    if measure == "prefix":
        known, most = first_placed(request, answer), len(request.vms)
        held, bound = model.reach(known, most) or (known, most)
    filled = model.fill(held)
    if filled is not None:
        if any(group.soft for group in request.groups):
            model.please()
        answer = counted.answer(filled.members, model.counts)
        bound = filled.bound if bound is None else bound
    return replace(answer, bound=bound if counted.complete else None)


def _no_library() -> Diagnostic:
    return Diagnostic(
        "numa.no-library",
        "the solver exact needs OR-tools, which is not installed",
        cause="It is no part of kvmdecl, for it is large and nothing else needs it.",
        hint="`pip install 'kvmdecl[exact]'`, or leave `placement` out to have another solver chosen",
    )
