"""What a cluster manager would do when hosts are lost, as a table and as JSON.

`formatVersion` of the JSON is MAJOR.MINOR: a reader ignores keys that it does not know, and refuses another major
version.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from kvmdecl.takeover import Takeover
from kvmdecl.text import listed
from kvmdecl.views.document import as_json, schema_of
from kvmdecl.views.pen import columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.takeover import Proof

FORMAT_VERSION = "1.0"
_MOST_ROWS = 300
_FEW_ROWS = 24
"""So many are shown in a plan, where more are counted for each loss."""
_MOST_LOSSES = 16
_MOST_NAMES = 3


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
    yield from columns([_HEAD, *rows[:_MOST_ROWS]])
    if len(rows) > _MOST_ROWS:
        yield f"and {len(rows) - _MOST_ROWS} more (--format json has all)"
    yield ""
    hosts = _of(proof)
    tried = "" if proof.complete else f", as far as was tried: {len(proof.takeovers)} of {proof.combinations}"
    if proof.survives:
        yield f"{proof.manager} has every vm running again after the loss of {hosts}{tried}."
    else:
        yield f"Not every vm runs again after the loss of {hosts}."


def takeover_table(proof: Proof, *, whole: bool) -> Iterator[str]:
    """Lines of a table of who goes where; `whole`, or with a line for each loss where that would be many."""
    rows = [row for takeover in proof.takeovers for row in _rows(proof, takeover)]
    if whole or len(rows) <= _FEW_ROWS:
        yield from columns([_HEAD, *rows])
        return
    worst_first = sorted(proof.takeovers, key=lambda each: (each.lost not in proof.disputed, -len(each.down)))
    shown = worst_first[:_MOST_LOSSES]
    yield from columns([("without", "vms", "go to", "stay down"), *map(_sum, shown)])
    if more := len(worst_first) - len(shown):
        yield f"and {more} further losses"


def what_if(proof: Proof) -> str:
    """`If any host is lost`."""
    return f"If {_of(proof)} {'is' if proof.lose == 1 else 'are'} lost"


def verdict(proof: Proof) -> str:
    """What comes of it in a sentence: by the cluster manager, and by the rules of placement."""
    tried = "" if proof.complete else f" ({len(proof.takeovers)} of {proof.combinations} losses were tried)"
    down = {name for takeover in proof.takeovers for name in takeover.down}
    left = f"{listed(sorted(down)) if len(down) <= _MOST_NAMES else f'{len(down)} vms'} may stay down"
    if proof.survives:
        said = f"all but those of best effort run again: {left}" if down else "every vm runs again"
    else:
        said = f"not every vm runs again as it has to{f': {left}' if down else ''}"
    if proof.disputed:
        losses = listed(["+".join(lost) or "no host" for lost in proof.disputed])
        return f"{said}, says {proof.manager}; the rules of placement say otherwise without {losses}{tried}"
    return f"{said}, says {proof.manager}, and the rules of placement agree{tried}"


def _of(proof: Proof) -> str:
    return f"any {proof.lose} hosts" if proof.lose > 1 else "any host"


_HEAD = ("without", "vm", "from", "to")


def _sum(takeover: Takeover) -> tuple[str, str, str, str]:
    there = Counter([*takeover.homes.values(), *takeover.moved.values()])
    goes = [f"{host} {count}" for host, count in sorted(there.items(), key=lambda each: (-each[1], each[0]))]
    more = f", {len(goes) - 4} more hosts" if len(goes) > 4 else ""
    down = listed(list(takeover.down[:_MOST_NAMES])) if takeover.down else "-"
    down += f" and {len(takeover.down) - _MOST_NAMES} more" if len(takeover.down) > _MOST_NAMES else ""
    count = len(takeover.homes) + len(takeover.moved) + len(takeover.down)
    return "+".join(takeover.lost), str(count), (", ".join(goes[:4]) or "-") + more, down


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
