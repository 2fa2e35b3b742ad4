"""`kvmdecl capacity`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kvmdecl.cli import common


def run(
    path: common.ClusterPath = common.DEFAULT_PATH,
    facts: Annotated[
        Path | None, typer.Option(help="Count offline, with the files that `kvmdecl facts` wrote.")
    ] = None,
    lose: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=1,
            help="Tell instead whether all vms have a home after any K hosts fail.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
) -> None:
    """Tell how many more vms of each kind fit, on which hosts, and what there is too little of for the next one.

    Kinds are the profiles of the manifest and its entries of vms. Each is counted alone, beside all vms of the
    manifest, those too that a plan would make first, and beside what runs unmanaged on the hosts. Nobody is moved to
    make room.

    --lose K asks another question: whether all vms still have a legal home after any K hosts fail, and who goes where
    then, or the smallest set of vms that does not fit. What stands in the way of moving a guest in reality, such as its
    disks, does not count.

    Reads the hosts over read-only connections and changes nothing. Hosts that do not answer are left out.

    Examples:
      kvmdecl capacity clusters/demo
      kvmdecl capacity clusters/demo --facts facts/ --format json
      kvmdecl capacity clusters/demo --lose 1

    Exit codes: 0 counted, or all have a home; 1 error, or not all have; 3 a host did not answer.
    """
    from kvmdecl.cli import planning
    from kvmdecl.views.capacity import render_capacity, render_capacity_json

    if lose is not None:
        _tell_loss(path, facts, lose, format_)

    found, complete = planning.count_room(path, facts)
    if format_ is common.Format.JSON:
        common.say(render_capacity_json(found, complete=complete), end="")
    else:
        common.say(render_capacity(found), end="")
    raise typer.Exit(common.Exit.OK if complete else common.Exit.PARTIAL)


def _tell_loss(path: Path, facts: Path | None, lose: int, format_: common.Format) -> None:
    from kvmdecl.cli import planning
    from kvmdecl.views.failover import render_survival, render_survival_json

    found, complete = planning.lose_hosts(path, facts, lose)
    if format_ is common.Format.JSON:
        common.say(render_survival_json(found, complete=complete), end="")
    else:
        common.say(render_survival(found), end="")
    if not found.survives:
        raise typer.Exit(common.Exit.ERROR)
    raise typer.Exit(common.Exit.OK if complete else common.Exit.PARTIAL)
