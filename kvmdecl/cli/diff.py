"""`kvmdecl diff`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common, showing

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.plan import Plan
    from kvmdecl.pluginhost import Plugins


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
    expand: showing.Expand = False,
    max_bytes: showing.MaxBytes = showing.MOST_BYTES,
) -> None:
    """Show what a change of the manifest means for hosts that hold what it said before. Contacts nobody.

    It is the plan of the new revision for hosts on which the old one was applied and nothing else happened: with the
    impact on guests, and with what is refused. What is really on the hosts is `kvmdecl plan`'s to tell.

    Where vms that name no host would be is known with --facts; without, hosts are assumed on which everything fits.

    Examples:
      kvmdecl diff HEAD clusters/demo
      kvmdecl diff main...HEAD clusters/demo --format markdown

    Exit codes: 0 compared, 1 error or blocked objects, 2 changes (with --detailed-exitcode).
    """
    from kvmdecl.cli import planning

    plan = _compare(revisions, path, facts)
    showing.show_plan(plan, (), format_, expand=expand, max_bytes=max_bytes)
    raise typer.Exit(planning.exit_code(plan, detailed=detailed_exitcode))


def _compare(revisions: str, path: Path, facts: Path | None) -> Plan:
    from kvmdecl.compare import compare
    from kvmdecl.diagnostics import Diagnostic, Rejected
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.revisions import commits
    from kvmdecl.snapshot import load_snapshots
    from kvmdecl.text import quoted

    plugins = load_plugins()
    first, second = commits(revisions)
    recorded = load_snapshots(facts) if facts is not None else {}
    old, new = _at(first, path, plugins), _at(second, path, plugins)
    if new is None:
        hint = "to let a cluster go is `kvmdecl destroy`; a host, `state: absent`"
        raise Rejected(
            [Diagnostic("diff.no-manifest", f"there is no {quoted(str(path))} any more", hint=hint)]
        )
    try:
        return compare(old, new, recorded, plugins)
    except Rejected as rejected:
        raise rejected if facts is not None else Rejected([*rejected.diagnostics, _assumed()]) from rejected


def _assumed() -> Diagnostic:
    from kvmdecl.diagnostics import Diagnostic, Severity

    return Diagnostic(
        "diff.assumed-hosts",
        "what the hosts are is not known here",
        cause="Hosts were assumed that have room for everything, in 64 NUMA cells of 64 CPUs, and no devices.",
        hint="give --facts a folder that `kvmdecl facts` wrote",
        severity=Severity.INFO,
    )


def _at(commit: str, path: Path, plugins: Plugins) -> ResolvedCluster | None:
    """The cluster as a commit has it, or the working folder if that is empty; None if it has none."""
    if not commit:
        return _load(path, plugins)
    from tempfile import TemporaryDirectory

    from kvmdecl.revisions import export

    here = Path.cwd()
    inside = Path(os.path.relpath(path, here)) if path.is_absolute() else path
    with TemporaryDirectory(prefix="kvmdecl-") as folder:
        there = export(commit, Path(folder))
        if not (there / inside).exists():
            return None
        os.chdir(there)  # so that what is said of files names them as they are called from here
        try:
            return _load(inside, plugins)
        finally:
            os.chdir(here)


def _load(path: Path, plugins: Plugins) -> ResolvedCluster:
    from kvmdecl.images import Care
    from kvmdecl.pipeline import load_cluster

    return load_cluster(path, plugins, Care.IGNORE)
