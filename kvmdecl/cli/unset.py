"""`kvmdecl unset`."""

from __future__ import annotations

from typing import Annotated

from kvmdecl.cli import common, editing


def run(
    key: Annotated[str, editing.Key],
    path: common.ClusterPath = common.DEFAULT_PATH,
    dry_run: Annotated[bool, editing.DryRun] = False,
) -> None:
    """Take one key, or an item of a list, out of a manifest, and touch no other byte.

    What was said by it is as its default, or its profile, says then. What the manifest comes to is checked first; if
    that is not valid, nothing is written.

    Examples:
      kvmdecl unset vms.web.clock clusters/demo
      kvmdecl unset vms.web.nics.1 --dry-run

    Exit codes: 0 taken out; 1 error, and nothing was written.
    """
    editing.change(path, key, None, dry_run=dry_run)
