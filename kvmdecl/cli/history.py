"""`kvmdecl history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from kvmdecl.runs import Holder


def run(
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="Show this one with its steps; `last` for the newest.")
    ] = "",
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
    journal: common.JournalDirectory = None,
) -> None:
    """List what was applied from here, or show one run with how each of its steps ended. Contacts nobody.

    The files are a record for people and for `undo`. What is true is on the hosts, and `plan` needs no history.

    Examples:
      kvmdecl history
      kvmdecl history last

    Exit codes: 0 listed, 1 error.
    """
    from kvmdecl.journal import find_run, read_runs
    from kvmdecl.views.history import render_history, render_history_json, render_run

    directory = common.journal_directory(journal)
    runs = [find_run(directory, run)] if run else list(read_runs(directory))
    if format_ is common.Format.JSON:
        common.say(render_history_json(runs, _dead, steps=bool(run)), end="")
    elif run:
        common.say(render_run(runs[0], _dead), end="")
    else:
        common.say(render_history(runs, _dead), end="")


def _dead(holder: Holder) -> bool | None:
    from kvmdecl.hosts.processes import is_dead, is_here

    return is_dead(holder) if is_here(holder) else None
