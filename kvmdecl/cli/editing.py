"""What `set` and `unset` share: a change of a manifest is checked, shown and written."""

from __future__ import annotations

from pathlib import Path

import typer

from kvmdecl.cli import common

DryRun = typer.Option("--dry-run", help="Show the change and write nothing.")
Key = typer.Argument(metavar="KEY", help="What is changed, as the manifest writes it: vms.web.memory.")


def change(path: Path, key: str, value: str | None, *, dry_run: bool) -> None:
    """Set a value, or take the key out where it is None; write nothing if the manifest would not be valid.

    Raises:
        Rejected: it cannot be changed in one place, or with everything that would be wrong.
    """
    from difflib import unified_diff

    from kvmdecl.images import Care
    from kvmdecl.pipeline import load_cluster
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.rewrite import rewritten
    from kvmdecl.source import read_text
    from kvmdecl.text import safe_text

    changed = rewritten(path, key, value)
    load_cluster(path, load_plugins(), Care.LOOK, changed)
    for file, text in changed.items():
        before = read_text(file).splitlines()
        lines = unified_diff(before, text.splitlines(), str(file), str(file), lineterm="", n=1)
        common.say("\n".join(safe_text(line) for line in lines))
        if not dry_run:
            common.write_manifest(file, text)
    if not changed:
        common.say("It says so already.")
