"""Notices as lines of JSON, numbered from 1 without gaps: those of apply's events, and a few more.

`formatVersion` is MAJOR.MINOR: a reader ignores keys and events it does not know within a major version.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from kvmdecl.notices import Notice
from kvmdecl.views.events_json import lines_schema

FORMAT_VERSION = "1.0"
_NOTICE: TypeAdapter[Notice] = TypeAdapter(Notice)


def render_notice(notice: Notice, sequence: int) -> str:
    """One line: the notice's fields, and which one it is."""
    head = {"formatVersion": FORMAT_VERSION, "sequence": sequence}
    return json.dumps({**head, **_NOTICE.dump_python(notice, mode="json")}, ensure_ascii=True) + "\n"


def notices_schema() -> dict[str, Any]:
    """JSON Schema of one line."""
    return lines_schema(_NOTICE, "kvmdecl notice (what a notifier is told)")
