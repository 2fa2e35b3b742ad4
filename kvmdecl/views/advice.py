"""What `kvmdecl advise` proposes, as text with a patch and as JSON.

`formatVersion` is MAJOR.MINOR: a reader ignores keys that it does not know, and refuses another major version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from kvmdecl.text import safe_text
from kvmdecl.views.document import as_json, schema_of
from kvmdecl.views.edit_text import patch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.proposals import Advice, Left, Proposal

FORMAT_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class _Change:
    """A key of the entry, and what it is set to as YAML on one line; None takes it out."""

    key: str
    value: str | None


@dataclass(frozen=True, slots=True)
class _Proposal:
    """A rule that asks for changes: what it found, why that matters, and where it is known from."""

    rule: str
    found: str
    why: str
    source: str
    changes: list[_Change]


@dataclass(frozen=True, slots=True)
class _Left:
    """What a rule found and nothing in the patch mends; `hint` says why, or what to do."""

    rule: str
    found: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Document:
    """What is proposed for the vms of an entry; `unknown` are rules that no host was read for."""

    entry: str
    vms: list[str]
    workload: str
    proposals: list[_Proposal]
    left: list[_Left]
    unknown: list[str]
    patch: str


_DOCUMENT = TypeAdapter(_Document)


def render_patch(advice: Advice) -> str:
    """The changes as a unified diff of the manifest's file; empty if there are none."""
    if advice.before == advice.after:
        return ""
    name = str(advice.file)
    before, after = advice.before.splitlines(keepends=True), advice.after.splitlines(keepends=True)
    return "".join(_ended(line) for line in patch(before, after, name, lineterm="\n"))


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def render_advice(advice: Advice) -> str:
    """Reasons, then the patch; programs that apply a patch skip what stands before it."""
    return "".join(f"{line}\n" for line in _lines(advice)) + render_patch(advice)


def _lines(advice: Advice) -> Iterator[str]:
    several = f" ({safe_text(', '.join(advice.vms))})" if len(advice.vms) > 1 else ""
    yield f"{safe_text(advice.entry)}{several} for {advice.workload}: {_counted(advice)}"
    by_rule: dict[str, list[Proposal]] = {}
    for proposal in advice.made:
        by_rule.setdefault(proposal.rule.code, []).append(proposal)
    for proposals in by_rule.values():
        yield from _proposed(proposals)
    if advice.left:
        yield "left to you:"
        for left in advice.left:
            yield from _left(left)
    if advice.unknown:
        yield "not known without hosts (`--facts DIR`, or `--ask-hosts`): whether they have room for it, and"
        for rule in advice.unknown:
            yield f"  {rule.code}: {rule.title}"


def _counted(advice: Advice) -> str:
    count = len(advice.made)
    return f"{count} proposal{'s' * (count != 1)}" if count else "nothing to propose"


def _proposed(proposals: list[Proposal]) -> Iterator[str]:
    """What one rule asks for, and why, once."""
    rule = proposals[0].rule
    yield f"  {rule.code}: {rule.title}"
    for change in dict.fromkeys(change for proposal in proposals for change in proposal.changes):
        yield safe_text(f"    {change.key}: {change.value if change.value is not None else 'left out'}")
    yield f"    {rule.why}"
    yield f"    Known from: {rule.source}."


def _left(left: Left) -> Iterator[str]:
    yield f"  {left.rule.code}: {safe_text(left.told)}"
    yield f"      {safe_text(left.why)}"


def render_advice_json(advice: Advice) -> str:
    """The same as one JSON object."""
    document = _Document(
        entry=advice.entry,
        vms=list(advice.vms),
        workload=advice.workload,
        proposals=[
            _Proposal(
                each.rule.code,
                each.told,
                each.rule.why,
                each.rule.source,
                [_Change(change.key, change.value) for change in each.changes],
            )
            for each in advice.made
        ],
        left=[_Left(each.rule.code, each.told, each.why) for each in advice.left],
        unknown=[rule.code for rule in advice.unknown],
        patch=render_patch(advice),
    )
    return as_json(FORMAT_VERSION, _DOCUMENT.dump_python(document))


def advice_schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    return schema_of(_DOCUMENT, "kvmdecl advise")
