"""`kvmdecl plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import choosing, common, showing

if TYPE_CHECKING:
    from kvmdecl.plan import Plan


def run(
    context: typer.Context,
    path: common.ClusterPath = common.DEFAULT_PATH,
    out: Annotated[
        Path | None, typer.Option(help="Save the plan to this file, for `kvmdecl apply FILE`.")
    ] = None,
    detailed_exitcode: showing.DetailedExitcode = False,
    format_: showing.Form = common.PlanFormat.TEXT,
    max_bytes: common.MaxBytes = common.MOST_BYTES,
    facts: Annotated[
        Path | None, typer.Option(help="Plan offline, from the files that `kvmdecl facts` wrote.")
    ] = None,
    scheduled: Annotated[
        bool,
        typer.Option("--scheduled", help="Also restart vms of `restart: scheduled` that have a reason to."),
    ] = False,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Have each host's libvirt try its new and changed vms, without defining them."
        ),
    ] = False,
    foreign: Annotated[
        bool,
        typer.Option("--foreign", help="Also show what no manifest declares: fields, and objects of others."),
    ] = False,
    policies: common.PolicyFile = None,
    consents: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write its deletions to this file, for who agrees to them."),
    ] = None,
    expand: showing.Expand = False,
    forget_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A host that left the cluster is gone for good, with what it had. May be repeated.",
        ),
    ] = None,
    new: common.Newcomers = None,
    host: choosing.Hosts = None,
    vm: choosing.Vms = None,
    label: choosing.Labels = None,
    changed_since: choosing.Since = "",
) -> None:
    """Show what apply would change on which host, and what that does to running guests.

    Reads the hosts over read-only connections and changes nothing. A host that does not answer is shown as unreachable
    and its objects are left alone; the others are planned all the same.

    --deep finds what only a start would show, such as an unknown CPU model. It changes nothing either, but libvirt
    demands read-write connections for it.

    --foreign shows what is left alone: how many fields of each object the manifest declares, libvirt filled in, and
    somebody else changed, and the objects that this cluster did not make. None of it is a change.

    A plan that would fill screens is folded: what is the same for many guests is shown once, what is dangerous first.
    A saved plan (PATH ends in .json) is shown again, without its hosts: as the text of a comment on a pull request, as
    a page that loads and runs nothing, as a picture of hosts and vms before and after (svg, dot, mermaid), or, for what
    shows findings beside a change, as SARIF, annotations, code quality or tests. Where no plan can be made, comment,
    page and findings say why.

    --host, --vm, --label and --changed-since show a part of the plan: the steps that are meant, and those that these
    stand on. What is left out is counted; with --detailed-exitcode it still is a change.

    --consents writes the deletions into a file in which who agrees says so and why, for `apply --consents`.

    Examples:
      kvmdecl plan clusters/demo
      kvmdecl plan clusters/demo --out plan.json --detailed-exitcode
      kvmdecl plan clusters/demo --deep
      kvmdecl plan clusters/demo --host kvm-1
      kvmdecl plan plan.json --format html

    Exit codes: 0 planned, 1 error or blocked objects, 2 changes (with --detailed-exitcode), 3 a host did not answer,
    4 it goes beyond a limit of the manifest, or a policy denies it.
    """
    from kvmdecl.cli import planning

    source = context.get_parameter_source("policies")  # the environment says it for all plans of a job
    given = source is not None and source.name == "COMMANDLINE"
    part = choosing.Part.of(host, vm, label, changed_since)
    if path.suffix == ".json":
        if (
            facts is not None
            or deep
            or scheduled
            or foreign
            or forget_host
            or new
            or out is not None
            or given
            or part.words
        ):
            raise typer.BadParameter("a saved plan is shown as it is; those options are for making one")
        plan = _saved(path)
    else:
        if deep and facts is not None:
            raise typer.BadParameter("--deep asks the hosts and --facts contacts none")
        with showing.told_in(format_, "plan", path, max_bytes):
            plan, _ = planning.make(
                path,
                facts,
                deep=deep,
                scheduled=scheduled,
                forget=forget_host or (),
                new=new or (),
                foreign=foreign,
                policies=policies,
                part=part,
            )
    if consents is not None:
        from kvmdecl.views.consents import render_consents

        common.write_file(consents, render_consents(plan))
    if out is not None:
        common.write_file(out, showing.as_json(plan), private=True)  # it holds the seeds of guests
    said = ["--scheduled"] * scheduled + [f"--new {name}" for name in new or ()]
    said += part.words
    command = " ".join(["kvmdecl apply", str(out or path), *(said if out is None else ())])
    showing.show_plan(plan, format_, path, command=command, expand=expand, max_bytes=max_bytes)
    raise typer.Exit(planning.exit_code(plan, detailed=detailed_exitcode))


def _saved(path: Path) -> Plan:
    from kvmdecl.planner.saved import require_consistent
    from kvmdecl.views.plan_json import read_plan

    plan = read_plan(path)
    require_consistent(plan)
    return plan
