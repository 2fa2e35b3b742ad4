"""Findings as GitLab's Code Quality report: the part of Code Climate's format that GitLab reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Severity, in_order
from kvmdecl.views.fingerprint import with_fingerprints

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmdecl.diagnostics import Diagnostic

_WEIGHTS = {Severity.ERROR: "major", Severity.WARNING: "minor", Severity.INFO: "info"}
NOWHERE = "."
"""The file of a finding that is about a host and no line of the manifest: GitLab takes none without."""


def render_code_quality(diagnostics: Iterable[Diagnostic]) -> str:
    """The document; the same findings are the same bytes."""
    report = [
        {
            "description": found.summary
            if found.at or not found.subject
            else f"{found.subject}: {found.summary}",
            "check_name": found.code,
            "fingerprint": fingerprint,
            "severity": _WEIGHTS[found.severity],
            "location": {
                "path": found.at.file if found.at else NOWHERE,
                "lines": {"begin": found.at.line if found.at else 1},
            },
        }
        for found, fingerprint in with_fingerprints(in_order(diagnostics))
    ]
    return json.dumps(report, indent=2) + "\n"
