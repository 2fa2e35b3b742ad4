"""Findings as Markdown, for a comment on a pull request: never longer than it may be, the same bytes each time."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import worst_first
from kvmdecl.text import safe_text
from kvmdecl.views.diagnostics_text import counted, render_one
from kvmdecl.views.markdown import code, fenced, longest_ticks
from kvmdecl.views.plan_text import count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.views.diagnostics_text import ReadLine

_LONGEST_NAME = 400
_ELSE = 200
"""Bytes for what stands around the findings, and for how many are left out."""


def render_findings_markdown(
    diagnostics: Iterable[Diagnostic], command: str, path: str, *, max_bytes: int, read_line: ReadLine
) -> str:
    """The comment: how much was found, then as much of it as there is room for, the worst first.

    Args:
        diagnostics: in any order.
        command: that found them, `validate`, `plan` or `diff`.
        path: of the manifest.
        max_bytes: of the text in UTF-8.
        read_line: gives line N (from 1) of a file for the snippet, or None.
    """
    found = worst_first(diagnostics)
    name = safe_text(path)[-_LONGEST_NAME:]
    head = f"<!-- kvmdecl:{command}:{escape(name)} -->\n### kvmdecl {command} · {code(name)} · {counted(found)}\n"
    room = max_bytes - len(head.encode()) - _ELSE
    blocks: list[str] = []
    for each in found:
        block = render_one(each, read_line)
        room -= len(block.encode()) + 2 + 2 * longest_ticks(block)  # which both fences are longer by
        if room < 0:
            break
        blocks.append(block)
    shown = fenced("\n\n".join(blocks)) + "\n" if blocks else ""
    left = len(found) - len(blocks)
    more = f"\n_Left out for length: {count(left, 'further finding')}._\n" if left else ""
    return f"{head}\n{shown}{more}"
