"""Diagnostics for people (place, line, caret, cause, notes, hint) and the same findings as JSON."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from kvmdecl.diagnostics import Diagnostic, Severity, Span, in_order
from kvmdecl.text import safe_text, width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    ReadLine = Callable[[str, int], str | None]

FORMAT_VERSION = "1.0"
MAX_SHOWN = 50

_TAB = 4
_LONGEST_SNIPPET = 160
_COLORS = {"error": "1;31", "warning": "1;33", "info": "1;34", "hint": "1;36", "caret": "1;31"}


def render(diagnostics: Iterable[Diagnostic], *, color: bool, read_line: ReadLine) -> str:
    """Return what a terminal shows: the first fifty findings in order of place, then how many there are.

    Args:
        diagnostics: in any order; exact repetitions are shown once.
        color: use ANSI colours. They add nothing that the words do not say.
        read_line: gives line N (from 1) of a file for the snippet, or None.
    """
    found = in_order(diagnostics)
    paint = _paint if color else _plain
    blocks = [_block(diagnostic, paint, read_line) for diagnostic in found[:MAX_SHOWN]]
    return "\n\n".join([*blocks, summary_line(found)]) + "\n"


def render_one(diagnostic: Diagnostic, read_line: ReadLine) -> str:
    """One finding as a terminal shows it, without colours."""
    return _block(diagnostic, _plain, read_line)


def snippet(diagnostic: Diagnostic, read_line: ReadLine) -> str:
    """The line that it is about, with carets below; empty where there is none."""
    return "\n".join(_snippet(diagnostic.at, _plain, read_line)) if diagnostic.at is not None else ""


def counted(diagnostics: Iterable[Diagnostic]) -> str:
    """`4 errors, 1 warning`."""
    weights = Counter(diagnostic.severity for diagnostic in diagnostics)
    counts = [(weights[severity], severity.value) for severity in Severity]
    return ", ".join(f"{n} {word}{'s' * (n != 1)}" for n, word in counts if n) or "no problems"


def summary_line(diagnostics: Iterable[Diagnostic]) -> str:
    """`4 errors, 1 warning`, and whether all of them are shown."""
    found = tuple(diagnostics)
    text = counted(found)
    return f"{text} (the first {MAX_SHOWN} are shown)" if len(found) > MAX_SHOWN else text


def render_json(diagnostics: Iterable[Diagnostic]) -> str:
    """Return all findings as one JSON object; a new major `formatVersion` is one that readers must learn."""
    found = [_as_json(diagnostic) for diagnostic in in_order(diagnostics)]
    weights = Counter(one["severity"] for one in found)
    report = {
        "formatVersion": FORMAT_VERSION,
        "valid": not weights["error"],
        "errors": weights["error"],
        "warnings": weights["warning"],
        "infos": weights["info"],
        "diagnostics": found,
    }
    return json.dumps(report, indent=2) + "\n"


def _as_json(diagnostic: Diagnostic) -> dict[str, Any]:
    notes = [{"text": note.text, "at": _span_as_json(note.at)} for note in diagnostic.notes]
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity.value,
        "summary": diagnostic.summary,
        "at": _span_as_json(diagnostic.at),
        "cause": diagnostic.cause,
        "hint": diagnostic.hint,
        "notes": notes,
        "subject": diagnostic.subject,
    }


def _span_as_json(span: Span | None) -> dict[str, Any] | None:
    if span is None:
        return None
    return {
        "file": span.file,
        "line": span.line,
        "column": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }


def _block(diagnostic: Diagnostic, paint: Callable[[str, str], str], read_line: ReadLine) -> str:
    severity = diagnostic.severity.value
    head = paint(f"{severity}[{safe_text(diagnostic.code)}]", severity) + f": {safe_text(diagnostic.summary)}"
    lines = [head if diagnostic.at is None else f"{safe_text(str(diagnostic.at))}: {head}"]
    if diagnostic.at is not None:
        lines += _snippet(diagnostic.at, paint, read_line)
    elif diagnostic.subject:
        lines.append(f"  at {safe_text(diagnostic.subject)}")
    lines += [f"  {safe_text(line)}" for line in diagnostic.cause.splitlines()]
    for note in diagnostic.notes:
        place = f"{safe_text(str(note.at))}: " if note.at is not None else ""
        lines.append(f"  note: {place}{safe_text(note.text)}")
    if diagnostic.hint:
        lines.append(f"  {paint('hint:', 'hint')} {safe_text(diagnostic.hint)}")
    return "\n".join(lines)


def _snippet(span: Span, paint: Callable[[str, str], str], read_line: ReadLine) -> list[str]:
    line = read_line(span.file, span.line)
    if line is None or not line.strip():
        return []
    start = min(span.column - 1, len(line))
    # A value of several lines is underlined to the end of its first; an empty one still gets its caret.
    end = min(span.end_column - 1, len(line)) if span.end_line == span.line else len(line.rstrip())
    line, start, end = _window(line, start, max(end, start))
    before = _cells(line[:start])
    marked = _cells(line[start:end], width(before))
    after = _cells(line[end:], width(before) + width(marked))
    number = str(span.line)
    caret = " " * width(before) + paint("^" * max(1, width(marked)), "caret")
    return [f"  {number} | {before}{marked}{after}".rstrip(), f"  {' ' * len(number)} | {caret}"]


def _window(line: str, start: int, end: int) -> tuple[str, int, int]:
    """Cut a very long line around the place; a terminal that wraps it would lose the caret."""
    if len(line) <= _LONGEST_SNIPPET:
        return line, start, end
    left = max(0, min(start - _LONGEST_SNIPPET // 4, len(line) - _LONGEST_SNIPPET))
    cut = line[left : left + _LONGEST_SNIPPET]
    head, tail = "..." * (left > 0), "..." * (left + _LONGEST_SNIPPET < len(line))
    shift = len(head) - left
    return head + cut + tail, start + shift, min(end + shift, len(head) + len(cut))


def _cells(text: str, column: int = 0) -> str:
    """Expand tabs to where the terminal would put them and make the rest safe."""
    shown: list[str] = []
    for char in text:
        piece = " " * (_TAB - column % _TAB) if char == "\t" else safe_text(char)
        shown.append(piece)
        column += width(piece)
    return "".join(shown)


def _plain(text: str, _kind: str) -> str:
    return text


def _paint(text: str, kind: str) -> str:
    return f"\x1b[{_COLORS[kind]}m{text}\x1b[0m"
