"""Drift as text, as JSON, and as metrics for the textfile collector of Prometheus's node exporter.

`formatVersion` is MAJOR.MINOR: a reader ignores keys that it does not know, and refuses another major version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kvmdecl.drift import Drift, DriftClass, DriftFinding
from kvmdecl.plan import HostStatus
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT_VERSION = "1.0"
_SUCCESS = "kvmdecl_last_success_timestamp_seconds"
_WORDS = {
    DriftClass.CHANGED: "not what was last applied",
    DriftClass.MISSING: "made before and gone",
    DriftClass.OUTSIDE: "changed in fields that nobody declares",
    DriftClass.UNAPPLIED: "not as declared; the manifest may be newer (no drift)",
}


def render_drift(drift: Drift) -> str:
    """As text: per host and class what is different, then the answer in a line."""
    return "\n".join([*_hosts(drift), _answer(drift)]) + "\n"


def _hosts(drift: Drift) -> Iterator[str]:
    for host in drift.hosts:
        if host.status is not HostStatus.OK:
            yield f"{host.name}  unreachable: {safe_text(host.reason)}"
        for kind in DriftClass:
            found = [f for f in drift.findings if (f.host, f.drift) == (host.name, kind)]
            if found:
                yield f"{host.name}  {kind}: {_WORDS[kind]}"
            yield from (f"    {_finding(finding)}" for finding in found)


def _finding(finding: DriftFinding) -> str:
    name = safe_text(finding.subject.partition("/")[2])
    if not finding.field:
        return f"{name}  {safe_text(finding.summary)}"
    values = ("nothing" if value is None else safe_text(value) for value in (finding.after, finding.before))
    return f"{name}  {safe_text(finding.field)}: {' declared, '.join(values)} found"


def _answer(drift: Drift) -> str:
    answered = sum(1 for host in drift.hosts if host.status is HostStatus.OK)
    objects = sum(drift.total(kind) for kind in DriftClass if kind is not DriftClass.UNAPPLIED)
    text = f"Drift in {objects} object{'' if objects == 1 else 's'}" if drift.found else "No drift"
    return f"{text} on {answered} of {len(drift.hosts)} hosts that answered."


def render_drift_json(drift: Drift) -> str:
    """As JSON: sorted keys, no times, so that the same drift is the same bytes."""
    head = {"formatVersion": FORMAT_VERSION, "found": drift.found, "complete": drift.complete}
    document = {**head, **_adapter().dump_python(drift, mode="json")}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def drift_schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    schema = _adapter().json_schema(mode="serialization")
    head = {
        "formatVersion": {"type": "string", "pattern": r"^1\.[0-9]+$", "description": "MAJOR.MINOR"},
        "found": {"type": "boolean", "description": "Whether there is drift."},
        "complete": {"type": "boolean", "description": "Whether every host answered."},
    }
    schema["properties"] = {**head, **schema["properties"]}
    schema["required"] = [*head, *schema["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "kvmdecl drift", **schema}


def _adapter() -> TypeAdapter[Drift]:
    from pydantic import TypeAdapter

    return TypeAdapter(Drift)


def render_metrics(drift: Drift, now: int, before: str) -> str:
    """As metrics in Prometheus's text format. Names and labels are stable; no guest's name is among the labels.

    Args:
        drift: what was found.
        now: seconds since the epoch.
        before: the metrics of the run before, empty if there was none: when all hosts last answered is taken from it
            if they did not this time.
    """
    return "\n".join([*_gauges(drift), *_times(drift, now, before)]) + "\n"


def _gauges(drift: Drift) -> Iterator[str]:
    cluster = f'cluster="{drift.cluster}"'
    yield "# HELP kvmdecl_drift_objects Objects on a host that are not as they were left, by class."
    yield "# TYPE kvmdecl_drift_objects gauge"
    for host in drift.hosts:
        for kind in DriftClass if host.status is HostStatus.OK else ():
            labels = f'{cluster},host="{host.name}",class="{kind}"'
            yield f"kvmdecl_drift_objects{{{labels}}} {drift.objects(host.name, kind)}"
    yield "# HELP kvmdecl_host_up Whether a host answered."
    yield "# TYPE kvmdecl_host_up gauge"
    for host in drift.hosts:
        yield f'kvmdecl_host_up{{{cluster},host="{host.name}"}} {int(host.status is HostStatus.OK)}'


def _times(drift: Drift, now: int, before: str) -> Iterator[str]:
    labels = f'{{cluster="{drift.cluster}"}}'
    yield "# HELP kvmdecl_last_run_timestamp_seconds When drift was last looked for."
    yield "# TYPE kvmdecl_last_run_timestamp_seconds gauge"
    yield f"kvmdecl_last_run_timestamp_seconds{labels} {now}"
    known = re.search(rf"^{_SUCCESS}{re.escape(labels)} ([0-9]{{1,15}})$", before, re.MULTILINE)
    if drift.complete or known:
        yield f"# HELP {_SUCCESS} When all hosts last answered."
        yield f"# TYPE {_SUCCESS} gauge"
        yield f"{_SUCCESS}{labels} {now if drift.complete or known is None else known[1]}"
