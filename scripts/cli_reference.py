"""Write docs/cli.md and the man pages in docs/man again, from the commands. Run by `make help-texts`."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

from kvmdecl.cli.main import COMMANDS, build

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[1] / "docs"
INTRODUCTION = """# Commands

<!-- Made by `make help-texts` from the commands themselves, as are their man pages (`man kvmdecl-plan`). -->

`kvmdecl COMMAND --help` shows the same in a terminal. Exit codes are explained in [exit-codes.md](exit-codes.md).
"""


@dataclass(frozen=True, slots=True)
class Command:
    """What there is to say about one command."""

    words: tuple[str, ...]
    purpose: str
    usage: str
    paragraphs: tuple[str, ...]
    """Text to be filled; one whose lines are indented is shown as it is."""
    records: tuple[tuple[str, str], ...]
    """Arguments and options: how it is written, and what it does."""
    inside: tuple[tuple[str, str], ...]
    """The commands of a group, each with what it is for."""


def commands() -> tuple[Command, ...]:
    """Every command in the order of `kvmdecl --help`, a group before those inside."""
    return tuple(_walk(typer.main.get_command(build()), ("kvmdecl",), None))


def _walk(command: Any, words: tuple[str, ...], parent: Any) -> Iterator[Command]:  # noqa: ANN401 - typer vendors click
    context = command.make_context(words[-1], [], parent=parent, resilient_parsing=True)
    inside = getattr(command, "commands", {})
    names = [name for name in COMMANDS if name in inside] if len(words) == 1 else list(inside)
    yield Command(
        words,
        COMMANDS.get(words[-1], command.get_short_help_str(200))
        if len(words) == 2
        else command.get_short_help_str(200),
        command.get_usage(context).removeprefix("Usage: "),
        tuple(part.removeprefix("\b\n") for part in (command.help or "").split("\n\n")),
        tuple(filter(None, (_record(each, context) for each in command.get_params(context)))),
        tuple((name, inside[name].get_short_help_str(200)) for name in names),
    )
    for name in names:
        yield from _walk(inside[name], (*words, name), context)


def _record(parameter: Any, context: Any) -> tuple[str, str] | None:  # noqa: ANN401 - typer vendors click
    record: tuple[str, str] | None = parameter.get_help_record(context)
    return record and (record[0], re.sub(r"\s+", " ", record[1]).strip())


def _is_shown_as_it_is(paragraph: str) -> bool:
    return "\n  " in paragraph


def markdown(every: tuple[Command, ...]) -> str:
    """Return docs/cli.md."""
    program, *others = every
    rows = "".join(f"| [`{n}`](#kvmdecl-{n}) | {purpose} |\n" for n, purpose in program.inside)
    return "\n".join([INTRODUCTION, f"| | |\n| --- | --- |\n{rows}", *map(_section, others)])


def _section(command: Command) -> str:
    title = f"{'#' * len(command.words)} {' '.join(command.words)}\n"
    usage = f"```text\n{command.usage}\n```\n"
    records = "".join(f"- `{how}`{f': {what}' if what else ''}\n" for how, what in command.records)
    return "\n".join([title, usage, *map(_paragraph, command.paragraphs), *filter(None, [records])])


def _paragraph(paragraph: str) -> str:
    if not _is_shown_as_it_is(paragraph):
        return f"{_plain(paragraph)}\n"
    heading, _, lines = paragraph.partition("\n")
    return f"{_plain(heading)}\n\n```text\n{textwrap.dedent(lines)}\n```\n"


def _plain(text: str) -> str:
    """Escape what Markdown would read in prose; what the help writes between backticks is code there, too."""
    prose_and_code = re.split(r"(`[^`]*`)", text)
    return "".join(part if part[:1] == "`" else re.sub(r"([*<[])", r"\\\1", part) for part in prose_and_code)


def manual(command: Command, others: tuple[Command, ...]) -> str:
    """Return a man page, in the macros of man(7)."""
    name = "-".join(command.words)
    related = sorted({"-".join(each.words) for each in others if _is_related(command, each)})
    parts = [
        f'.\\" Made by `make help-texts` from the commands.\n.TH {name.upper()} 1 "" kvmdecl "kvmdecl manual"',
        f".SH NAME\n{_roff(name)} \\- {_roff(command.purpose)}",
        f".SH SYNOPSIS\n.B {_roff(command.usage)}",
        ".SH DESCRIPTION\n" + "\n.PP\n".join(map(_roff_paragraph, command.paragraphs)),
    ]
    if command.inside:
        parts.append(".SH COMMANDS\n" + "\n".join(_item(n, what) for n, what in command.inside))
    if command.records:
        parts.append(".SH OPTIONS\n" + "\n".join(_item(how, what) for how, what in command.records))
    parts.append(".SH SEE ALSO\n" + ",\n".join(f".BR {_roff(each)} (1)" for each in related))
    return "\n".join(parts) + "\n"


def _is_related(command: Command, other: Command) -> bool:
    if len(command.words) == 1:
        return len(other.words) == 2
    return other is not command and other.words[:-1] in (command.words[:-1], command.words)


def _item(term: str, text: str) -> str:
    return f".TP\n.B {_roff(term)}\n{_roff(text)}"


def _roff_paragraph(paragraph: str) -> str:
    if not _is_shown_as_it_is(paragraph):
        return _roff(paragraph)
    heading, _, lines = paragraph.partition("\n")
    return f"{_roff(heading)}\n.PP\n.nf\n{_roff(lines)}\n.fi"


def _roff(text: str) -> str:
    """Escape what roff would read: backslashes, hyphens that are typed, and control characters that begin a line."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)


def pages() -> dict[Path, str]:
    """Return every file that this makes, by its path."""
    every = commands()
    manuals = {DOCS / "man" / f"{'-'.join(each.words)}.1": manual(each, every) for each in every}
    return {DOCS / "cli.md": markdown(every)} | manuals


def main() -> None:
    """Write them, and take away the pages of commands that are gone."""
    texts = pages()
    (DOCS / "man").mkdir(exist_ok=True)
    for stale in {*(DOCS / "man").iterdir()} - texts.keys():
        stale.unlink()
    for path, text in texts.items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
