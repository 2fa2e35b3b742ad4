"""`kvmdecl apply`."""

from __future__ import annotations

from typing import Annotated

import typer

from kvmdecl.cli import common


def run(
    path: common.ClusterPath = common.DEFAULT_PATH,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask. Deletions still need --allow-delete.")
    ] = False,
    allow_delete: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Consent to deleting this object, as the plan names it: HOST/KIND/NAME. May be repeated.",
        ),
    ] = None,
    scheduled: Annotated[
        bool,
        typer.Option("--scheduled", help="Also restart vms of `restart: scheduled` that have a reason to."),
    ] = False,
    forget_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A host that left the cluster is gone for good, with what it had. May be repeated.",
        ),
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, max=256, help="Steps at once, over all hosts.")] = 8,
    progress: Annotated[
        common.ProgressView, typer.Option(help="How to show progress.")
    ] = common.ProgressView.AUTO,
) -> None:
    """Bring the hosts to what the manifest (or a saved plan) says.

    Given a manifest it plans, shows the plan and asks; what a host cannot give its new and changed vms is
    refused before, at the line that asks for it. Given a saved plan (a .json file)
    it does what that plan says and refuses every object that changed since. Hosts that do
    not answer are left alone.

    Examples:
      kvmdecl apply clusters/demo
      kvmdecl apply plan.json --yes

    Exit codes: 0 done, 1 error, 3 done in part (failed or refused steps, unreachable hosts),
    4 a deletion lacks consent, 5 another run holds a host.
    """
    from kvmdecl.cli import applying, planning

    if path.suffix == ".json":
        if scheduled:
            raise typer.BadParameter(
                "a saved plan says itself what restarts: give --scheduled to `plan --out`"
            )
        if forget_host:
            raise typer.BadParameter("a saved plan says itself who is forgotten: give it to `plan --out`")
        plan = applying.read_saved(path)
        applying.show(plan, progress)
    else:
        plan, warnings = planning.make(path, scheduled=scheduled, forget=forget_host or (), to_apply=True)
        applying.show(plan, progress, warnings)
    if plan.empty:
        raise typer.Exit(planning.exit_code(plan, detailed=False))
    applying.consent(plan, yes=yes, allowed=frozenset(allow_delete or ()))
    raise typer.Exit(applying.carry_out(plan, parallel=parallel, progress=progress))
