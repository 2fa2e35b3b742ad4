"""What a plan says of lines of the manifest, as findings: what shows those beside a change can show a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.plan import Action, Impact, Plan, Step
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def findings(plan: Plan, warnings: Sequence[Diagnostic] = ()) -> tuple[Diagnostic, ...]:
    """What is wrong or worth knowing, and each step that interrupts a guest or deletes something, at its line."""
    return (*plan.exceeded, *plan.blocked, *warnings, *plan.notes, *_interruptions(plan))


def _interruptions(plan: Plan) -> Iterator[Diagnostic]:
    for step in plan.steps:
        deletes = step.action is Action.DELETE
        if step.impact < Impact.RESTART and not deletes:
            continue
        worst = max(step.changes, key=lambda change: change.impact, default=None)
        what = "is deleted" if deletes else _WORDS[step.impact]
        yield Diagnostic(
            "plan.interrupts",
            f"{step.address.kind} {safe_text(step.address.name)} on {step.address.host} {what}",
            (worst.at if worst is not None else None) or step.at,
            _reason(step),
            "see that it is meant, and when it happens",
            severity=Severity.WARNING,
            subject=f"{step.address.kind}/{step.address.name}",
        )


_WORDS = {
    Impact.RESTART: "is restarted",
    Impact.MIGRATE: "moves to another host while it runs",
    Impact.DOWNTIME: "stops",
    Impact.DATA_LOSS: "loses data",
}


def _reason(step: Step) -> str:
    worst = [change for change in step.changes if change.impact is step.impact]
    told = [f"{change.key}: {change.before} -> {change.after}" for change in worst[:3]]
    return f"{'; '.join(told)}." if told else f"{step.summary}." * bool(step.summary)
