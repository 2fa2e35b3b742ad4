"""`kvmdecl validate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kvmdecl.diagnostics import Diagnostic


def run(
    path: common.ClusterPath = common.DEFAULT_PATH,
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
) -> None:
    """Check a manifest as far as that is possible without its hosts. Contacts nobody.

    Every independent problem is shown with its line, its cause and what to do about it; `kvmdecl explain`
    says more about each.

    Examples:
      kvmdecl validate clusters/demo
      kvmdecl validate cluster.yaml --format json

    Exit codes: 0 valid (perhaps with warnings), 1 not valid.
    """
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.source import gc_paused

    try:
        with gc_paused():
            summary = _check(path)
    except Rejected as error:
        if format_ is not common.Format.JSON:
            raise
        _say_json(error.diagnostics)
        raise typer.Exit(common.Exit.ERROR) from error
    if format_ is common.Format.JSON:
        _say_json(())
    else:
        common.say(summary)


def _check(path: Path) -> str:
    """Return one line that says what was checked.

    Raises:
        Rejected: with everything that is wrong.
    """
    from kvmdecl.source import read_ahead

    read_ahead(path)

    from kvmdecl.images import read_inputs
    from kvmdecl.load import load
    from kvmdecl.lock import lock_path, read_lock
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.resolve import resolve

    plugins = load_plugins()
    loaded = load(path, plugins.sections())
    cluster = resolve(loaded, read_inputs(loaded))
    plugins.solver(cluster.solver, loaded.span("placement", "solver"))
    read_lock(lock_path(path), cluster)
    common.hold(cluster)
    manifest = loaded.manifest
    counts = [(len(manifest.vms), "vm"), (len(manifest.hosts), "host"), (len(loaded.files), "file")]
    counted = ", ".join(f"{number} {word}{'s' * (number != 1)}" for number, word in counts)
    return f"{manifest.cluster} is valid: {counted}"


def _say_json(diagnostics: Iterable[Diagnostic]) -> None:
    from kvmdecl.views.diagnostics_text import render_json

    common.say(render_json(diagnostics), end="")
