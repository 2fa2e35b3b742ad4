"""`kvmdecl ha`: what a cluster manager is given to run vms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from kvmdecl.state import Artifact

app = typer.Typer(no_args_is_help=True)

SECTION = "ha"
"""Whichever plugin brings this section of the manifest also writes its files."""


@app.callback()
def group() -> None:
    """See what a cluster manager (Pacemaker) is given to run the vms that say `ha`.

    Examples:
      kvmdecl ha emit clusters/edge
      kvmdecl ha emit clusters/edge --facts facts/ --out ha/
    """


@app.command()
def emit(
    path: common.ClusterPath = common.DEFAULT_PATH,
    facts: Annotated[
        Path | None, typer.Option(help="Work offline, with the files that `kvmdecl facts` wrote.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write the files.")] = Path("ha"),
) -> None:
    """Write what Pacemaker and corosync are given.

    The files are there to be reviewed, and to be put onto the hosts: cib.xml is Pacemaker's configuration,
    corosync.conf that of the hosts' membership, commands.sh the same as commands of pcs, and definitions/ holds the
    guests' definitions. Files that are the same already are left alone, and no others are touched.

    Reads the hosts over read-only connections and changes none.

    Examples:
      kvmdecl ha emit clusters/edge
      kvmdecl ha emit clusters/edge --facts facts/ --out ha/

    Exit codes: 0 written, 1 error.
    """
    from kvmdecl.cli import planning
    from kvmdecl.text import safe_text

    artifacts = planning.emit_section(path, facts, SECTION)
    for artifact in artifacts:
        _write(out, artifact)
    common.say(safe_text(f"{len(artifacts)} files in {out}"))


def _write(folder: Path, artifact: Artifact) -> None:
    file = folder / artifact.path
    try:
        if file.is_file() and file.read_text("utf-8") == artifact.text:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError):
            raise common.not_written(str(file), error) from error
    common.write_file(file, artifact.text, private=artifact.private)
