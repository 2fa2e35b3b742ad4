"""Findings as annotations of GitHub Actions: workflow commands on standard output, and the rest for the job's summary.

GitHub shows ten of each kind of a step and drops the others without a word, so the worst ten are chosen here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Severity, worst_first
from kvmdecl.text import safe_text
from kvmdecl.views.markdown import cell, code, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.diagnostics import Diagnostic, Span

MOST = 10
_LONGEST_SUMMARY = 900_000  # bytes; GitHub takes 1 MiB
_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def worst(diagnostics: Iterable[Diagnostic], changed: Mapping[str, frozenset[int]]) -> list[Diagnostic]:
    """All findings, those on lines that a pull request changes first, and of these the worst.

    Args:
        diagnostics: in any order.
        changed: lines by file; empty where that is not known.
    """
    return sorted(worst_first(diagnostics), key=lambda each: not _is_changed(each.at, changed))


def render_annotations(found: list[Diagnostic]) -> str:
    """The first ten as workflow commands, and how many there are more."""
    lines = [_command(each) for each in found[:MOST]]
    if more := len(found) - MOST:
        lines += [f"and {more} more, in the summary of the job"] if more > 0 else []
    return "".join(f"{line}\n" for line in lines)


def render_summary(found: list[Diagnostic], title: str) -> str:
    """All findings as Markdown, as many as GitHub takes."""
    rows = [f"### {title}: {len(found)} findings\n", "| | where | what |", "|---|---|---|"]
    size = 0
    for number, each in enumerate(found):
        where = str(each.at) if each.at is not None else each.subject
        cells = (code(each.code), code(where) if where else "", code(short(each.summary)))
        row = f"| {' | '.join(map(cell, cells))} |"
        size += len(row.encode()) + 1
        if size > _LONGEST_SUMMARY:
            rows.append(f"\nand {len(found) - number} more")
            break
        rows.append(row)
    return "\n".join(rows) + "\n"


def _is_changed(at: Span | None, changed: Mapping[str, frozenset[int]]) -> bool:
    return at is not None and not changed.get(at.file, frozenset()).isdisjoint(
        range(at.line, at.end_line + 1)
    )


def _command(found: Diagnostic) -> str:
    """One workflow command. What it holds is escaped as GitHub's toolkit does: a value can end none."""
    properties = {"title": found.code}
    if (at := found.at) is not None:
        properties |= {"file": at.file, "line": str(at.line), "endLine": str(at.end_line)}
        if at.end_line == at.line:
            properties |= {"col": str(at.column), "endColumn": str(at.end_column)}
    given = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    told = (found.summary, found.cause, f"hint: {found.hint}" if found.hint else "")
    return f"::{_COMMANDS[found.severity]} {given}::{'%0A'.join(_data(line) for line in told if line)}"


def _data(text: str) -> str:
    return safe_text(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
