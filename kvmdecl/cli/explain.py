"""`kvmdecl explain`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from kvmdecl.cli import common

_VM = "vm/"


def run(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="CODE|vm/NAME",
            help="Code in the brackets of a message, or a vm of the manifest; all codes if not given.",
            show_default=False,
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH",
            help="For a vm: manifest file, or folder whose *.yaml files are one manifest; as KVMDECL_CLUSTER says if "
            "not given.",
            show_default=str(common.DEFAULT_PATH),
        ),
    ] = None,
    facts: Annotated[
        Path | None, typer.Option(help="For a vm: look offline, at the files that `kvmdecl facts` wrote.")
    ] = None,
) -> None:
    """Say why something is a problem and how to fix it, or why a vm is where it is.

    Of a vm it tells the host, the CPUs and the cells that it has or would get, whether it is there, must be there or
    was put there, and for each other host what stands against it. Hosts are read as for a plan; nothing is changed.

    Examples:
      kvmdecl explain unit.ambiguous
      kvmdecl explain
      kvmdecl explain vm/web-1 clusters/demo --facts facts/

    Exit codes: 0 explained, 1 error, such as no such code or vm.
    """
    from kvmdecl.text import safe_text

    if what is not None and what.startswith(_VM):
        said = Path(os.environ.get("KVMDECL_CLUSTER") or common.DEFAULT_PATH)
        text = _vm(what.removeprefix(_VM), path or said, facts)
    elif path is not None or facts is not None:
        raise typer.BadParameter("PATH and --facts are about a vm: `kvmdecl explain vm/NAME`")
    else:
        from kvmdecl import explain

        text = explain.overview() if what is None else explain.page(what)
    # A plugin's page is outside text too.
    common.say("\n".join(safe_text(line) for line in text.splitlines()))


def _vm(name: str, path: Path, facts: Path | None) -> str:
    from kvmdecl.cli import planning
    from kvmdecl.lock import in_words
    from kvmdecl.views.whereabouts import render_whereabouts

    found = planning.find_vm(name, path, facts)
    return render_whereabouts(name, in_words(found.place), found.why, found.others)
