"""`kvmdecl fmt`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common, editing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmdecl.diagnostics import Diagnostic

_STANDARD_INPUT = Path("-")


def run(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH",
            envvar="KVMDECL_CLUSTER",
            help="Manifest files, or folders of them; - is standard input.  [default: cluster.yaml]",
            show_default=False,
        ),
    ] = None,
    check: editing.Check = False,
) -> None:
    """Lay out manifests as they are laid out themselves: what differs from the rest of its file becomes as the rest.

    A file that keeps to one style stays as it is, whichever that is. Indentation, blanks between words, and line
    ends become as most of them are in the file; blanks at ends of lines, tabs between words and more than two
    empty lines go. Columns stay columns. Words, comments, quotes and line breaks are never touched, and what the
    manifest says is compared before anything is written.

    Examples:
      kvmdecl fmt clusters/demo
      kvmdecl fmt --check clusters/*/
      kvmdecl fmt - <cluster.yaml

    Exit codes: 0 laid out; 1 error, or with --check: something would be changed.
    """
    wanted = list(paths or [common.DEFAULT_PATH])
    if wanted == [_STANDARD_INPUT]:
        _filter(check=check)
        return
    faults: list[Diagnostic] = []
    edits = list(_edits(wanted, faults))
    changed = [edit for edit in edits if edit[1] != edit[2]]
    for path, before, after in changed:
        if check:
            _show(str(path), before, after)
        else:
            common.write_manifest(path, after)
            common.say(_told(path, before, after))
    common.report(faults)
    if not changed and not faults:
        common.say(_kept(len(edits)))
    if faults or (check and changed):
        raise typer.Exit(common.Exit.ERROR)


def _edits(wanted: Iterable[Path], faults: list[Diagnostic]) -> Iterator[tuple[Path, str, str]]:
    """Each file with its text before and after; what is wrong with the others goes into `faults`."""
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.layout import tidied
    from kvmdecl.source import Source, find_files, read_text

    seen: set[Path] = set()
    for path in wanted:
        try:
            files = find_files(path)
        except Rejected as rejected:
            faults += rejected.diagnostics
            continue
        for file in files:
            if file in seen:
                continue
            seen.add(file)
            try:
                before = read_text(file)
                yield file, before, tidied(Source(str(file), before))
            except Rejected as rejected:
                faults += rejected.diagnostics


def _filter(*, check: bool) -> None:
    """Standard input to standard output."""
    from kvmdecl.layout import tidied
    from kvmdecl.source import Source, read_stream

    name = "<stdin>"
    mark, before = read_stream(name, sys.stdin.buffer)
    after = tidied(Source(name, before))
    if not check:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # a file's text, not words for a terminal
        common.say(mark + after, end="")
    elif before != after:
        _show(name, before, after)
        raise typer.Exit(common.Exit.ERROR)


def _kept(count: int) -> str:
    return "1 file keeps to its style." if count == 1 else f"{count} files keep to their style."


def _show(name: str, before: str, after: str) -> None:
    from kvmdecl.views.edit_text import render_edit

    common.say(render_edit(name, before, after, color=common.color()))


def _told(path: Path, before: str, after: str) -> str:
    from kvmdecl.text import safe_text
    from kvmdecl.views.edit_text import lines_changed

    count = lines_changed(before, after)
    return f"{safe_text(str(path))}: {count} line{'s' * (count != 1)}"
