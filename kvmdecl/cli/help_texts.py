"""Render the help of the program and of every command into files, so that asking for help imports nothing.

So is what each command takes, for completion in shells.

Run by `make help-texts`: python -m kvmdecl.cli.help_texts
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kvmdecl.cli.completion import BY_PARAMETER, WORDS
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
    WORDS.write_text(render_words(), "utf-8")


def render_words() -> str:
    """What the file that completion reads must hold."""
    table: dict[str, Any] = {}
    _add_words(table, "", typer.main.get_command(build()))
    return json.dumps(table, indent=1) + "\n"


def _add_words(table: dict[str, Any], path: str, command: Any) -> None:  # noqa: ANN401 - typer's, without a public type
    context = command.make_context(path, [], resilient_parsing=True)
    params = [each for each in command.get_params(context) if not getattr(each, "hidden", False)]
    options = [each for each in params if each.param_type_name == "option"]
    if inner := getattr(command, "commands", None):
        table[path] = {
            "commands": {name: each.get_short_help_str(200) for name, each in inner.items()},
            "options": {word: each.help or "" for each in options for word in _words(each)},
        }
        for name, each in inner.items():
            _add_words(table, f"{path} {name}".strip(), each)
        return
    table[path] = {
        "options": [
            {"words": _words(each), "help": each.help or "", **_taken(each, context)} for each in options
        ],
        "arguments": [_taken(each, context) for each in params if each.param_type_name == "argument"],
    }


def _words(option: Any) -> list[str]:  # noqa: ANN401 - as above
    """How an option is written. Those of --help come out of a set, in any order."""
    return [*sorted(option.opts, reverse=True), *option.secondary_opts]


def _taken(param: Any, context: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """What completion wants to know of an option or argument."""
    is_named = param.name in BY_PARAMETER
    return {
        "name": param.name,
        "value": not (getattr(param, "is_flag", False) or getattr(param, "count", False)),
        "many": bool(getattr(param, "multiple", False)) or param.nargs == -1,
        "choices": [] if is_named else [item.value for item in param.shell_complete(context, "")],
    }


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
