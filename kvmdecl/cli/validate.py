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
) -> None:
    """Check a manifest as far as that is possible without its hosts. Contacts nobody.

    Every independent problem is shown with its line, its cause and what to do about it; `kvmdecl explain`
    says more about each. The field's known pitfalls are looked for, too: `kvmdecl rules` lists them.

    Examples:
      kvmdecl validate clusters/demo
      kvmdecl validate cluster.yaml --format sarif
      kvmdecl validate cluster.yaml --select advice --ignore network

    Exit codes: 0 valid (perhaps with warnings), 1 not valid.
    """
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.source import gc_paused

    try:
        if fix:
            _mend(path)
        with gc_paused():
            summary, warnings = _check(path, tuple(select or ()), tuple(ignore or ()))
    except Rejected as error:
        if format_ is common.ReportFormat.TEXT:
            raise
        common.say_findings(error.diagnostics, format_, "validate")
        raise typer.Exit(common.Exit.ERROR) from error
    if format_ is common.ReportFormat.TEXT:
        common.report(warnings)
        common.say(summary)
    else:
        common.say_findings(warnings, format_, "validate")


def _mend(path: Path) -> None:
    """Write the files that safe changes alter."""
    from kvmdecl.mend import mended
    from kvmdecl.pluginhost import load_plugins

    for file, text in mended(path, load_plugins()).items():
        common.write_manifest(file, text)
        common.complain(f"mended {file}")


def _check(
    path: Path, select: tuple[str, ...], ignore: tuple[str, ...]
) -> tuple[str, tuple[Diagnostic, ...]]:
    """Return one line that says what was checked, and what is not wrong but should not be.

    Raises:
        Rejected: with everything that is wrong.
    """
    from kvmdecl.source import read_ahead

    read_ahead(path)

    from datetime import UTC, datetime

    from kvmdecl.diagnostics import reject_errors
    from kvmdecl.images import read_inputs
    from kvmdecl.load import load
    from kvmdecl.lock import lock_path, read_lock
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.resolve import resolve
    from kvmdecl.rules import choice_faults, judge, site_of, with_choice

    plugins = load_plugins()
    loaded = load(path, plugins.sections())
    cluster = resolve(loaded, read_inputs(loaded))
    plugins.solver(cluster.solver, loaded.span("placement", "solver"))
    read_lock(lock_path(path), cluster)
    cluster = with_choice(cluster, select, ignore)
    faults = choice_faults(plugins.rules(), cluster, datetime.now(UTC).date())
    warnings = reject_errors((*faults, *judge(plugins.rules(), site_of(cluster))))
    common.hold(cluster)
    manifest = loaded.manifest
    counts = [(len(manifest.vms), "vm"), (len(manifest.hosts), "host"), (len(loaded.files), "file")]
    counted = ", ".join(f"{number} {word}{'s' * (number != 1)}" for number, word in counts)
    return f"{manifest.cluster} is valid: {counted}", warnings
