"""What `kvmdecl doctor` found, as text, as JSON and as metrics for Prometheus."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmdecl.answers import Answer, Outcome

_MARKS: dict[Outcome, str] = {
    "ok": "ok     ",
    "advice": "advice ",
    "failure": "FAILURE",
    "unknown": "unknown",
    "accepted": "accepted",
}
_COUNTED: dict[Outcome, str] = {
    "failure": "failing",
    "advice": "to consider",
    "ok": "well",
    "unknown": "not known",
    "accepted": "accepted",
}
_QUIET = frozenset({"ok", "accepted"})
_EVERY = "all hosts together"


def render_doctor(findings: Sequence[Answer], *, verbose: bool = False) -> str:
    """Host by host: what is wrong and what to do about it; the rest only if `verbose`, else as a number.

    What all hosts answer alike is told once.
    """
    by_host: dict[str, list[Answer]] = {}
    for finding in findings:
        by_host.setdefault(finding.host, []).append(finding)
    shown = {
        host: [each for each in mine if verbose or each.outcome not in _QUIET]
        for host, mine in by_host.items()
    }
    alike = _alike([mine for host, mine in shown.items() if host])
    lines = ["of each host:", *_lines(alike)] if alike else []
    known = {_told(each) for each in alike}
    for host, mine in by_host.items():
        counts = Counter(finding.outcome for finding in mine)
        told = ", ".join(f"{counts[outcome]} {word}" for outcome, word in _COUNTED.items() if counts[outcome])
        lines.append(f"{host or _EVERY}: {told}")
        lines += _lines(each for each in shown[host] if not host or _told(each) not in known)
    return "\n".join(lines) + "\n"


def _alike(each_host: Sequence[Sequence[Answer]]) -> list[Answer]:
    """The answers that several hosts all give, as the first of them gives them."""
    if len(each_host) < 2:
        return []
    common = set.intersection(*({_told(each) for each in mine} for mine in each_host))
    return [each for each in each_host[0] if _told(each) in common]


def _told(answer: Answer) -> tuple[str, Outcome, str, str]:
    return answer.name, answer.outcome, answer.told, answer.fix


def _lines(shown: Iterable[Answer]) -> Iterator[str]:
    for (outcome, told, fix), names in _folded(shown).items():
        yield f"  {_MARKS[outcome]} {', '.join(names)}: {safe_text(told)}"
        if fix:
            yield f"          fix: {safe_text(fix)}"


def _folded(answers: Iterable[Answer]) -> dict[tuple[Outcome, str, str], list[str]]:
    """The names of questions that have one answer: what could not be seen has one reason for many."""
    found: dict[tuple[Outcome, str, str], list[str]] = {}
    for each in answers:
        found.setdefault((each.outcome, each.told, each.fix), []).append(each.name)
    return found


def render_doctor_json(findings: Iterable[Answer]) -> str:
    """All findings as one JSON object."""
    found = [asdict(finding) for finding in findings]
    return json.dumps({"formatVersion": "1.2", "findings": found}, indent=2) + "\n"


def doctor_schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    from pydantic import TypeAdapter

    from kvmdecl.answers import Answer

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kvmdecl doctor",
        "type": "object",
        "properties": {
            "formatVersion": {"type": "string", "pattern": r"^1\.[0-9]+$", "description": "MAJOR.MINOR"},
            "findings": {"type": "array", "items": TypeAdapter(Answer).json_schema()},
        },
        "required": ["formatVersion", "findings"],
    }


def render_doctor_metrics(cluster: str, findings: Sequence[Answer]) -> str:
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
    questions = Counter((f.host, f.name, f.outcome) for f in findings if f.outcome in {"advice", "failure"})
    lines += [
        "# HELP kvmdecl_doctor_wrong What is wrong with a host, by the name of the question.",
        "# TYPE kvmdecl_doctor_wrong gauge",
    ]
    for (host, name, outcome), count in sorted(questions.items()):
        labels = f'cluster="{cluster}",host="{host}",question="{name}",outcome="{outcome}"'
        lines.append(f"kvmdecl_doctor_wrong{{{labels}}} {count}")
    return "\n".join(lines) + "\n"
