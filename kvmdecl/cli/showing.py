"""What `plan` and `diff` share: a plan on standard output, in any of its formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.plan import Plan

DetailedExitcode = Annotated[bool, typer.Option("--detailed-exitcode", help="Exit 2 when there are changes.")]
Form = Annotated[common.PlanFormat, typer.Option("--format", help="Output format.")]
Expand = Annotated[bool, typer.Option("--expand", help="Show each step of a long plan, and nothing folded.")]
MaxBytes = Annotated[int, typer.Option(min=8_000, metavar="N", help="Length of the Markdown, at most.")]
MOST_BYTES = 60_000
"""`plan_markdown.MAX_BYTES`, which no `--help` has to read; `MaxBytes` begins with its `LEAST_BYTES`."""


def show_plan(
    plan: Plan,
    warnings: tuple[Diagnostic, ...],
    form: common.PlanFormat,
    *,
    command: str = "",
    expand: bool,
    max_bytes: int,
) -> None:
    """Write a plan, and what was found on the way to it.

    Args:
        plan: to be shown.
        warnings: found on the way.
        form: of what is written.
        command: that carries it out, if there is one.
        expand: show each step of a long plan.
        max_bytes: of Markdown.
    """
    if form is common.PlanFormat.TEXT:
        from kvmdecl.views.plan_text import render_plan

        common.say(render_plan(plan, color=common.color(), next_command=command, expand=expand), end="")
    elif form is common.PlanFormat.JSON:
        common.say(as_json(plan), end="")
    elif form is common.PlanFormat.MARKDOWN:
        from hashlib import sha256

        from kvmdecl.views.plan_markdown import render_markdown

        digest = sha256(as_json(plan).encode()).hexdigest()
        common.say(render_markdown(plan, warnings, digest=digest, max_bytes=max_bytes), end="")
    else:
        from kvmdecl.views.plan_findings import findings

        common.say_findings(findings(plan, warnings), form, "plan")
    if form in {common.PlanFormat.TEXT, common.PlanFormat.JSON}:
        common.report((*plan.exceeded, *plan.blocked, *warnings, *plan.notes))


def as_json(plan: Plan) -> str:
    """The plan as a file."""
    from kvmdecl.views.plan_json import render_plan_json  # costs more than a plan without changes

    return render_plan_json(plan)
