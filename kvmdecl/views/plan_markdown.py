"""A plan as Markdown for a comment on a pull request: never longer than it may be, the same bytes for the same plan.

Whatever comes from a manifest or a host stands in code, where a name can be no mention, link or HTML.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Severity, in_order, worst_first
from kvmdecl.plan import Action, Fate, HostStatus, Impact, Plan, Step
from kvmdecl.policing import subject, verb
from kvmdecl.text import safe_text
from kvmdecl.views.folding import Fold, danger, folded
from kvmdecl.views.markdown import cell, code, fenced, short
from kvmdecl.views.plan_text import (
    amount_words,
    count,
    counts,
    gate_words,
    needed_words,
    prospect_lines,
    rollout_words,
    step_lines,
    whose,
)
from kvmdecl.views.survivors import takeover_table, verdict, what_if
from kvmdecl.views.topology_graph import render_mermaid
from kvmdecl.waves import waves_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmdecl.diagnostics import Diagnostic

MAX_BYTES = 60_000
"""What GitHub takes is 65,536 characters; the rest is left to who adds a line of his own."""
LEAST_BYTES = 8_000
"""What the summary may need, whatever the plan."""
_MOST_FINDINGS = 10
_MOST_NAMES = 3
_MOST_PICTURE = 20_000
_LEAST_PICTURE = 400
_MOST_GATES = 5
_MOST_LIMITS = 8
_MOST_RULINGS = 6


def render_markdown(plan: Plan, *, max_bytes: int = MAX_BYTES) -> str:
    """The comment: a summary that is always whole, then as many details as there is room for.

    Where there is too little, tables of lost hosts are folded first. Then details are left out from the end: first the
    picture, then hosts, each as a whole and the least dangerous first, then those tables, then the folded steps. What
    is left out is counted.

    Args:
        plan: to show.
        max_bytes: of the text in UTF-8; at least `LEAST_BYTES`.
    """
    head = "\n".join((*_summary(plan), ""))
    foot = f"\nPlan `{plan.digest}` of {code(plan.cluster)}, manifest {code(plan.revision[:12])}.\n"
    room = (
        max(max_bytes, LEAST_BYTES) - len(f"{head}{foot}".encode()) - 200
    )  # what is left out is told in less
    shown: list[str] = []
    told: set[int] = set()
    left: list[Sequence[Step]] = []
    for steps, text in _all_details(plan, room):
        size = len(text.encode())
        if size <= room:
            room -= size
            shown.append(text)
            told.update(map(id, steps))
        else:
            left.append(steps)
    picture = _picture(plan, min(room, _MOST_PICTURE)) if not left else ""
    return head + picture + "".join(shown) + _left_out(plan, told, left) + foot


def _picture(plan: Plan, room: int) -> str:
    """What befalls which vm, as a diagram that GitHub and GitLab draw; empty where there is none, or no room."""
    if not any(step.guest for step in plan.steps) or room < _LEAST_PICTURE:
        return ""
    text = render_mermaid(plan, room - _LEAST_PICTURE // 2)
    return f"<details><summary>before and after</summary>\n\n```mermaid\n{text}```\n\n</details>\n"


def _all_details(plan: Plan, room: int) -> list[tuple[Sequence[Step], str]]:
    """As they are wanted where there is so much room, in the order in which they get it."""
    hosts = list(_host_details(plan))
    tables = list(_loss_details(plan, whole=True))
    for details in ([*tables, *hosts], [*_loss_details(plan, whole=False), *hosts]):
        if sum(len(text.encode()) for _, text in details) <= room:
            return details
    return [*_fold_details(folded(plan.steps), room // 2), *_loss_details(plan, whole=False), *hosts]


def _left_out(plan: Plan, told: set[int], left: Sequence[Sequence[Step]]) -> str:
    if not left:
        return ""
    missing = sum(1 for step in plan.steps if id(step) not in told)
    hosts = sum(1 for steps in left if steps)
    what = [f"{count(missing, 'step')} of this plan" if missing else f"the details of {count(hosts, 'host')}"]
    tables = ["where vms go when hosts are lost"] if hosts < len(left) else []
    said = ", and ".join([*(what if hosts else []), *tables])
    return f"\n_Left out for length: {said}; `kvmdecl plan --expand` shows all._\n"


# -- the summary -----------------------------------------------------------------------------------------------


def _summary(plan: Plan) -> Iterator[str]:
    yield f"<!-- kvmdecl:plan:{escape(plan.cluster)} -->"
    hosts = {step.address.host for step in plan.steps}
    what = (
        f"{count(len(plan.steps), 'change')} on {count(len(hosts), 'host')}" if plan.steps else "no changes"
    )
    blocked = f" · **{len(plan.blocked)} blocked**" if plan.blocked else ""
    blocked += " · **beyond its limits**" if plan.exceeded else ""
    blocked += " · **denied by policy**" if plan.denied else ""
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
    if plan.selection:
        by, left = code(short(" ".join(plan.selection.by))), len(plan.selection.left_out)
        yield f"A part of the plan: {by}{needed_words(plan.selection)}; {left} left out."
        yield ""
    yield from _waves(plan)
    yield from _policies(plan)
    yield from _limits(plan)
    yield from _managers(plan)
    yield from _findings(in_order((*plan.exceeded, *plan.blocked, *plan.warnings, *plan.notes)))


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


def _managers(plan: Plan) -> Iterator[str]:
    """What becomes of guests that a cluster manager runs: by this plan, and when hosts are lost after it."""
    for manager in plan.managers:
        fates: dict[Fate, list[str]] = {}
        for each in manager.prospects:
            fates.setdefault(each.fate, []).append(each.vm)
        told = [
            f"**{len(names)} {fate}** {_names(names)}"
            if fate.impact >= Impact.RESTART
            else f"{len(names)} {fate}"
            for fate, names in sorted(fates.items(), key=lambda row: (-row[0].impact, row[0]))
        ]
        if told:
            yield f"What {code(manager.name)} does to its guests: {' · '.join(told)}"
            yield ""
    for proof in plan.proofs:
        sign = "" if proof.survives else "⚠️ "
        yield f"{sign}{what_if(proof)}: {code(verdict(proof))}"
        yield ""


def _waves(plan: Plan) -> Iterator[str]:
    if plan.rollout is None or not plan.steps:
        return
    steps, waves = Counter(waves_of(plan).values()), plan.rollout.waves
    told = [f"{code(wave.name)} ({count(steps[number], 'step')})" for number, wave in enumerate(waves[:8])]
    more = len(waves) - len(told)
    yield f"{rollout_words(plan.rollout)}: {' → '.join(told)}{f' and {more} more' if more else ''}"
    yield ""
    if gates := plan.rollout.gates:
        yield "After each wave, before the next:"
        yield ""
        yield from (f"- {code(short(gate_words(gate)))}" for gate in gates[:_MOST_GATES])
        if (more := len(gates) - _MOST_GATES) > 0:
            yield f"- and {count(more, 'further gate')}"
        yield ""


def _limits(plan: Plan) -> Iterator[str]:
    """The limits that the plan comes nearest to, or goes beyond, each where that is."""
    if not plan.limits:
        return
    limits = sorted(plan.limits, key=lambda limit: -limit.count / max(limit.most, 0.5))
    told = (
        f"{code(limit.key)}{f' {code(short(limit.where.strip()))}' * bool(limit.where)} {amount_words(limit)}"
        for limit in limits[:_MOST_LIMITS]
    )
    more = len(plan.limits) - _MOST_LIMITS
    yield f"Limits: {' · '.join(told)}{f' and {more} more' if more > 0 else ''}"
    yield ""


def _policies(plan: Plan) -> Iterator[str]:
    """What policies have against it, why, about which objects, and where they are written."""
    if not plan.rulings:
        return
    yield "| policy | | objects | why |"
    yield "|---|---|---|---|"
    for ruling in plan.rulings[:_MOST_RULINGS]:
        word = f"**{verb(ruling)}**" if ruling.denies else verb(ruling)
        more = f" and {len(ruling.objections) - 1} more" if len(ruling.objections) > 1 else ""
        names = code(short(subject(ruling.objections[0]))) + (
            f" ({ruling.beyond})" if ruling.beyond else more
        )
        reason = ruling.waiver.reason if ruling.waiver else ruling.reason
        where = f" {code(str(ruling.at))}" if ruling.at is not None else ""
        row = (code(ruling.policy) + where, word, names, code(short(reason)))
        yield f"| {' | '.join(map(cell, row))} |"
    if (left := len(plan.rulings) - _MOST_RULINGS) > 0:
        yield f"\nand {count(left, 'further ruling')}"
    yield ""


def _findings(found: tuple[Diagnostic, ...]) -> Iterator[str]:
    if not found:
        return
    weights = Counter(each.severity for each in found)
    yield "**" + ", ".join(count(weights[s], s.value) for s in Severity if weights[s]) + "**"
    yield ""
    for number, each in enumerate(worst_first(found)[:_MOST_FINDINGS], 1):
        where = f" {code(str(each.at))}" if each.at is not None else ""
        yield f"{number}. {code(each.code)}{where} {code(short(each.summary))}"
    if more := len(found) - _MOST_FINDINGS:
        yield "" if more <= 0 else f"\nand {count(more, 'further finding')}"
    yield ""


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(code(short(name)) for name in names[:_MOST_NAMES]) + more


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
            lines += [
                line
                for each in plan.managers
                if each.name == host
                for line in prospect_lines(each, color=False)
            ]
            yield its, _details(f"<code>{escape(safe_text(host))}</code> · {counts(its)}", lines)


def _loss_details(plan: Plan, *, whole: bool) -> Iterator[tuple[Sequence[Step], str]]:
    """Who goes where when hosts are lost; `whole`, or with a line for each loss where that would be many."""
    for proof in plan.proofs:
        lines = [safe_text(line) for line in takeover_table(proof, whole=whole)]
        yield (), _details(what_if(proof), lines)


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
