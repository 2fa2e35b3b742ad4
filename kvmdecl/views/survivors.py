"""What a cluster manager would do when hosts are lost, as a table and as JSON.

`formatVersion` of the JSON is MAJOR.MINOR: a reader ignores keys that it does not know, and refuses another major
version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from kvmdecl.takeover import Takeover
from kvmdecl.views.document import as_json, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.takeover import Proof

FORMAT_VERSION = "1.0"
_MOST_ROWS = 300


@dataclass(frozen=True, slots=True)
class _Finding:
    """Something that is wrong: `severity` is `error` or `warning`, `subject` `vm/NAME`, `host/NAME` or empty."""

    code: str
    severity: str
    subject: str
    summary: str


@dataclass(frozen=True, slots=True)
class _Document:
    """What comes of the loss of any `lose` hosts.

    `survives`: whether every vm that has to run is running again, where it may; `complete`: whether all
    `combinations` of hosts were tried. `start` is the host of each vm before anything is lost.
    """

    manager: str
    lose: int
    combinations: int
    complete: bool
    survives: bool
    start: dict[str, str]
    takeovers: list[Takeover]
    findings: list[_Finding]


_DOCUMENT = TypeAdapter(_Document)


def render_proof(proof: Proof) -> str:
    """As text: a table of who goes where, and what comes of it in a sentence."""
    return "\n".join(_lines(proof)) + "\n"


def _lines(proof: Proof) -> Iterator[str]:
    rows = [row for takeover in proof.takeovers for row in _rows(proof, takeover)]
    table = [("without", "vm", "from", "to"), *rows[:_MOST_ROWS]]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)).rstrip()
    if len(rows) > _MOST_ROWS:
        yield f"and {len(rows) - _MOST_ROWS} more (--format json has all)"
    yield ""
    hosts = f"any {proof.lose} hosts" if proof.lose > 1 else "any host"
    tried = "" if proof.complete else f", as far as was tried: {len(proof.takeovers)} of {proof.combinations}"
    if proof.survives:
        yield f"{proof.manager} has every vm running again after the loss of {hosts}{tried}."
    else:
        yield f"Not every vm runs again after the loss of {hosts}."


def _rows(proof: Proof, takeover: Takeover) -> Iterator[tuple[str, str, str, str]]:
    lost = "+".join(takeover.lost)
    ends = {**takeover.homes, **takeover.moved, **dict.fromkeys(takeover.down, "nowhere")}
    if not ends:
        yield lost, "-", "-", "-"
    for name, host in sorted(ends.items(), key=lambda end: (end[0] in takeover.moved, end[0])):
        yield lost, name, proof.start.get(name, "-"), host


def render_proof_json(proof: Proof) -> str:
    """As JSON: sorted keys, no times, so that the same answer is the same bytes."""
    document = _Document(
        proof.manager,
        proof.lose,
        proof.combinations,
        proof.complete,
        proof.survives,
        dict(proof.start),
        list(proof.takeovers),
        [_Finding(each.code, each.severity, each.subject, each.summary) for each in proof.findings],
    )
    return as_json(FORMAT_VERSION, _DOCUMENT.dump_python(document, mode="json"))


def proof_schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    return schema_of(_DOCUMENT, "kvmdecl ha simulate")
