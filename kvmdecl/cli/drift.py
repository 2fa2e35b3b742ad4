"""`kvmdecl drift`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from kvmdecl.drift import Drift
    from kvmdecl.notices import DriftSeen


def run(
    path: common.ClusterPath = common.DEFAULT_PATH,
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
    textfile: Annotated[
        Path | None,
        typer.Option(help="Write metrics for Prometheus's node exporter to this file.", show_default=False),
    ] = None,
    facts: Annotated[
        Path | None, typer.Option(help="Look offline, at the files that `kvmdecl facts` wrote.")
    ] = None,
) -> None:
    """Tell what changed on the hosts since the last apply, and not in the manifest.

    For cron: reads the hosts over read-only connections and changes nothing. Declared fields that somebody changed,
    guests and volumes that are gone, and changes in fields that nobody declares are drift. What a newer manifest may
    be the reason for is listed as unapplied and is none.

    Examples:
      kvmdecl drift clusters/demo
      kvmdecl drift clusters/demo --textfile /var/lib/node_exporter/kvmdecl.prom

    Exit codes: 0 no drift, 1 error, 2 drift, 3 a host did not answer.
    """
    from kvmdecl.cli import planning
    from kvmdecl.drift import find_drift
    from kvmdecl.views.drift import render_drift, render_drift_json

    plan = planning.make(path, facts).plan
    drift = find_drift(plan)
    if textfile is not None:
        _write_metrics(textfile, drift)
    render = render_drift_json if format_ is common.Format.JSON else render_drift
    common.say(render(drift), end="")
    _notify(drift)
    if not drift.complete:
        raise typer.Exit(common.Exit.PARTIAL)
    raise typer.Exit(common.Exit.CHANGES if drift.found else common.Exit.OK)


def _notify(drift: Drift) -> None:
    from kvmdecl.notifying import Notifying
    from kvmdecl.pluginhost import load_plugins

    told = Notifying(load_plugins().notifiers())
    told.tell(_seen(drift))
    common.report(told.close())


def _seen(drift: Drift) -> DriftSeen:
    from kvmdecl.drift import DriftClass
    from kvmdecl.hosts.processes import job, user_and_machine
    from kvmdecl.notices import DriftSeen

    return DriftSeen(
        drift.cluster,
        *user_and_machine(),
        job(),
        drift.found,
        hosts=len(drift.hosts),
        silent=drift.silent,
        changed=drift.total(DriftClass.CHANGED),
        missing=drift.total(DriftClass.MISSING),
        outside=drift.total(DriftClass.OUTSIDE),
        unapplied=drift.total(DriftClass.UNAPPLIED),
    )


def _write_metrics(path: Path, drift: Drift) -> None:
    import time

    from kvmdecl.views.drift import render_metrics

    try:
        before = path.read_text("utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError):  # whatever it is, it is replaced
        before = ""
    common.write_file(path, render_metrics(drift, int(time.time()), before))
