"""`kvmdecl destroy`."""

from __future__ import annotations

from typing import Annotated

import typer

from kvmdecl.cli import common


def run(
    path: common.ClusterPath = common.DEFAULT_PATH,
    volume: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS", help="Delete this volume too: HOST/volume/POOL/NAME. May be repeated."
        ),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Delete this secret too: HOST/secret/NAME. May be repeated."),
    ] = None,
    confirm: Annotated[str, typer.Option(help="The cluster's name, instead of typing it when asked.")] = "",
    parallel: Annotated[int, typer.Option(min=1, max=256, help="Steps at once, over all hosts.")] = 8,
    progress: Annotated[
        common.ProgressView, typer.Option(help="How to show progress.")
    ] = common.ProgressView.AUTO,
    journal: common.JournalDirectory = None,
    policies: common.PolicyFile = None,
) -> None:
    """Delete all that the cluster made on its hosts, and list it first; volumes and secrets are kept unless named.

    Guests are shut down gracefully. Pools are undefined and their files stay. Only what carries this cluster's marks is
    touched, and nothing on a host that does not answer.

    Examples:
      kvmdecl destroy clusters/demo
      kvmdecl destroy demo --confirm demo --volume kvm-1/volume/vms/a.root.qcow2

    Exit codes: 0 done, 1 error, protected or not confirmed, 3 done in part, 4 beyond a limit
    or denied by a policy,
    5 another run holds a host.
    """
    from kvmdecl.cli import applying, planning

    cluster, made = planning.make_destroy(path, frozenset(volume or ()), frozenset(secret or ()), policies)
    plan = made.plan
    applying.show(plan, progress)
    if not plan.steps:
        raise typer.Exit(planning.exit_code(plan, detailed=False))
    applying.require_allowed(plan)
    given = applying.confirm_destruction(cluster.name, len(plan.steps), confirm)
    errand = applying.Errand("destroy", str(path), made.seen, given, journal)
    raise typer.Exit(applying.carry_out(plan, errand, parallel=parallel, progress=progress))
