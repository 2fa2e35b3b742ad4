"""`kvmdecl explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from kvmdecl.cli import common


def run(
    code: Annotated[
        str | None,
        typer.Argument(help="Code in the brackets of a message; all codes if not given.", show_default=False),
    ] = None,
) -> None:
    """Say why something is a problem and how to fix it.

    Examples:
      kvmdecl explain unit.ambiguous
      kvmdecl explain

    Exit codes: 0 explained, 1 no such code.
    """
    from kvmdecl import explain
    from kvmdecl.text import safe_text

    text = explain.overview() if code is None else explain.page(code)
    # A plugin's page is outside text too.
    common.say("\n".join(safe_text(line) for line in text.splitlines()))
