"""A plan as a file: what `plan --out` writes, `apply` reads back, and any other program may read by its schema.

`formatVersion` is MAJOR.MINOR: a reader ignores keys that it does not know, and refuses another major version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kvmdecl.diagnostics import Diagnostic, Rejected, Span
from kvmdecl.plan import Plan
from kvmdecl.text import safe_text

FORMAT_VERSION = "1.4"
MAX_FILE = 512 * 1024 * 1024
_PLAN = TypeAdapter(Plan)


def render_plan_json(plan: Plan) -> str:
    """The plan as JSON: sorted keys, no times, so that the same plan is the same bytes."""
    document = {
        "formatVersion": FORMAT_VERSION,
        "digest": plan.digest,
        **_PLAN.dump_python(plan, mode="json"),
    }
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def plan_schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    schema = _PLAN.json_schema(mode="serialization")
    version = {"type": "string", "pattern": r"^1\.[0-9]+$", "description": "MAJOR.MINOR"}
    digest = {"type": "string", "pattern": "^[0-9a-f]{12}$", "description": "Consent is given to it."}
    schema["properties"] = {"formatVersion": version, "digest": digest, **schema["properties"]}
    schema["required"] = ["formatVersion", "digest", *schema["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "kvmdecl plan", **schema}


def read_plan(path: Path) -> Plan:
    """Read a saved plan.

    Raises:
        Rejected: `plan.unreadable` if it is no plan, or one of another major version.
    """
    try:
        document = json.loads(_read(path))
        version = str(document.pop("formatVersion", "")) if isinstance(document, dict) else ""
        _check_version(version)
        return _PLAN.validate_json(json.dumps(document), strict=False)
    except (OSError, ValueError, RecursionError) as error:
        raise Rejected([_unreadable(path, error)]) from error


def _read(path: Path) -> bytes:
    if not path.is_file():  # reading a pipe or a device could last for ever
        raise ValueError("it is not a plain file")
    if path.stat().st_size > MAX_FILE:
        raise ValueError(f"it has more than {MAX_FILE:,} bytes")
    return path.read_bytes()


def _check_version(version: str) -> None:
    if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise ValueError(f"formatVersion is {version or 'missing'}, this kvmdecl reads {FORMAT_VERSION}")


def _unreadable(path: Path, error: Exception) -> Diagnostic:
    first = (
        f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}"
        if isinstance(error, ValidationError)
        else str(error)
    )
    return Diagnostic(
        code="plan.unreadable",
        summary=f"{safe_text(str(path))} is not a saved plan",
        at=Span(str(path), 1, 1, 1, 1),
        cause=safe_text(first),
        hint="make one with `kvmdecl plan --out plan.json`; a plan is never edited by hand.",
    )
