"""`kvmdecl validate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from pathlib import Path

    from kvmdecl.diagnostics import Diagnostic


def run(
    path: common.ClusterPath = common.DEFAULT_PATH,
    format_: Annotated[
        common.ReportFormat, typer.Option("--format", help="Output format.")
    ] = common.ReportFormat.TEXT,
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="Look for this rule or group too, such as `advice`. May be repeated.",
            show_default=False,
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE", help="Leave out this rule or group. May be repeated.", show_default=False
        ),
    ] = None,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix", help="Make the safe changes that some findings have in the files, and no other."
        ),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Check again whenever a file changes, until Ctrl-C.")
    ] = False,
    max_bytes: common.MaxBytes = common.MOST_BYTES,
) -> None:
    """Check a manifest as far as that is possible without its hosts. Contacts nobody.

    Every independent problem is shown with its line, its cause and what to do about it; `kvmdecl explain`
    says more about each. The field's known pitfalls are looked for, too: `kvmdecl rules` lists them.

    With --watch the manifest's files and those that it leads to are looked at twice a second. After a change what
    is new is shown, and what is gone.

    Examples:
      kvmdecl validate clusters/demo
      kvmdecl validate cluster.yaml --format sarif
      kvmdecl validate cluster.yaml --select advice --ignore network

    Exit codes: 0 valid (perhaps with warnings), 1 not valid.
    """
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.source import gc_paused

    if watch:
        if format_ is not common.ReportFormat.TEXT or fix:
            raise typer.BadParameter("it goes with neither --format nor --fix", param_hint="--watch")
        _watch(path, tuple(select or ()), tuple(ignore or ()))
        return
    try:
        if fix:
            _mend(path)
        with gc_paused():
            summary, warnings, safe = _check(path, tuple(select or ()), tuple(ignore or ()))
    except Rejected as error:
        if format_ is common.ReportFormat.TEXT:
            raise
        common.say_findings(error.diagnostics, format_, "validate", path, max_bytes)
        raise typer.Exit(common.Exit.ERROR) from error
    if format_ is common.ReportFormat.TEXT:
        common.report(warnings)
        if warnings:
            common.complain(_what_next(safe))
        common.say(summary)
    else:
        common.say_findings(warnings, format_, "validate", path, max_bytes)


def _what_next(safe: int) -> str:
    fix = f"`kvmdecl validate --fix` mends {safe} of them, as far as that is safe. " if safe else ""
    return f"{fix}`kvmdecl explain CODE` says why, and how to accept one."


def _mend(path: Path) -> None:
    """Write the files that safe changes alter."""
    from kvmdecl.mend import mended
    from kvmdecl.pluginhost import load_plugins

    for file, text in mended(path, load_plugins()).items():
        common.write_manifest(file, text)
        common.complain(f"mended {file}")


def _watch(path: Path, select: tuple[str, ...], ignore: tuple[str, ...]) -> None:
    from kvmdecl.cli.watching import watch

    watch(path, lambda reached: _check(path, select, ignore, reached)[:2])


def _check(
    path: Path, select: tuple[str, ...], ignore: tuple[str, ...], reached: set[Path] | None = None
) -> tuple[str, tuple[Diagnostic, ...], int]:
    """Return one line that says what was checked, what is not wrong and should not be, and how much can be mended.

    The files to which the manifest leads go into `reached`, if somebody watches.

    Raises:
        Rejected: with everything that is wrong.
    """
    from kvmdecl.source import read_ahead

    read_ahead(path)

    from datetime import UTC, datetime

    from kvmdecl.diagnostics import in_order, reject_errors
    from kvmdecl.images import input_paths, read_inputs
    from kvmdecl.load import load
    from kvmdecl.lock import lock_path, read_lock
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.policyfile import overdue
    from kvmdecl.resolve import resolve
    from kvmdecl.rules import (
        accepted,
        choice_faults,
        idle_waivers,
        mendable,
        open_findings,
        site_of,
        told_of,
        with_choice,
    )

    plugins = load_plugins()
    loaded = load(path, plugins.sections())
    if reached is not None:
        reached |= input_paths(loaded)
    cluster = resolve(loaded, read_inputs(loaded))
    plugins.solver(cluster.solver, loaded.span("placement", "solver"))
    if cluster.rollout and cluster.rollout.gates:
        from kvmdecl.gatekeeper import gate_faults

        reject_errors(gate_faults(loaded, cluster, plugins))
    read_lock(lock_path(path), cluster)
    cluster = with_choice(cluster, select, ignore)
    today = datetime.now(UTC).date()
    faults = [*choice_faults(plugins.rules(), cluster, today), *overdue(cluster.policies, today)]
    found = open_findings(plugins.rules(), site_of(cluster))
    checked = accepted(cluster, (*plugins.validate(cluster), *idle_waivers(cluster)))
    warnings = reject_errors((*faults, *in_order((*checked, *told_of(found)))))
    if cluster.policies:
        from kvmdecl.cli import judging

        warnings += judging.idle(cluster)
    if reached is None:
        common.hold(cluster)
    manifest = loaded.manifest
    counts = [(len(manifest.vms), "vm"), (len(manifest.hosts), "host"), (len(loaded.files), "file")]
    counted = ", ".join(f"{number} {word}{'s' * (number != 1)}" for number, word in counts)
    return f"{manifest.cluster} is valid: {counted}", warnings, mendable(found)
