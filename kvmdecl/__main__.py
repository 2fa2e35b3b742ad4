"""The program's door. Help, version and what shells ask on TAB are answered before anything heavy is imported."""

from __future__ import annotations

import os
import sys

_HELP_OPTIONS = ("--help", "-h")


def main() -> None:
    """Run `kvmdecl` with this process's arguments, and end the process."""
    _open_what_is_closed()
    if "_KVMDECL_COMPLETE" in os.environ:  # the shell asks, and passes its words in the environment
        _complete()
    text = _prepared_answer(sys.argv[1:])
    if text is not None:
        print(text, end="")
        return
    from kvmdecl.cli.main import run

    code = run(sys.argv[1:])
    # Everything was written (`common.say`) and closed. What is left is memory, and Python would go through it value by
    # value: for 20,000 vms that takes as long as a tenth of all the rest.
    os._exit(code)


def _open_what_is_closed() -> None:
    """Give standard streams that are closed (`>&-`) something that swallows all: a journal would get their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            swallows = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(swallows, True)  # as those are that others open
            setattr(sys, name, os.fdopen(swallows, mode))


def _complete() -> None:
    """Tell a shell what may come next, and end; unless only typer knows."""
    from kvmdecl.cli.completion import answer

    found = answer(os.environ)
    if found is not None:
        print(found[0], end="")
        sys.exit(found[1])


def _prepared_answer(arguments: list[str]) -> str | None:
    """Return the answer to a question about the program itself; None if there is work to do."""
    if "_KVMDECL_COMPLETE" in os.environ:
        return None
    if arguments == ["--version"]:
        from kvmdecl import __version__

        return f"kvmdecl {__version__}\n"
    if not arguments or arguments == ["lab"]:
        return _help_text(arguments)
    return _help_text(arguments[:-1]) if arguments[-1] in _HELP_OPTIONS else None


def _help_text(words: list[str]) -> str | None:
    if not all(word.replace("-", "").isalpha() for word in words):
        return None
    name = "-".join(words) or "kvmdecl"
    try:
        # pathlib alone would double the time that this takes.
        with open(os.path.join(os.path.dirname(__file__), "cli", "help", f"{name}.txt")) as file:  # noqa: PTH118, PTH120, PTH123
            return file.read()
    except OSError:
        return None


if __name__ == "__main__":
    main()
