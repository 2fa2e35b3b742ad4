"""`kvmdecl undo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kvmdecl.cli import common


def run(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name of the run; `last` for the newest.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Save the plan to this file, for `kvmdecl apply FILE`, and do nothing."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask. Deletions still need --allow-delete.")
    ] = False,
    allow_delete: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Consent to deleting this object in this plan, as the plan names it: HOST/KIND/NAME@DIGEST. "
            "May be repeated.",
        ),
    ] = None,
    until_wave: common.UntilWave = "",
    parallel: Annotated[int, typer.Option(min=1, max=256, help="Steps at once, over all hosts.")] = 8,
    progress: Annotated[
        common.ProgressView, typer.Option(help="How to show progress.")
    ] = common.ProgressView.AUTO,
    journal: common.JournalDirectory = None,
    policies: common.PolicyFile = None,
    consents: common.ConsentFile = None,
) -> None:
    """Plan the way back from a run, show it and ask.

    Objects that the run changed get what was declared before, those that it made are deleted and those that it deleted
    are defined again. What a cluster manager goes by (`ha`) becomes what it was, as far as it is this cluster's.
    Volumes stay as they are. What cannot be undone is named. The manifest is not changed: put it back, too, or the next
    apply does it all again. Policies of plugins and of --policies hold for it.

    Examples:
      kvmdecl undo last
      kvmdecl undo last --until-wave canary
      kvmdecl undo 20261126t074211z-7f3a5c --out back.json

    Exit codes: 0 done or saved, 1 error, 3 done in part, 4 a deletion lacks consent or a
    policy denies it, 5 another run holds a host.
    """
    from kvmdecl.cli import applying, judging, planning
    from kvmdecl.journal import find_run
    from kvmdecl.planner.undo import Begun, steps_of, undo_managers, undo_plan
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.views.plan_json import render_plan_json

    if out is not None and (until_wave or consents is not None):
        raise typer.BadParameter(
            "a plan is saved as a whole: give --until-wave and --consents to `apply FILE`"
        )
    found = find_run(common.journal_directory(journal), run)
    begun = [address for address in found.begun if found.ends.get(address) != "refused"]
    seen = applying.observe(found.plan)
    steps = [Begun(step, found.before(step.address)) for step in steps_of(found.plan, begun)]
    plan = undo_managers(undo_plan(found.plan, steps, seen), steps, applying.way_back(found.plan))
    plan = judging.judge(judging.by_file(plan, policies), load_plugins(), "undo")
    applying.show(plan, progress)
    if out is not None:
        common.write_file(out, render_plan_json(plan), private=True)
        raise typer.Exit(planning.exit_code(plan, detailed=False))
    applying.require_allowed(plan)
    agreed = applying.Agreed.read(consents, plan)
    if until_wave:
        plan = applying.cut(plan, until_wave)
    if plan.empty:
        raise typer.Exit(planning.exit_code(plan, detailed=False))
    applying.require_budget(plan)
    given = applying.consent(
        plan, yes=yes, allowed=frozenset(allow_delete or ()), reviewed=False, agreed=agreed
    )
    errand = applying.Errand("undo", f"run {found.name}", seen, given, journal)
    raise typer.Exit(applying.carry_out(plan, errand, parallel=parallel, progress=progress))
