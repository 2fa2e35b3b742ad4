"""A plan as Markdown for a comment on a pull request: never longer than it may be, the same bytes for the same plan.

Whatever comes from a manifest or a host stands in code, where a name can be no mention, link or HTML.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Severity, in_order
from kvmdecl.plan import Action, HostStatus, Impact, Plan, Step
from kvmdecl.text import safe_text
from kvmdecl.views.folding import Fold, danger, folded
from kvmdecl.views.markdown import cell, code, fenced, short
from kvmdecl.views.plan_text import count, counts, step_lines, whose

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmdecl.diagnostics import Diagnostic

MAX_BYTES = 60_000
"""What GitHub takes is 65,536 characters; the rest is left to who adds a line of his own."""
LEAST_BYTES = 8_000
"""What the summary may need, whatever the plan."""
_MOST_FINDINGS = 10
_MOST_NAMES = 3


def render_markdown(
    plan: Plan, warnings: Sequence[Diagnostic] = (), *, digest: str, max_bytes: int = MAX_BYTES
) -> str:
    """The comment: a summary that is always whole, then as many details as there is room for.

    Details are left out from the end: first the hosts, each as a whole and the least dangerous first, then the folded
    steps. What is left out is counted.

    Args:
        plan: to show.
        warnings: found on the way to it.
        digest: SHA-256 (hex) of the plan's file.
        max_bytes: of the text in UTF-8; at least `LEAST_BYTES`.
    """
    head = "\n".join(_summary(plan, warnings))
    foot = f"\nPlan `sha256:{digest}` of {code(plan.cluster)}, manifest `{escape(plan.revision[:12])}`.\n"
    room = (
        max(max_bytes, LEAST_BYTES) - len(f"{head}{foot}".encode()) - 200
    )  # what is left out is told in less
    details = list(_host_details(plan))
    if sum(len(each.encode()) for _, each in details) > room:
        details = [*_fold_details(folded(plan.steps), room // 2), *details]
    shown: list[str] = []
    told, left = set[int](), 0
    for steps, text in details:
        size = len(text.encode())
        if size <= room:
            room -= size
            shown.append(text)
            told.update(map(id, steps))
        else:
            left += 1
    return head + "".join(shown) + _left_out(plan, told, left) + foot


def _left_out(plan: Plan, told: set[int], left: int) -> str:
    if not left:
        return ""
    missing = sum(1 for step in plan.steps if id(step) not in told)
    what = f"{count(missing, 'step')} of this plan" if missing else f"the details of {count(left, 'host')}"
    return f"\n_Left out for length: {what}; `kvmdecl plan --expand` shows all._\n"


# -- the summary -----------------------------------------------------------------------------------------------


def _summary(plan: Plan, warnings: Sequence[Diagnostic]) -> Iterator[str]:
    yield f"<!-- kvmdecl:plan:{escape(plan.cluster)} -->"
    hosts = {step.address.host for step in plan.steps}
    what = (
        f"{count(len(plan.steps), 'change')} on {count(len(hosts), 'host')}" if plan.steps else "no changes"
    )
    blocked = f" · **{len(plan.blocked)} blocked**" if plan.blocked else ""
    blocked += " · **beyond its limits**" if plan.exceeded else ""
    silent = f" · **{count(len(plan.silent), 'host')} unknown**" if plan.silent else ""
    yield f"### kvmdecl plan · {code(plan.cluster)} · {what}{blocked}{silent}"
    yield ""
    if plan.steps:
        yield from _impacts(plan)
        yield ""
    if plan.let_go:
        yield f"Let go: {_names([member.name for member in plan.let_go])}"
        yield ""
    if plan.silent:
        yield f"Not read, and left alone: {_names(list(plan.silent))}"
        yield ""
    yield from _waves(plan)
    yield from _findings(in_order((*plan.exceeded, *plan.blocked, *warnings, *plan.notes)))


def _impacts(plan: Plan) -> Iterator[str]:
    yield "| | steps | |"
    yield "|---|---:|---|"
    rows: dict[tuple[int, str], list[Step]] = {}
    for step in plan.steps:
        is_guest = step.impact > Impact.METADATA and step.action is not Action.CREATE
        deletes = step.action is Action.DELETE
        word = "deleted" if deletes else step.impact.word if is_guest else step.action.value
        weight = int(max(step.impact, Impact.DOWNTIME) if deletes else step.impact if is_guest else 0)
        rows.setdefault((-weight, word), []).append(step)
    for (weight, word), steps in sorted(rows.items(), key=lambda row: row[0]):
        shown = f"**{word}**" if -weight >= Impact.RESTART else word
        names = _names([f"{step.address.kind}/{step.address.name}" for step in steps])
        yield f"| {shown} | {len(steps)} | {cell(names)} |"


def _waves(plan: Plan) -> Iterator[str]:
    if plan.rollout is None or not plan.steps:
        return
    first = [wave.name for wave in plan.rollout.waves[:8]]
    more = len(plan.rollout.waves) - len(first)
    yield f"In waves: {' → '.join(map(code, first))}{f' and {more} more' if more else ''}"
    yield ""


def _findings(found: tuple[Diagnostic, ...]) -> Iterator[str]:
    if not found:
        return
    weights = Counter(each.severity for each in found)
    yield "**" + ", ".join(count(weights[s], s.value) for s in Severity if weights[s]) + "**"
    yield ""
    order = list(Severity)
    worst_first = sorted(found, key=lambda each: order.index(each.severity))
    for number, each in enumerate(worst_first[:_MOST_FINDINGS], 1):
        where = f" {code(str(each.at))}" if each.at is not None else ""
        yield f"{number}. {code(each.code)}{where} {code(short(each.summary))}"
    if more := len(found) - _MOST_FINDINGS:
        yield "" if more <= 0 else f"\nand {count(more, 'further finding')}"
    yield ""


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(code(name) for name in names[:_MOST_NAMES]) + more


# -- the details -----------------------------------------------------------------------------------------------


def _host_details(plan: Plan) -> Iterator[tuple[Sequence[Step], str]]:
    """Each host's steps, the hosts with the most dangerous step first."""
    steps: dict[str, list[Step]] = {host.name: [] for host in plan.hosts if host.status is HostStatus.OK}
    for step in plan.steps:
        steps.setdefault(step.address.host, []).append(step)
    for host, its in sorted(steps.items(), key=lambda item: min(map(danger, item[1]), default=0)):
        if its:
            width = min(max(len(safe_text(step.address.name)) for step in its), 48)
            lines = [
                line
                for step in sorted(its, key=danger)
                for line in step_lines(step, safe_text(step.address.name), width, color=False)
            ]
            yield its, _details(f"<code>{escape(safe_text(host))}</code> · {counts(its)}", lines)


def _fold_details(folds: Sequence[Fold], room: int) -> Iterator[tuple[Sequence[Step], str]]:
    """What all steps come to when those that are the same are one, as far as there is room."""
    width = min(max((len(whose(fold)) for fold in folds), default=0), 64)
    lines: list[str] = []
    told: list[Step] = []
    for fold in folds:
        more = list(step_lines(fold.first, whose(fold), width, color=False))
        room -= len("\n".join(more).encode()) + 1
        if room < 0:
            break
        lines += more
        told += fold.steps
    if lines:
        yield told, _details("all hosts, what is the same shown once", lines)


def _details(title: str, lines: Iterable[str]) -> str:
    text = "\n".join(line.removeprefix("  ") for line in lines)
    return f"<details><summary>{title}</summary>\n\n{fenced(text)}\n\n</details>\n"
