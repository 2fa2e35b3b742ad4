"""What the commands share: their common arguments, how they print, and where their hosts are."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from kvmdecl.cli import places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.lab import Lab
    from kvmdecl.manager import Reach, Shell
    from kvmdecl.uri import HostUri

DEFAULT_PATH = places.DEFAULT_PATH
journal_directory = places.journal_directory

ClusterPath = Annotated[
    Path,
    typer.Argument(
        metavar="PATH",
        envvar="KVMDECL_CLUSTER",
        help="Manifest file, or folder whose *.yaml files are one manifest.",
    ),
]


Newcomers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VM",
        help="A vm that exists nowhere: make it though a host does not answer. May be repeated.",
    ),
]

JournalDirectory = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        metavar="DIR",
        envvar="KVMDECL_JOURNAL",
        help="Where runs are noted down.  [default: kvmdecl/runs in the user's state directory]",
    ),
]


PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policies",
        metavar="FILE",
        envvar="KVMDECL_POLICIES",
        help="Hold the plan against the policies in this file, too.",
        show_default=False,
    ),
]


UntilWave = Annotated[
    str,
    typer.Option(
        metavar="WAVE", help="Leave the waves after this one, named as in the plan, to a later run."
    ),
]

ConsentFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Deletions that were agreed to, each in one plan (`plan --consents`).",
        show_default=False,
    ),
]


class Exit(IntEnum):
    """How a command ends. The numbers are stable; docs/exit-codes.md explains them."""

    OK = 0
    """Done, or nothing to do."""
    ERROR = 1
    """Something is wrong and was said; nothing was changed, unless the command says so."""
    CHANGES = 2
    """`plan --detailed-exitcode`: the plan has changes; `drift`: there is drift."""
    PARTIAL = 3
    """A host did not answer, or a step failed or was refused; the rest was done."""
    BLOCKED = 4
    """Consent is missing; nothing was changed."""
    LOCKED = 5
    """Another run holds a host; nothing was changed."""
    PAUSED = 6
    """A gate of a rollout is inconclusive: the later waves wait for somebody to look."""
    USAGE = 64
    """The command line is wrong (sysexits.h, EX_USAGE)."""
    INTERRUPTED = 130
    """Ctrl-C (128 + SIGINT)."""


class Format(StrEnum):
    """What a command writes to standard output."""

    TEXT = "text"
    JSON = "json"


class ReportFormat(StrEnum):
    """What a command that finds faults writes: for people, for programs, and for what shows them beside a change."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    SARIF = "sarif"
    GITHUB = "github"
    GITLAB = "gitlab"
    JUNIT = "junit"


class PlanFormat(StrEnum):
    """What `plan` writes: a plan, or what is found on the way to it."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    SVG = "svg"
    DOT = "dot"
    MERMAID = "mermaid"
    SARIF = "sarif"
    GITHUB = "github"
    GITLAB = "gitlab"
    JUNIT = "junit"


class ProgressView(StrEnum):
    """How progress is shown: `auto` is `live` on a terminal and `plain` lines elsewhere."""

    AUTO = "auto"
    LIVE = "live"
    PLAIN = "plain"
    JSON = "json"


class ColorChoice(StrEnum):
    """Values of --color."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


_held: list[object] = []


def hold(value: object) -> None:
    """Leave a great value to the end of the process, which frees its memory at once instead of part by part."""
    import gc

    _held.append(value)
    gc.freeze()  # or the next collection would go through all of it


# -- printing ------------------------------------------------------------------------------------------------


def say(text: str, end: str = "\n") -> None:
    """Write a command's result to standard output.

    A reader who leaves early (`| head`) is no reason to stop half-way through an apply: the rest is dropped.

    Raises:
        Rejected: `output.not-written`, for example on a full disk.
    """
    _write(sys.stdout, text + end)


def complain(text: str) -> None:
    """Write a line about what is going on, or wrong, to standard error."""
    _write(sys.stderr, text + "\n")


def report(diagnostics: Iterable[Diagnostic], texts: Mapping[Path, str] | None = None) -> None:
    """Show diagnostics, if there are any, on standard error; `texts` of files that are not written yet."""
    from kvmdecl.source import line_reader
    from kvmdecl.views.diagnostics_text import render

    if found := tuple(diagnostics):
        _write(sys.stderr, render(found, color=color(sys.stderr), read_line=line_reader(texts)))


MaxBytes = Annotated[int, typer.Option(min=8_000, metavar="N", help="Length of the Markdown, at most.")]
MOST_BYTES = 60_000
"""`plan_markdown.MAX_BYTES`, which no `--help` has to read; `MaxBytes` begins with its `LEAST_BYTES`."""


def say_findings(
    diagnostics: Iterable[Diagnostic], form: str, command: str, path: Path, max_bytes: int = MOST_BYTES
) -> None:
    """Write diagnostics to standard output, in one of the formats that are not for a terminal.

    For GitHub Actions those on lines that the pull request changes come first, and all are added to the job's summary.

    Args:
        diagnostics: in any order.
        form: a value of `ReportFormat`, but not `text`.
        command: that found them.
        path: of what was looked at.
        max_bytes: of Markdown.
    """
    if form == "github":
        _annotate(diagnostics, command)
        return
    if form in {"markdown", "html"}:
        say(_as_document(diagnostics, form, command, path, max_bytes), end="")
        return
    if form == "json":
        from kvmdecl.views.diagnostics_text import render_json as render
    elif form == "sarif":
        from kvmdecl.views.sarif import render_sarif as render
    elif form == "gitlab":
        from kvmdecl.views.code_quality import render_code_quality as render
    else:
        from kvmdecl.views.junit import render_junit as render
    say(render(diagnostics), end="")


def _as_document(
    diagnostics: Iterable[Diagnostic], form: str, command: str, path: Path, max_bytes: int
) -> str:
    from kvmdecl.source import line_reader
    from kvmdecl.views.findings_html import render_findings_html
    from kvmdecl.views.findings_markdown import render_findings_markdown

    lines = line_reader()
    if form == "html":
        return render_findings_html(diagnostics, command, str(path), read_line=lines)
    return render_findings_markdown(diagnostics, command, str(path), max_bytes=max_bytes, read_line=lines)


def _annotate(diagnostics: Iterable[Diagnostic], title: str) -> None:
    from dataclasses import replace

    from kvmdecl.diagnostics import Rejected, Severity
    from kvmdecl.revisions import changed_lines
    from kvmdecl.views.annotations import render_annotations, render_summary, worst

    changed: Mapping[str, frozenset[int]] = {}
    if base := os.environ.get("GITHUB_BASE_REF"):
        try:
            changed = changed_lines(f"origin/{base}")
        except Rejected as rejected:  # the findings are worth more than their order
            report(replace(each, severity=Severity.WARNING) for each in rejected.diagnostics)
    found = worst(diagnostics, changed)
    say(render_annotations(found), end="")
    if (summary := os.environ.get("GITHUB_STEP_SUMMARY")) and found:
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(render_summary(found, f"kvmdecl {title}"))
        except OSError as error:
            raise not_written(summary, error) from error


def unknown_host(code: str, name: str, names: list[str]) -> Diagnostic:
    """That there is no such host, with the nearest name, or the first ten that there are."""
    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.text import did_you_mean, quoted

    hint = (
        did_you_mean(name, names) or f"hosts are {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
    )
    return Diagnostic(code, f"there is no host {quoted(name)}", hint=hint)


def chosen_hosts(wanted: list[str] | None, known: Iterable[str]) -> list[str]:
    """The hosts to look at, in the order of `known`; all of them unless some are named.

    Raises:
        Rejected: `facts.unknown-host` for each that there is not.
    """
    from kvmdecl.diagnostics import Diagnostic, Rejected
    from kvmdecl.text import did_you_mean, quoted

    names = list(known)
    if strangers := sorted(set(wanted or ()) - set(names)):
        raise Rejected(
            Diagnostic(
                code="facts.unknown-host",
                summary=f"there is no host {quoted(name)}",
                hint=did_you_mean(name, names) or f"hosts are {', '.join(map(quoted, names))}",
            )
            for name in strangers
        )
    return [name for name in names if not wanted or name in wanted]


def write_file(path: Path, text: str, *, private: bool = False) -> None:
    """Write a file as a whole or not at all, so that a reader never sees half of it.

    Args:
        path: of the file; an older one is replaced.
        text: of the file.
        private: nobody else may read it.

    Raises:
        Rejected: `output.not-written`.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe or /dev/stdout cannot be replaced
            path.write_text(text, "utf-8")
            return
        beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            # A file that is there already, or a link, is somebody else's: it is not written through.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            descriptor = os.open(beside, flags, 0o600 if private else 0o666)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise not_written(str(path), error) from error


def write_manifest(path: Path, text: str) -> None:
    """Write a manifest's file with what it says now; it keeps the byte order mark that it has.

    Raises:
        Rejected: `output.not-written`.
    """
    from kvmdecl.source import BYTE_ORDER_MARK

    begins = path.read_bytes().startswith(BYTE_ORDER_MARK.encode())
    write_file(path, (BYTE_ORDER_MARK if begins else "") + text)


def color(stream: TextIO | None = None) -> bool:
    """Return whether to colour what goes to `stream` (standard output if not given).

    In this order: NO_COLOR, CLICOLOR_FORCE, and whether it is a terminal that is not dumb.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") not in {"", "0"}:
        return True
    return is_terminal(stream or sys.stdout)


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can do more than print."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def choose_color(choice: ColorChoice) -> None:
    """Make --color what the environment says, for this process and for all that it runs."""
    if choice is ColorChoice.NEVER:
        os.environ["NO_COLOR"] = "1"
    elif choice is ColorChoice.ALWAYS:
        os.environ.pop("NO_COLOR", None)
        os.environ["CLICOLOR_FORCE"] = os.environ["FORCE_COLOR"] = "1"


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _discard(stream)
    except OSError as error:
        _discard(stream)
        raise not_written("the output", error) from error


def _discard(stream: TextIO) -> None:
    """Send all that follows, and what is still buffered, to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def unreadable(what: str, error: OSError) -> Exception:
    """Return the exception for journals that cannot be read."""
    from kvmdecl.diagnostics import Diagnostic, Rejected
    from kvmdecl.text import safe_text

    cause = f"{safe_text(error.strerror or str(error))}."
    return Rejected([Diagnostic("run.journal-broken", f"cannot read {safe_text(what)}", cause=cause)])


def not_written(what: str, error: OSError) -> Exception:
    """Return the exception for output that could not be written."""
    from kvmdecl.diagnostics import Diagnostic, Rejected
    from kvmdecl.text import safe_text

    cause = safe_text(error.strerror or str(error))
    return Rejected([Diagnostic("output.not-written", f"cannot write {safe_text(what)}", cause=f"{cause}.")])


# -- hosts ---------------------------------------------------------------------------------------------------


def rehearsing() -> bool:
    """Return whether a lab stands in for the manifest's hosts (`eval "$(kvmdecl lab env)"`)."""
    return bool(os.environ.get("KVMDECL_LAB"))


def host_uris(cluster: ResolvedCluster) -> dict[str, HostUri]:
    """Return where each host of the cluster is reached: as the manifest says, or in the lab, and say so.

    In the lab, so are the hosts that are let go, if it has them.

    Raises:
        Rejected: `lab.not-found`, `lab.state-broken`, or `lab.unknown-host` for each host that the lab lacks.
    """
    if not rehearsing():
        return {host.name: host.uri for host in cluster.hosts}
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.lab import Lab
    from kvmdecl.text import safe_text
    from kvmdecl.uri import parse_manifest_uri

    lab = Lab.load(Path(os.environ["KVMDECL_LAB"]))
    found: list[Diagnostic] = []
    uris: dict[str, HostUri] = {}
    for host in cluster.hosts:
        try:
            uris[host.name] = parse_manifest_uri(lab.host(host.name).uri())
        except Rejected as rejected:
            found += rejected.diagnostics
    if found:
        raise Rejected(found)
    uris |= {
        host.name: parse_manifest_uri(lab.host(host.name).uri())
        for host in cluster.retired
        if host.uri is not None and host.name in lab.hosts
    }
    complain(f"Rehearsal: the hosts are those of the lab in {safe_text(str(lab.directory))} (KVMDECL_LAB).")
    return uris


def reach(uris: Mapping[str, HostUri], otherwise: str = "") -> Reach:
    """Return the way to run programs on these hosts; in a rehearsal on those of the lab, whatever else is said.

    `otherwise` is how SSH gets to those whose URIs lead to libvirt alone (`root@{name}`).

    Raises:
        Rejected: `lab.not-found`, `lab.state-broken`.
    """
    from kvmdecl.hosts.shell import UriReach

    if not rehearsing():
        return UriReach(uris, otherwise)
    from kvmdecl.lab import Lab

    return LabReach(Lab.load(Path(os.environ["KVMDECL_LAB"])))


@dataclass(frozen=True, slots=True)
class LabReach:
    """Leads to the hosts of a lab; see `kvmdecl.manager.Reach`."""

    lab: Lab

    def shell(self, host: str, way: str = "") -> Shell | None:
        """A host of the lab, whatever the manifest says of the way to the real one."""
        from kvmdecl.diagnostics import Rejected
        from kvmdecl.hosts.shell import CommandShell
        from kvmdecl.manager import NoAnswer

        def wrap(argv: Sequence[str]) -> Sequence[str]:
            try:
                return self.lab.host_command(host, argv)
            except Rejected as rejected:
                raise NoAnswer(f"{host}: {rejected.diagnostics[0].summary}") from None

        return CommandShell(host, wrap) if host in self.lab.hosts else None

    def here(self, host: str, variables: Mapping[str, str]) -> Shell | None:
        """None: the hosts of a lab are where nobody but the lab leads to."""
        return None
