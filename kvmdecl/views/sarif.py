"""Findings as SARIF 2.1.0 (OASIS), for code scanning: one run, the worst findings first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kvmdecl import __version__
from kvmdecl.diagnostics import Severity, worst_first
from kvmdecl.views.fingerprint import with_fingerprints

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmdecl.diagnostics import Diagnostic, Note, Span

MOST = 25_000
"""GitHub takes no run with more results."""
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def render_sarif(diagnostics: Iterable[Diagnostic]) -> str:
    """The document; the same findings are the same bytes."""
    found = worst_first(diagnostics)[:MOST]
    codes = sorted({each.code for each in found})
    numbers = {code: number for number, code in enumerate(codes)}
    run = {
        "tool": {
            "driver": {"name": "kvmdecl", "version": __version__, "rules": [_rule(code) for code in codes]}
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, print_, numbers[each.code]) for each, print_ in with_fingerprints(found)],
    }
    document = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _rule(code: str) -> dict[str, Any]:
    return {"id": code, "help": {"text": f"`kvmdecl explain {code}` says more about it."}}


def _result(found: Diagnostic, fingerprint: str, rule: int) -> dict[str, Any]:
    text = " ".join(
        part for part in (f"{found.summary}.", found.cause, f"Hint: {found.hint}" * bool(found.hint)) if part
    )
    result: dict[str, Any] = {
        "ruleId": found.code,
        "ruleIndex": rule,
        "level": _LEVELS[found.severity],
        "message": {"text": text},
        "partialFingerprints": {"kvmdecl/v1": fingerprint},
    }
    if found.at is not None:
        result["locations"] = [_location(found.at)]
    elif found.subject:
        result["locations"] = [{"logicalLocations": [{"fullyQualifiedName": found.subject}]}]
    if notes := [_note(note, number) for number, note in enumerate(found.notes)]:
        result["relatedLocations"] = notes
    return result


def _location(at: Span) -> dict[str, Any]:
    region = {
        "startLine": at.line,
        "startColumn": at.column,
        "endLine": at.end_line,
        "endColumn": at.end_column,
    }
    return {"physicalLocation": {"artifactLocation": {"uri": quote(at.file)}, "region": region}}


def _note(note: Note, number: int) -> dict[str, Any]:
    where = _location(note.at) if note.at is not None else {}
    return {"id": number, "message": {"text": note.text}, **where}
