"""Steps that differ only in whose they are, as one: what is the same for two hundred guests is read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.plan import Action, Impact, Step

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

_OWN = "\0."
"""Stands for the name of a guest before a dot, as in `web-1.root.qcow2`: no text of a plan has a NUL."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Steps of any hosts that do the same, each to an object of its own; in the order of the plan, and at least one."""

    steps: tuple[Step, ...]

    @property
    def first(self) -> Step:
        """The one that is shown for all."""
        return self.steps[0]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Whose they are, in the order of the plan."""
        return tuple(dict.fromkeys(step.address.host for step in self.steps))


def folded(steps: Iterable[Step]) -> tuple[Fold, ...]:
    """The steps as few, the dangerous ones first and then those that delete; each step is in exactly one fold."""
    groups: dict[Hashable, list[Step]] = {}
    for step in steps:
        groups.setdefault(_shape(step), []).append(step)
    return tuple(sorted((Fold(tuple(group)) for group in groups.values()), key=_dangerous_first))


def danger(step: Step) -> int:
    """How early a step is shown: the lower the earlier; 0 for what keeps its place."""
    return -step.impact if step.impact >= Impact.RESTART else 0


def _dangerous_first(fold: Fold) -> tuple[int, bool]:
    return danger(fold.first), fold.first.action is not Action.DELETE


def _shape(step: Step) -> Hashable:
    """What steps that are folded have in common. Where a change is written is not part of it: entries are many."""
    own = f"{step.guest}." if step.guest else _OWN
    changes = tuple(
        (c.field, c.key, _without(c.before, own), _without(c.after, own), c.impact, c.why, c.origin)
        for c in step.changes
    )
    return step.action, step.address.kind, step.impact, _without(step.summary, own), changes


def _without(text: str | None, own: str) -> str | None:
    return None if text is None else text.replace(own, _OWN)
