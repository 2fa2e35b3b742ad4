"""What `kvmdecl doctor` found, as text, as JSON and as metrics for Prometheus."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmdecl.doctor import Finding, Outcome

_MARKS: dict[Outcome, str] = {"ok": "ok     ", "advice": "advice ", "failure": "FAILURE"}
_COUNTED: dict[Outcome, str] = {"failure": "failing", "advice": "to consider", "ok": "well"}
_EVERY = "all hosts"


def render_doctor(findings: Sequence[Finding], *, verbose: bool = False) -> str:
    """Host by host: what is wrong and what to do about it; what is well only if `verbose`, else as a number."""
    lines: list[str] = []
    hosts = dict.fromkeys(finding.host for finding in findings)
    for host in hosts:
        mine = [finding for finding in findings if finding.host == host]
        counts = Counter(finding.outcome for finding in mine)
        shown = [finding for finding in mine if verbose or finding.outcome != "ok"]
        told = ", ".join(f"{counts[outcome]} {word}" for outcome, word in _COUNTED.items() if counts[outcome])
        lines.append(f"{host or _EVERY}: {told}")
        for finding in shown:
            lines.append(f"  {_MARKS[finding.outcome]} {finding.name}: {safe_text(finding.told)}")
            if finding.fix:
                lines.append(f"          fix: {safe_text(finding.fix)}")
    return "\n".join(lines) + "\n"


def render_doctor_json(findings: Iterable[Finding]) -> str:
    """All findings as one JSON object."""
    found = [asdict(finding) for finding in findings]
    return json.dumps({"formatVersion": "1.0", "findings": found}, indent=2) + "\n"


def doctor_schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    from pydantic import TypeAdapter

    from kvmdecl.doctor import Finding

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kvmdecl doctor",
        "type": "object",
        "properties": {
            "formatVersion": {"type": "string", "pattern": r"^1\.[0-9]+$", "description": "MAJOR.MINOR"},
            "findings": {"type": "array", "items": TypeAdapter(Finding).json_schema()},
        },
        "required": ["formatVersion", "findings"],
    }


def render_doctor_metrics(cluster: str, findings: Sequence[Finding]) -> str:
    """What a host's findings are, in numbers, in Prometheus's text format; no label is the name of a guest."""
    counts = Counter((finding.host, finding.outcome) for finding in findings)
    lines = [
        "# HELP kvmdecl_doctor_findings What a host answered to the questions of `kvmdecl doctor`, by outcome.",
        "# TYPE kvmdecl_doctor_findings gauge",
    ]
    for host in sorted({host for host, _ in counts}):
        for outcome in _MARKS:
            labels = f'cluster="{cluster}",host="{host}",outcome="{outcome}"'
            lines.append(f"kvmdecl_doctor_findings{{{labels}}} {counts[host, outcome]}")
    questions = Counter((f.host, f.name, f.outcome) for f in findings if f.outcome != "ok")
    lines += [
        "# HELP kvmdecl_doctor_wrong What is wrong with a host, by the name of the question.",
        "# TYPE kvmdecl_doctor_wrong gauge",
    ]
    for (host, name, outcome), count in sorted(questions.items()):
        labels = f'cluster="{cluster}",host="{host}",question="{name}",outcome="{outcome}"'
        lines.append(f"kvmdecl_doctor_wrong{{{labels}}} {count}")
    return "\n".join(lines) + "\n"
