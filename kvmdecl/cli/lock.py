"""`kvmdecl lock`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from kvmdecl.lock import Lock


def run(
    path: common.ClusterPath = common.DEFAULT_PATH,
    update: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VM", help="Give this vm another place on its host if that is better. May be repeated."
        ),
    ] = None,
    moves: Annotated[
        int, typer.Option(min=0, help="How many other vms may go to other CPUs or cells of their hosts.")
    ] = 0,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 2 if the file would change.")
    ] = False,
    facts: Annotated[
        Path | None, typer.Option(help="Place offline, with the files that `kvmdecl facts` wrote.")
    ] = None,
) -> None:
    """Write where each vm is: its host, and of one with dedicated vCPUs its CPUs and memory.

    The file, cluster.lock.yaml beside the manifest, is reviewed and committed with it. With such a file no plan chooses
    anything: what it says is kept to, and where it does not fit the manifest or the hosts, the plan says why.

    Who has a place keeps it. New vms are given one, and those that went away lose theirs. --update gives single vms a
    new place on their hosts, and --moves lets others make room for them.

    Examples:
      kvmdecl lock clusters/demo
      kvmdecl lock clusters/demo --update train --moves 2
      kvmdecl lock clusters/demo --check --facts facts/

    Exit codes: 0 written or nothing to do, 1 error, 2 it would change (with --check), 3 a host did not answer.
    """
    from kvmdecl.asking import Relock
    from kvmdecl.cli import planning
    from kvmdecl.lock import lock_path

    lock, complete = planning.make_lock(path, facts, Relock(frozenset(update or ()), moves))
    file = lock_path(path)
    is_new = not file.is_file() or file.read_text("utf-8") != lock.text
    if is_new and not check:
        common.write_file(file, lock.text)
    common.say(_told(lock, str(file), is_new=is_new, check=check))
    if not complete:
        raise typer.Exit(common.Exit.PARTIAL)
    raise typer.Exit(common.Exit.CHANGES if is_new and check else common.Exit.OK)


def _told(lock: Lock, file: str, *, is_new: bool, check: bool) -> str:
    lines = [_change(*change) for change in lock.changes]
    if not is_new:
        return f"{file} is up to date."
    end = f"{file} would change." if check else f"{file} is written: review and commit it."
    return "\n".join([*lines, *([""] if lines else []), end])


def _change(vm: str, before: str, after: str) -> str:
    if not before:
        return f"  + {vm}: {after}"
    return f"  ~ {vm}: {before} -> {after}" if after else f"  - {vm}: {before}"
