"""What a plan says of lines of the manifest, as findings: what shows those beside a change can show a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.plan import Action, Impact, Plan, Step
from kvmdecl.policing import findings as of_policies
from kvmdecl.state import Kind
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator


def findings(plan: Plan) -> tuple[Diagnostic, ...]:
    """What is wrong or worth knowing, and whatever interrupts a guest or deletes something, at its line."""
    return (*remarks(plan), *_interruptions(plan), *_managed_interruptions(plan))


def remarks(plan: Plan) -> tuple[Diagnostic, ...]:
    """What is said beside a plan: limits that it exceeds, what policies say, what is blocked, warnings, notes."""
    return (*plan.exceeded, *of_policies(plan), *plan.blocked, *plan.warnings, *plan.notes)


def _interruptions(plan: Plan) -> Iterator[Diagnostic]:
    for step in plan.steps:
        deletes = step.action is Action.DELETE
        told = step.address.kind is Kind.CLUSTER  # guest by guest
        if told or (step.impact < Impact.RESTART and not deletes):
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


def _managed_interruptions(plan: Plan) -> Iterator[Diagnostic]:
    for manager in plan.managers:
        for each in manager.prospects:
            if each.fate.impact >= Impact.RESTART:
                where = f" on {each.source}" if each.source else ""
                yield Diagnostic(
                    "plan.interrupts",
                    f"vm {safe_text(each.vm)}{where} {_WORDS[each.fate.impact]}",
                    each.at,
                    f"{manager.name} does that: {each.why}." if each.why else "",
                    "see that it is meant, and when it happens",
                    severity=Severity.WARNING,
                    subject=f"vm/{each.vm}",
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
