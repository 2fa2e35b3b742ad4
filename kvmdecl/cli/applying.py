"""What apply and destroy share: show, ask, carry out, and say how it ended."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence

import typer

from kvmdecl.apply import apply
from kvmdecl.cli import common, planning
from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.events import ApplyFinished, Event
from kvmdecl.hosts.fleet import WritingFleet
from kvmdecl.plan import Action, HostStatus, Plan, Step
from kvmdecl.text import safe_text
from kvmdecl.uri import parse_manifest_uri
from kvmdecl.views.plan_text import render_steps


def show(plan: Plan, warnings: Sequence[Diagnostic] = ()) -> None:
    """Print the plan and everything that goes with it, before anybody is asked."""
    common.say(render_steps(plan, color=common.color()), end="")
    common.report((*plan.blocked, *warnings, *plan.notes))


def consent(plan: Plan, *, yes: bool, allowed: frozenset[str]) -> None:
    """Make sure that the user said yes: to the plan, and to each deletion by its name.

    Raises:
        typer.Exit: 4 when a deletion lacks consent, 1 when the user said no.
        Rejected: `apply.unknown-consent` when --allow-delete names nothing that the plan deletes.
    """
    deletions = [step for step in plan.steps if step.action is Action.DELETE]
    unknown = allowed - {str(step.address) for step in deletions}
    if unknown:
        raise Rejected([_unknown_consent(name, deletions) for name in sorted(unknown)])
    if yes or not sys.stdin.isatty():
        _require_names(deletions, allowed)
        if not yes:
            raise Rejected([_NOBODY_TO_ASK])
        return
    missing = [step for step in deletions if str(step.address) not in allowed]
    if missing and not _confirmed(f"Delete {_listed(missing)}?"):
        raise typer.Exit(common.Exit.BLOCKED)
    if not _confirmed(f"Carry out {len(plan.steps)} steps?"):
        common.say("Nothing was changed.")
        raise typer.Exit(common.Exit.ERROR)


_NOBODY_TO_ASK = Diagnostic(
    code="apply.nobody-to-ask",
    summary="there is no terminal to ask on",
    cause="Without a yes nothing is changed.",
    hint="review the plan, then add `--yes`, or save it with `plan --out plan.json` and apply that file.",
)


def _require_names(deletions: Sequence[Step], allowed: frozenset[str]) -> None:
    missing = [str(step.address) for step in deletions if str(step.address) not in allowed]
    if missing:
        common.complain("Nothing was changed: these deletions need your consent by name:")
        for address in missing:
            common.complain(f"    --allow-delete {safe_text(address)}")
        raise typer.Exit(common.Exit.BLOCKED)


def _unknown_consent(name: str, deletions: Sequence[Step]) -> Diagnostic:
    return Diagnostic(
        code="apply.unknown-consent",
        summary=f"the plan does not delete {safe_text(name)}",
        cause="A consent names exactly what it allows, so that it cannot outlive the plan it was given for.",
        hint=f"it deletes {_listed(deletions)}." if deletions else "it deletes nothing; drop --allow-delete.",
    )


def _listed(steps: Iterable[Step]) -> str:
    return ", ".join(safe_text(str(step.address)) for step in steps)


def _confirmed(question: str) -> bool:
    return typer.confirm(question, default=False, err=True)


def carry_out(plan: Plan, *, parallel: int, progress: common.ProgressView) -> common.Exit:
    """Apply the plan and show its events until the last; Ctrl-C lets running steps finish and starts no other."""
    answering = {host.name: parse_manifest_uri(host.uri) for host in plan.hosts if host.status is HostStatus.OK}
    wanted = {step.address.host for step in plan.steps}
    cancelled = threading.Event()
    with WritingFleet({name: uri for name, uri in answering.items() if name in wanted}) as fleet:
        events = apply(plan, fleet, parallel=parallel, cancelled=cancelled)
        last = common.show_events(_watched(events), plan, progress, cancelled)
    return _ended(plan, last)


def _watched(events: Iterator[Event]) -> Iterator[Event]:
    return events


def _ended(plan: Plan, last: ApplyFinished | None) -> common.Exit:
    if last is None or last.failed or last.refused or last.skipped or not plan.complete:
        return common.Exit.PARTIAL
    return planning.exit_code(plan, detailed=False)
