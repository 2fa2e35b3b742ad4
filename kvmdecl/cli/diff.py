"""`kvmdecl diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common, showing

if TYPE_CHECKING:
    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.plan import Plan


def run(
    revisions: Annotated[
        str,
        typer.Argument(
            metavar="OLD[..NEW]",
            help="Revisions of git; OLD...NEW is from where they parted. The working folder if NEW is left out.",
        ),
    ] = "HEAD",
    path: common.ClusterPath = common.DEFAULT_PATH,
    facts: Annotated[
        Path | None, typer.Option(help="What the hosts are, as `kvmdecl facts` wrote it.")
    ] = None,
    detailed_exitcode: showing.DetailedExitcode = False,
    format_: showing.Form = common.PlanFormat.TEXT,
    policies: common.PolicyFile = None,
    expand: showing.Expand = False,
    max_bytes: common.MaxBytes = common.MOST_BYTES,
) -> None:
    """Show what a change of the manifest means for hosts that hold what it said before. Contacts nobody.

    It is the plan of the new revision for hosts on which the old one was applied and nothing else happened: with the
    impact on guests, and with what is refused. What is really on the hosts is `kvmdecl plan`'s to tell.

    Where vms that name no host would be is known with --facts; without, hosts are assumed on which everything fits.

    Examples:
      kvmdecl diff HEAD clusters/demo
      kvmdecl diff main...HEAD clusters/demo --format markdown

    Exit codes: 0 compared, 1 error or blocked objects, 2 changes (with --detailed-exitcode),
    4 it goes beyond a limit of the manifest, or a policy denies it.
    """
    from kvmdecl.cli import planning

    with showing.told_in(format_, "diff", path, max_bytes):
        plan = _compare(revisions, path, facts, policies)
    showing.show_plan(plan, format_, path, expand=expand, max_bytes=max_bytes)
    raise typer.Exit(planning.exit_code(plan, detailed=detailed_exitcode))


def _compare(revisions: str, path: Path, facts: Path | None, policies: Path | None) -> Plan:
    from kvmdecl.cli import judging
    from kvmdecl.cli.comparing import compared
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.snapshot import load_snapshots

    plugins = load_plugins()
    recorded = load_snapshots(facts) if facts is not None else {}
    try:
        return judging.judge(compared(revisions, path, plugins, recorded, policies), plugins, "diff")
    except Rejected as rejected:
        is_of_room = any(found.code.startswith("placement.") for found in rejected.diagnostics)
        if facts is not None or not is_of_room:
            raise
        raise Rejected([*rejected.diagnostics, _assumed()]) from rejected


def _assumed() -> Diagnostic:
    from kvmdecl.diagnostics import Diagnostic, Severity

    return Diagnostic(
        "diff.assumed-hosts",
        "what the hosts are is not known here",
        cause="Hosts were assumed that have room for everything, in 64 NUMA cells of 64 CPUs, and no devices.",
        hint="give --facts a folder that `kvmdecl facts` wrote",
        severity=Severity.INFO,
    )
