"""Render the help of the program and of every command into files, so that asking for help imports nothing.

Run by `make help-texts`: python -m kvmdecl.cli.help_texts
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.cli.main import COMMANDS, build, run

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).with_name("help")


def render_all() -> dict[str, str]:
    """Return what each help file must hold, by the file's name."""
    return {f"{'-'.join(words) or 'kvmdecl'}.txt": _render(words) for words in _commands()}


def main() -> None:
    """Write all files, and remove those of commands that are gone."""
    texts = render_all()
    FOLDER.mkdir(exist_ok=True)
    for stale in {path.name for path in FOLDER.iterdir()} - texts.keys():
        (FOLDER / stale).unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text, "utf-8")


def _commands() -> Iterator[tuple[str, ...]]:
    yield ()
    inside = {group.name: group.typer_instance for group in build().registered_groups}
    for name in COMMANDS:
        yield (name,)
        group = inside.get(name)
        for command in group.registered_commands if group is not None else ():
            function = command.callback
            yield name, command.name or (function.__name__ if function is not None else "")


def _render(words: tuple[str, ...]) -> str:
    os.environ["COLUMNS"] = "80"
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")) as output:
        run([*words, "--help"])
        output.flush()
        output.seek(0)
        return output.read()


if __name__ == "__main__":
    main()
