"""`kvmdecl history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from pathlib import Path

    from kvmdecl.runs import Holder


def run(
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="Show this one with its steps; `last` for the newest.")
    ] = "",
    verify: Annotated[
        bool, typer.Option("--verify", help="Look whether every record is as it was written.")
    ] = False,
    head: Annotated[
        str,
        typer.Option(
            metavar="HASH", help="With --verify: a head that was noted elsewhere, which must still be there."
        ),
    ] = "",
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
    journal: common.JournalDirectory = None,
) -> None:
    """List what was applied from here, or show one run with how each of its steps ended. Contacts nobody.

    The files are a record for people and for `undo`. What is true is on the hosts, and `plan` needs no history.

    --verify goes through the chain of hashes of all runs: it names records that were changed, taken out, put elsewhere
    or cut off, and journals that are gone. A run that was killed has no end; that is none of these. The head that it
    prints, noted in another place, is what --head holds a chain against that was made anew as a whole.

    Examples:
      kvmdecl history
      kvmdecl history last
      kvmdecl history --verify

    Exit codes: 0 listed, or all as it was written, 1 error, or a record is not.
    """
    from kvmdecl.journal import find_run, read_runs
    from kvmdecl.views.history import render_history, render_history_json, render_run

    directory = common.journal_directory(journal)
    if verify:
        if run:
            raise typer.BadParameter("--verify looks at all runs: name none")
        raise typer.Exit(_verify(directory, head, format_))
    if head:
        raise typer.BadParameter("--head is for --verify")
    runs = [find_run(directory, run)] if run else list(read_runs(directory))
    if format_ is common.Format.JSON:
        common.say(render_history_json(runs, _dead, steps=bool(run)), end="")
    elif run:
        common.say(render_run(runs[0], _dead), end="")
    else:
        common.say(render_history(runs, _dead), end="")


def _verify(directory: Path, head: str, form: common.Format) -> common.Exit:
    from kvmdecl.chain import verify
    from kvmdecl.journal import SUFFIX
    from kvmdecl.views.history import render_chain, render_chain_json

    try:
        found = verify(directory, SUFFIX, head)
    except OSError as error:
        raise common.unreadable(str(directory), error) from error
    common.say(render_chain_json(found) if form is common.Format.JSON else render_chain(found), end="")
    return common.Exit.OK if found.sound else common.Exit.ERROR


def _dead(holder: Holder) -> bool | None:
    from kvmdecl.hosts.processes import is_dead, is_here

    return is_dead(holder) if is_here(holder) else None
