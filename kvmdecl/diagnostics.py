"""What is said to the user about a place in a manifest: spans, diagnostics, and the one exception that carries them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A range of characters in a file. Lines and columns count from 1; the end is exclusive.

    Columns count Unicode code points, not bytes and not screen cells.
    """

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Severity(StrEnum):
    """How much a diagnostic weighs: an error stops the stage that found it. Nothing need be done about an info."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Note:
    """A second place that belongs to a diagnostic ("first defined here")."""

    text: str
    at: Span | None = None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding, understandable without colour and without reading the source.

    Attributes:
        code: stable, dotted and never reused; `kvmdecl explain CODE` prints its page.
        summary: what is wrong, in one line that names the offending value.
        at: where; None only where no file is involved (a host, an option).
        cause: why that is a problem.
        hint: what to do next.
        notes: further places and facts.
        severity: error unless said otherwise.
        subject: the object the finding is about, for example `vm/web-1` or `host/kvm-1`.
    """

    code: str
    summary: str
    at: Span | None = None
    cause: str = ""
    hint: str = ""
    notes: tuple[Note, ...] = ()
    severity: Severity = Severity.ERROR
    subject: str = ""

    @property
    def sort_key(self) -> tuple[Span, str, str]:
        """By place, then code, then text, so that the same faults always print in the same order."""
        return self.at or Span("", 0, 0, 0, 0), self.code, self.summary


class Rejected(Exception):  # noqa: N818 - reads as a sentence where it is raised and caught
    """A stage found errors and stops. Carries everything that it found, in order of place."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = in_order(diagnostics)
        super().__init__("; ".join(f"{d.at or '-'}: {d.code}: {d.summary}" for d in self.diagnostics))


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Sort by place and drop exact repetitions (one faulty profile line is one finding, not one per vm)."""
    return tuple(sorted(dict.fromkeys(diagnostics), key=lambda d: d.sort_key))


def worst_first(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """The same, errors before warnings and these before infos."""
    order = list(Severity)
    return sorted(in_order(diagnostics), key=lambda d: order.index(d.severity))


def reject_errors(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return the warnings and infos if there are no errors.

    Raises:
        Rejected: with everything, warnings too, if at least one diagnostic is an error.
    """
    found = in_order(diagnostics)
    if any(d.severity is Severity.ERROR for d in found):
        raise Rejected(found)
    return found


class Moved(Exception):  # noqa: N818 - reads as a sentence
    """An object is no longer what it was when the plan was made; nothing was done to it."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic
        super().__init__(diagnostic)


class Locked(Exception):  # noqa: N818 - reads as a sentence
    """Another run holds a host; nothing was done to it."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic
        super().__init__(diagnostic)


class TaskFailed(Exception):  # noqa: N818 - reads as a sentence
    """A host refused a task, or its answer did not come."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic
        super().__init__(diagnostic)
