"""`kvmdecl migrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common, editing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.migrate import Change, Migrated


def run(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH",
            envvar="KVMDECL_CLUSTER",
            help="Manifests, each a file or a folder.  [default: cluster.yaml]",
            show_default=False,
        ),
    ] = None,
    check: editing.Check = False,
) -> None:
    """Write manifests in the words of today's versions: what had another name in an earlier one is renamed.

    A version of the manifest's format, or of a plugin, may come with new names for keys and values. Each old one is
    replaced where it stands, and told with its place; comments, layout and all other bytes stay. A manifest in which
    one of them cannot be replaced stays as it is, whole, and the line is shown.

    Examples:
      kvmdecl migrate clusters/demo
      kvmdecl migrate --check clusters/*/

    Exit codes: 0 migrated, or nothing to migrate; 1 error, or with --check: something would be changed.
    """
    from kvmdecl.diagnostics import Rejected

    failed, count = False, 0
    for path in dict.fromkeys(paths or [common.DEFAULT_PATH]):
        try:
            for file in _changed(path):
                count += 1
                _finish(file, check=check)
        except Rejected as rejected:
            common.report(rejected.diagnostics)
            failed = True
    if not count and not failed:
        common.say("Nothing to migrate.")
    if failed or (check and count):
        raise typer.Exit(common.Exit.ERROR)


def _changed(path: Path) -> Iterator[Migrated]:
    from kvmdecl.migrate import migrated
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.source import Source, find_files, read_text

    files = [Source(str(file), read_text(file)) for file in find_files(path)]
    yield from (file for file in migrated(files, load_plugins().sections()) if file.changes)


def _finish(file: Migrated, *, check: bool) -> None:
    """Tell what changes in a file; show or write it."""
    from kvmdecl.views.edit_text import render_edit

    for change in file.changes:
        common.say(_told(change))
    name, before = file.source.name, file.source.text
    if check:
        common.say(render_edit(name, before, file.text, color=common.color()))
    else:
        common.write_manifest(Path(name), file.text)


def _told(change: Change) -> str:
    from kvmdecl.text import quoted, safe_text

    why = f": {change.renamed.why}" if change.renamed.why else ""
    told = f"{change.at}: {quoted(change.before)} is {quoted(change.after)} since {change.renamed.since}{why}"
    return safe_text(told)
