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

Facts = Annotated[Path | None, typer.Option(help="Work offline, with the files that `kvmdecl facts` wrote.")]


@app.callback()
def group() -> None:
    """See what a cluster manager (Pacemaker) is given to run the vms that say `ha`.

    Examples:
      kvmdecl ha emit clusters/edge
      kvmdecl ha emit clusters/edge --facts facts/ --out ha/
      kvmdecl ha simulate clusters/edge
      kvmdecl ha map clusters/edge
      kvmdecl ha status clusters/edge
    """


@app.command()
def emit(
    path: common.ClusterPath = common.DEFAULT_PATH,
    facts: Facts = None,
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


@app.command()
def simulate(
    path: common.ClusterPath = common.DEFAULT_PATH,
    facts: Facts = None,
    lose: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=1,
            max=16,
            help="Hosts that are lost at once.",
            show_default="what `ha.survive` says",
        ),
    ] = None,
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
) -> None:
    """Tell where each vm goes when hosts are lost.

    Pacemaker's own scheduler is asked: crm_verify and crm_simulate of this machine are given what `kvmdecl ha emit`
    writes, with every combination of K hosts lost. Their answers are held against what they do not model: votes,
    cells, pins and devices; and where a vm stays down, whether there was room for it. Up to 200 combinations are tried,
    the fullest hosts first.

    Reads the hosts over read-only connections and changes none; no running cluster is asked.

    Examples:
      kvmdecl ha simulate clusters/edge
      kvmdecl ha simulate clusters/edge --facts facts/ --lose 2 --format json

    Exit codes: 0 every vm that has to run is running again, 1 not every one, or an error.
    """
    from kvmdecl.cli import planning
    from kvmdecl.views.survivors import render_proof, render_proof_json

    proof = planning.simulate(path, facts, SECTION, lose)
    common.report(proof.findings)
    common.say(render_proof_json(proof) if format_ is common.Format.JSON else render_proof(proof), end="")
    raise typer.Exit(common.Exit.OK if proof.survives else common.Exit.ERROR)


@app.command("map")
def map_(
    path: common.ClusterPath = common.DEFAULT_PATH,
    facts: Facts = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw a picture (SVG) into this file.")
    ] = None,
) -> None:
    """Show where each vm runs, may run, and goes if its host is lost.

    What the rules of placement allow is put beside what Pacemaker's own scheduler does about the loss of each host;
    hosts that can not have a vm are told with the reason. Room is not looked at, but by the scheduler.

    Reads the hosts over read-only connections and changes none; no running cluster is asked.

    Examples:
      kvmdecl ha map clusters/edge
      kvmdecl ha map clusters/edge --facts facts/ --out ha.svg

    Exit codes: 0 shown, 1 error.
    """
    from kvmdecl.cli import planning
    from kvmdecl.views.home_map import render_home_map, render_home_map_svg

    found = planning.home_map(path, facts, SECTION)
    if out is None:
        common.say(render_home_map(found), end="")
        return
    common.write_file(out, render_home_map_svg(found))
    common.say(f"wrote {out}")


@app.command()
def status(
    path: common.ClusterPath = common.DEFAULT_PATH,
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 2 when something is not as it should be.")
    ] = False,
) -> None:
    """Show how the cluster is.

    That is its hosts, its vms, what failed, and whether it has quorum. One of the hosts is asked, by way of its URI
    (`qemu+ssh://`) or as `ha.control` says; nothing is changed.

    Examples:
      kvmdecl ha status clusters/edge
      kvmdecl ha status clusters/edge --format json --detailed-exitcode

    Exit codes: 0 asked, 1 error, 2 a host is away, a vm is down, something failed or there is no quorum (with
    --detailed-exitcode).
    """
    from kvmdecl.cli import planning
    from kvmdecl.views.cluster_status import render_status, render_status_json

    found = planning.manager_status(path, SECTION)
    render = render_status_json if format_ is common.Format.JSON else render_status
    common.say(render(found), end="")
    raise typer.Exit(common.Exit.CHANGES if detailed_exitcode and not found.healthy else common.Exit.OK)


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
