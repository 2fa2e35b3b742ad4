"""What `plan` and `diff` share: a plan on standard output, in any of its formats, or why there is none."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kvmdecl.plan import Plan

DetailedExitcode = Annotated[bool, typer.Option("--detailed-exitcode", help="Exit 2 when there are changes.")]
Form = Annotated[common.PlanFormat, typer.Option("--format", help="Output format.")]
Expand = Annotated[bool, typer.Option("--expand", help="Show each step of a long plan, and nothing folded.")]
_OF_FINDINGS = frozenset(each.value for each in common.ReportFormat) - {"text", "json"}
"""What can also show why there is no plan. JSON is the plan's alone, for who reads it goes by its schema."""


@contextmanager
def told_in(form: common.PlanFormat, command: str, path: Path, max_bytes: int) -> Iterator[None]:
    """Where there is no plan, show why in the format that was asked for, as far as it can show findings.

    Raises:
        typer.Exit: 1, when that is done.
        Rejected: where it cannot.
    """
    from kvmdecl.diagnostics import Rejected

    try:
        yield
    except Rejected as rejected:
        if form not in _OF_FINDINGS:
            raise
        common.say_findings(rejected.diagnostics, form, command, path, max_bytes)
        raise typer.Exit(common.Exit.ERROR) from rejected


def show_plan(
    plan: Plan,
    form: common.PlanFormat,
    path: Path,
    *,
    command: str = "",
    expand: bool,
    max_bytes: int,
) -> None:
    """Write a plan, and what is said beside it.

    Args:
        plan: to be shown.
        form: of what is written.
        path: of what was planned.
        command: that carries it out, if there is one.
        expand: show each step of a long plan.
        max_bytes: of Markdown.
    """
    match form:
        case common.PlanFormat.TEXT:
            from kvmdecl.views.plan_text import render_plan

            text = render_plan(plan, color=common.color(), next_command=command, expand=expand)
        case common.PlanFormat.JSON:
            text = as_json(plan)
        case common.PlanFormat.MARKDOWN:
            from kvmdecl.views.plan_markdown import render_markdown

            text = render_markdown(plan, max_bytes=max_bytes)
        case common.PlanFormat.HTML:
            from kvmdecl.views.plan_html import render_html

            text = render_html(plan)
        case common.PlanFormat.SVG:
            from kvmdecl.views.topology_svg import render_svg

            text = render_svg(plan)
        case common.PlanFormat.DOT:
            from kvmdecl.views.topology_graph import render_dot

            text = render_dot(plan)
        case common.PlanFormat.MERMAID:
            from kvmdecl.views.topology_graph import render_mermaid

            text = render_mermaid(plan)
        case _:
            from kvmdecl.views.plan_findings import findings

            common.say_findings(findings(plan), form, "plan", path)
            return
    common.say(text, end="")
    if form in {common.PlanFormat.TEXT, common.PlanFormat.JSON}:
        from kvmdecl.views.plan_findings import remarks

        common.report(remarks(plan))


def as_json(plan: Plan) -> str:
    """The plan as a file."""
    from kvmdecl.views.plan_json import render_plan_json  # costs more than a plan without changes

    return render_plan_json(plan)
