"""What commands share that write manifests; `set` and `unset`: a change is checked, shown and written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kvmdecl.cli import common

Check = Annotated[bool, typer.Option("--check", help="Show what would be changed, and write nothing.")]
DryRun = typer.Option("--dry-run", help="Show the change and write nothing.")
Key = typer.Argument(metavar="KEY", help="What is changed, as the manifest writes it: vms.web.memory.")


def change(path: Path, key: str, value: str | None, *, dry_run: bool) -> None:
    """Set a value, or take the key out where it is None; write nothing if the manifest would not be valid.

    Raises:
        Rejected: it cannot be changed in one place, or with everything that would be wrong.
    """
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.images import Care
    from kvmdecl.pipeline import load_cluster
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.rewrite import rewritten
    from kvmdecl.source import read_text
    from kvmdecl.views.edit_text import render_edit

    changed = rewritten(path, key, value)
    try:
        load_cluster(path, load_plugins(), Care.LOOK, changed)
    except Rejected as rejected:
        common.report(rejected.diagnostics, changed)
        common.complain("Nothing was written: this is what the manifest would be.")
        raise typer.Exit(common.Exit.ERROR) from rejected
    for file, text in changed.items():
        common.say(render_edit(str(file), read_text(file), text, color=common.color()))
        if not dry_run:
            common.write_manifest(file, text)
    if not changed:
        common.say("It says so already.")
