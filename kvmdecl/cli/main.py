"""The commands put together, and the one place where a command's end is decided."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kvmdecl.cli import common
from kvmdecl.cli.completion import BY_PARAMETER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

COMMANDS = {
    "init": "Write a small cluster to start from",
    "validate": "Check a manifest; contacts nobody",
    "set": "Set one value of a manifest, and touch no other byte",
    "unset": "Take one key out of a manifest",
    "fmt": "Lay out manifests as they are laid out themselves",
    "migrate": "Write manifests in the words of today's versions",
    "rules": "List the known pitfalls that manifests are held against",
    "advise": "Propose what a vm should have for what it is for, as a patch",
    "lock": "Write where each vm is, to be reviewed and kept to",
    "capacity": "Tell how many more vms of each kind fit, and what blocks the next",
    "doctor": "Examine hosts: what does not work there, and how to mend it",
    "plan": "Show what apply would change, and what that does to guests",
    "diff": "Show what a change of the manifest means; contacts nobody",
    "map": "Show who sits where: hosts, cells, cores, pages and guests",
    "devices": "Show hosts' devices: groups, who has what, what is free",
    "drift": "Tell what changed on the hosts and not in the manifest",
    "apply": "Bring the hosts to what the manifest, or a saved plan, says",
    "destroy": "Delete what the cluster made on its hosts",
    "ha": "Write what a cluster manager is given to run vms",
    "adopt": "Take guests that exist on a host into the manifest",
    "history": "List what was applied from here, and how it ended",
    "undo": "Plan the way back from a run",
    "unlock": "Break the locks of a run that is dead",
    "snapshot": "Take, list and merge snapshots of running vms",
    "show": "Print the libvirt XML that a vm compiles to",
    "facts": "Save what hosts are and hold, to plan offline",
    "explain": "Say why something is a problem, or why a vm is where it is",
    "schema": "Write the JSON Schema of the manifest, or of what commands write",
    "plugins": "List what is loaded, from where, and what it does",
    "lab": "Run a throw-away cluster of real libvirtd daemons here",
    "version": "Say which kvmdecl this is and what it stands on",
}
"""The commands in the order of a day's work, each a module of this package; and what it is for, in a line."""

_PURPOSE = """See exactly what a YAML manifest will change on your KVM hosts, then make just that happen.

Examples:
  kvmdecl init my-cluster
  kvmdecl plan my-cluster
  kvmdecl apply my-cluster

Environment:
  KVMDECL_CLUSTER   manifest file or folder, if a command names none
  KVMDECL_LAB       directory of a lab that stands in for the hosts
  NO_COLOR          no colours

Exit codes: 0 done, 1 error, 2 changes pending (plan --detailed-exitcode) or drift, 3 done in part,
4 consent is missing, 5 another run holds a host, 6 a gate is inconclusive, 64 wrong
usage, 130 interrupted.
"""
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code of the process. No exception leaves this function."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # text files, as Python opens them
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return common.Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, the user gets a sentence and not a traceback
        return _admit_bug(error)


def build(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the program with these commands; the modules of the others are not imported."""
    program = typer.Typer(
        name="kvmdecl",
        help=_help(_PURPOSE),
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_SETTINGS,
    )
    program.callback()(_program)
    for name in names:
        module = import_module(f"kvmdecl.cli.{name}")
        if hasattr(module, "app"):
            group = _tidy(module.app)
            program.add_typer(group, name=name, short_help=COMMANDS[name], context_settings=_SETTINGS)
        else:
            command = program.command(
                name,
                help=_help(module.run.__doc__),
                short_help=COMMANDS[name],
                context_settings=_SETTINGS,
            )
            command(_with_color(module.run))
    return program


def _program(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if version:
        from kvmdecl import __version__

        common.say(f"kvmdecl {__version__}")
        raise typer.Exit


def _run(arguments: Sequence[str]) -> int:
    from kvmdecl.diagnostics import Rejected

    words = arguments or _words_to_complete()
    wanted = words[:1] if words and words[0] in COMMANDS else COMMANDS
    try:
        code = build(wanted)(list(arguments), prog_name="kvmdecl", standalone_mode=False)
    except Rejected as rejected:
        common.report(rejected.diagnostics)
        return common.Exit.ERROR
    except typer.Abort:  # Ctrl-C or the end of input where a question was asked; its line is still open
        common.complain("\nNothing was changed.")
        return common.Exit.ERROR
    except typer.TyperException as error:
        return _show_usage(error)
    return code if isinstance(code, int) else common.Exit.OK


def _words_to_complete() -> Sequence[str]:
    """What is on the command line of a shell that asks what could come next, but for the word that is being written."""
    line = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
    return line.split()[1:-1] if "_KVMDECL_COMPLETE" in os.environ else ()


def _show_usage(error: Any) -> int:  # noqa: ANN401 - what typer raises for a wrong command line has no public type
    if type(error).__name__ == "NoArgsIsHelpError":
        common.say(error.message)
        return common.Exit.OK
    error.message = error.message.replace(
        "Value error, ", ""
    )  # how typer's checks of a value announce themselves
    error.show()
    return common.Exit.USAGE


def _admit_bug(error: Exception) -> int:
    import tempfile
    import traceback

    from kvmdecl.text import safe_text

    common.complain(f"kvmdecl failed: {type(error).__name__}: {safe_text(str(error))}")
    if os.environ.get("KVMDECL_TRACEBACK") == "1":
        traceback.print_exception(error)
        return common.Exit.ERROR
    with tempfile.NamedTemporaryFile("w", prefix="kvmdecl-", suffix=".txt", delete=False) as file:
        traceback.print_exception(error, file=file)
    common.complain(f"This is a bug in kvmdecl. Please report it with the details in {file.name}")
    return common.Exit.ERROR


def _with_color(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option --color."""

    @functools.wraps(command)
    def colored(*args: Any, color: common.ColorChoice, **options: Any) -> None:  # noqa: ANN401 - passed on
        common.choose_color(color)
        command(*args, **options)

    option = inspect.Parameter(
        "color",
        inspect.Parameter.KEYWORD_ONLY,
        default=common.ColorChoice.AUTO,
        annotation=Annotated[common.ColorChoice, typer.Option(help="When to use colours.")],
    )
    given = inspect.signature(command, eval_str=True)
    for parameter in given.parameters.values():
        _complete(parameter)
    parameters = [*given.parameters.values(), option]
    described: Any = colored  # typer reads both of these
    described.__signature__ = given.replace(parameters=parameters)
    described.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return colored


def _complete(parameter: inspect.Parameter) -> None:
    """Have a shell offer what a parameter of this name takes."""
    if parameter.name in BY_PARAMETER:
        for said in getattr(parameter.annotation, "__metadata__", ()):
            said.autocompletion = said.autocompletion or _asked_by_typer(BY_PARAMETER[parameter.name])


def _asked_by_typer(names: Callable[[Mapping[str, Any], str], list[str]]) -> Callable[..., list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return names(ctx.params, incomplete)

    return complete


def _tidy(group: typer.Typer) -> typer.Typer:
    """Give a group's commands the same manners as the others."""
    for command in group.registered_commands:
        if command.callback is not None:
            command.help = _help(command.help or command.callback.__doc__)
            if (
                "color" not in inspect.signature(command.callback).parameters
            ):  # a group is built again and again
                command.callback = _with_color(command.callback)
        command.context_settings = {**_SETTINGS, **(command.context_settings or {})}
    if (callback := group.registered_callback) is not None and callback.callback is not None:
        callback.help = _help(callback.callback.__doc__)
    return group


def _help(docstring: str | None) -> str:
    """Keep the line breaks of indented blocks, such as examples, which would be filled like a paragraph.

    A text that went through here before comes out as it is: a group is built again and again in one process.
    """
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(
        f"\b\n{text}" if "\n  " in text and not text.startswith("\b") else text for text in paragraphs
    )
