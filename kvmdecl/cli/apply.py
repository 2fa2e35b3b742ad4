"""`kvmdecl apply`."""

from __future__ import annotations

from typing import Annotated

import typer

from kvmdecl.cli import choosing, common


def run(
    context: typer.Context,
    path: common.ClusterPath = common.DEFAULT_PATH,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask. Deletions still need --allow-delete.")
    ] = False,
    allow_delete: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Consent to deleting this object in this plan, as the plan names it: HOST/KIND/NAME@DIGEST; of a "
            "saved plan without the digest. May be repeated.",
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
    new: common.Newcomers = None,
    until_wave: common.UntilWave = "",
    host: choosing.Hosts = None,
    vm: choosing.Vms = None,
    label: choosing.Labels = None,
    changed_since: choosing.Since = "",
    parallel: Annotated[int, typer.Option(min=1, max=256, help="Steps at once, over all hosts.")] = 8,
    progress: Annotated[
        common.ProgressView, typer.Option(help="How to show progress.")
    ] = common.ProgressView.AUTO,
    resume: Annotated[
        str,
        typer.Option(
            metavar="RUN", help="Go on with what is left of this run, or of the `last`; no PATH then."
        ),
    ] = "",
    journal: common.JournalDirectory = None,
    policies: common.PolicyFile = None,
    consents: common.ConsentFile = None,
) -> None:
    """Bring the hosts to what the manifest (or a saved plan) says.

    Given a manifest it plans, shows the plan and asks; what a host cannot give its new and changed vms is
    refused before, at the line that asks for it. Given a saved plan (a .json file)
    it does what that plan says and refuses every object that changed since. Hosts that do
    not answer are left alone.

    Policies are looked at again, also those of a saved plan: what they deny is not carried out.

    With --host, --vm, --label or --changed-since it does a part of the plan: the steps that are meant, and those that
    these stand on. The limits are those of the whole plan all the same.

    With --resume it does what is left of an earlier run, as that was agreed to. A new `apply` of the manifest does it,
    too, without any journal: it reads the hosts.

    Examples:
      kvmdecl apply clusters/demo
      kvmdecl apply plan.json --yes
      kvmdecl apply clusters/demo --until-wave canary
      kvmdecl apply --resume last

    Exit codes: 0 done, 1 error, 3 done in part (failed or refused steps, unreachable hosts),
    4 a deletion lacks consent, too many hosts did not answer for a rollout, or a limit or policy
    forbids it,
    5 another run holds a host, 6 paused: a gate of a rollout is inconclusive.
    """
    from kvmdecl.cli import applying, planning

    part = choosing.Part.of(host, vm, label, changed_since)
    if resume:
        source = context.get_parameter_source("path")
        if (
            (source is not None and source.name == "COMMANDLINE")
            or scheduled
            or forget_host
            or new
            or part.words
        ):
            raise typer.BadParameter("the run says itself what it was given: name nothing beside --resume")
        plan, seen = applying.read_rest(resume, journal)
        plan = applying.policed(plan, policies)
        applying.show(plan, progress)
    elif path.suffix == ".json":
        if scheduled:
            raise typer.BadParameter(
                "a saved plan says itself what restarts: give --scheduled to `plan --out`"
            )
        if forget_host:
            raise typer.BadParameter("a saved plan says itself who is forgotten: give it to `plan --out`")
        if new:
            raise typer.BadParameter("a saved plan says itself what is new: give --new to `plan --out`")
        if part.words:
            raise typer.BadParameter("a saved plan is done as it is: give the part to `plan --out`")
        plan, seen = applying.read_saved(path)
        plan = applying.policed(plan, policies)
        applying.show(plan, progress)
    else:
        plan, seen = planning.make(
            path,
            scheduled=scheduled,
            forget=forget_host or (),
            new=new or (),
            to_apply=True,
            policies=policies,
            part=part,
        )
        applying.show(plan, progress)
    applying.require_allowed(plan)
    agreed = applying.Agreed.read(consents, plan)
    if until_wave:
        plan = applying.cut(plan, until_wave)
    if plan.empty:
        raise typer.Exit(planning.exit_code(plan, detailed=False))
    applying.require_budget(plan)
    reviewed = bool(resume) or path.suffix == ".json"
    given = applying.consent(
        plan, yes=yes, allowed=frozenset(allow_delete or ()), reviewed=reviewed, agreed=agreed
    )
    what = f"run {resume}" if resume else str(path.absolute())
    errand = applying.Errand("apply", what, seen, given, journal)
    raise typer.Exit(applying.carry_out(plan, errand, parallel=parallel, progress=progress))
