"""Findings as a page in one file, like that of a plan: it runs nothing and loads nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.text import safe_text
from kvmdecl.views.diagnostics_text import counted, snippet
from kvmdecl.views.page import E, page
from kvmdecl.views.plan_html import STYLE, finding_entries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.views.diagnostics_text import ReadLine


def render_findings_html(
    diagnostics: Iterable[Diagnostic], command: str, path: str, *, read_line: ReadLine
) -> str:
    """The page; the arguments are those of `findings_markdown`."""
    found = tuple(dict.fromkeys(diagnostics))
    name = safe_text(path)
    return page(
        f"kvmdecl {command}: {name}",
        STYLE,
        E.header(E.h1(f"kvmdecl {command} ", E.code(name)), E.p({"class": "verdict"}, counted(found))),
        E.main(*finding_entries(found, lambda each: snippet(each, read_line))),
    )
