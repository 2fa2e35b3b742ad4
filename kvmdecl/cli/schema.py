"""`kvmdecl schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kvmdecl.cli import common


def run(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write to this file instead of standard output.", show_default=False
        ),
    ] = None,
) -> None:
    """Write the JSON Schema of the manifest, with the sections of all installed plugins.

    Editors use it for completion and for checks while you type: put
    `# yaml-language-server: $schema=cluster.v1.json` on the first line of the manifest.

    Examples:
      kvmdecl schema --output schemas/cluster.v1.json
      kvmdecl schema | jq '.properties | keys'

    Exit codes: 0 written, 1 error.
    """
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.schema import render_schema

    text = render_schema(load_plugins().sections())
    if output is None:
        common.say(text, end="")
    else:
        common.write_file(output, text)
