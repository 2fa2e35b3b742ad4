"""Findings as JUnit's XML, which any CI system shows as tests: each finding is one that failed, or was skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl.diagnostics import Severity, in_order
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmdecl.diagnostics import Diagnostic


def render_junit(diagnostics: Iterable[Diagnostic]) -> str:
    """The document. Errors are failures, the rest is skipped; without any finding there is one test, which passed."""
    found = in_order(diagnostics)
    errors = sum(1 for each in found if each.severity is Severity.ERROR)
    counts = {"tests": str(len(found) or 1), "failures": str(errors), "skipped": str(len(found) - errors)}
    root = etree.Element("testsuites", counts, name="kvmdecl")
    tests = etree.SubElement(root, "testsuite", counts, name="kvmdecl")
    for each in found:
        _add(tests, each)
    if not found:
        etree.SubElement(tests, "testcase", classname="kvmdecl", name="manifest")
    return etree.tostring(root, encoding="unicode", pretty_print=True)


def _add(tests: etree._Element, found: Diagnostic) -> None:
    where = safe_text(str(found.at or found.subject or "kvmdecl"))
    case = etree.SubElement(
        tests, "testcase", classname=found.code, name=f"{where} {safe_text(found.summary)}"
    )
    kind = "failure" if found.severity is Severity.ERROR else "skipped"
    end = etree.SubElement(case, kind, message=safe_text(found.summary), type=found.code)
    told = (where, found.cause, f"hint: {found.hint}" if found.hint else "")
    end.text = "\n".join(safe_text(line) for line in told if line)
