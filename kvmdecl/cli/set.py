"""`kvmdecl set`."""

from __future__ import annotations

from typing import Annotated

import typer

from kvmdecl.cli import common, editing


def run(
    key: Annotated[str, editing.Key],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Its value, as YAML on one line.")],
    path: common.ClusterPath = common.DEFAULT_PATH,
    dry_run: Annotated[bool, editing.DryRun] = False,
) -> None:
    """Set one value of a manifest in the file that says it, and touch no other byte.

    The key is that of an entry as it is written: of a profile, or of an entry with a count, and not of one of the vms
    that come of it. Items of lists are counted from 0; the number after the last one adds one. What the manifest comes
    to is checked first; if that is not valid, nothing is written.

    Examples:
      kvmdecl set vms.web.memory 8GiB clusters/demo
      kvmdecl set vms.web.nics.0.model virtio --dry-run
      kvmdecl set vms.mail '{profile: small, disk: 20GiB}'

    Exit codes: 0 set, or so already; 1 error, and nothing was written.
    """
    if "=" in key:
        raise typer.BadParameter("write KEY VALUE, with a blank in the place of `=`", param_hint="KEY")
    editing.change(path, key, value, dry_run=dry_run)
