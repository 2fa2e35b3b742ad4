"""A plan as a page in one file, for review: what it comes to, what is dangerous, then every step. It runs nothing.

All of a plan is in it: what is folded opens, also for the browser's search and in print. What tasks carry is not, such
as the seeds of guests. The same plan is the same bytes.
"""

from __future__ import annotations

import textwrap
from itertools import count as counter
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import worst_first
from kvmdecl.plan import Action, ChangeOrigin, HostStatus, Impact, Plan, Step
from kvmdecl.text import safe_text
from kvmdecl.views.folding import Fold, danger, folded
from kvmdecl.views.page import E, page
from kvmdecl.views.plan_findings import remarks
from kvmdecl.views.plan_text import (
    amount_words,
    closing_words,
    count,
    counts,
    denied_words,
    foreign_lines,
    gate_words,
    needed_words,
    prospect_lines,
    rollout_words,
    whose,
)
from kvmdecl.views.survivors import takeover_table, verdict, what_if
from kvmdecl.views.topology_svg import picture, picture_style
from kvmdecl.waves import waves_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kvmdecl.diagnostics import Diagnostic, Span
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.plan import Change, PlannedLimit

_MOST_OPEN = 40
"""Entries below hosts that are shown open; of more, hosts are closed."""
_MOST_ROWS = 100
"""Rows of the table of what is dangerous: all of it is below, host by host."""
_MOST_NAMES = 8


def render_html(plan: Plan) -> str:
    """The page."""
    sections = {
        "dangerous": ("Interruptions and deletions", [*_dangerous(plan), *_consents(plan)]),
        "findings": ("Findings", list(finding_entries(remarks(plan)))),
        "limits": ("Limits", list(_limits(plan.limits))),
        "rollout": ("Rollout", list(_rollout(plan))),
        "unknown": ("Not read", list(_unread(plan))),
        "ha": ("Who runs what, and what if", list(_managed(plan))),
        "picture": ("Before and after", list(_picture(plan))),
        "changes": ("Changes", list(_Changes(plan).drawn())),
        "foreign": ("Not declared", list(_foreign(plan))),
    }
    told = {key: section for key, section in sections.items() if section[1]}
    return page(
        f"kvmdecl plan: {safe_text(plan.cluster)}",
        STYLE + picture_style(),
        E.header(E.h1("Plan for ", _code(plan.cluster)), *_verdict(plan), _impacts(plan)),
        E.nav(*(E.a(title, {"href": f"#{key}"}) for key, (title, _) in told.items())),
        E.main(*(E.section({"id": key}, E.h2(title), *parts) for key, (title, parts) in told.items())),
        E.footer("Plan ", _code(plan.digest), ", manifest ", _code(plan.revision[:12]), "."),
    )


# -- what it comes to ------------------------------------------------------------------------------------------


def _verdict(plan: Plan) -> Iterator[Element]:
    yield E.p({"class": "verdict"}, closing_words(plan))
    if plan.exceeded:
        beyond = count(len(plan.exceeded), "limit")
        yield _alarm(f"Beyond {beyond} of the manifest: nothing of it can be carried out.", "limits")
    if plan.denied:
        yield _alarm(denied_words(plan), "findings")
    if plan.blocked:
        yield _alarm(f"{count(len(plan.blocked), 'object')} blocked.", "findings")
    if plan.silent:
        are = "is" if len(plan.silent) == 1 else "are"
        yield _alarm(f"{count(len(plan.silent), 'host')} did not answer and {are} left alone.", "unknown")
    for proof in plan.proofs:
        if not proof.survives:
            yield _alarm(safe_text(f"{what_if(proof)}: {verdict(proof)}"), "ha")
    if plan.selection:
        left = len(plan.selection.left_out)
        by = _code(" ".join(plan.selection.by))
        yield E.p("A part of the plan: ", by, f"{needed_words(plan.selection)}; {left} left out.")
    if plan.let_go:
        yield E.p("Let go: ", *_listed([member.name for member in plan.let_go]), ".")


def _alarm(text: str, section: str) -> Element:
    return E.p({"class": "alarm"}, E.a(text, {"href": f"#{section}"}))


def _impacts(plan: Plan) -> Element:
    """How many steps do what to guests, the worst first."""
    rows: dict[tuple[int, str], list[Step]] = {}
    for step in plan.steps:
        rows.setdefault(_weight(step), []).append(step)
    chips = (
        E.li(
            E.b(str(len(steps))), " ", _badge(word),
            {"title": safe_text(", ".join(step.address.name for step in steps[:_MOST_NAMES]))},
        )
        for (_, word), steps in sorted(rows.items(), key=lambda row: row[0])
    )  # fmt: skip
    return E.ul({"class": "chips"}, *chips)


def _weight(step: Step) -> tuple[int, str]:
    """What is told first of all, and in which word: what it does to a guest, or what happens to the object."""
    if step.action is Action.DELETE:
        return -max(step.impact, Impact.DOWNTIME), "deleted"
    if step.impact > Impact.METADATA and step.action is not Action.CREATE:
        return -step.impact, step.impact.word
    return 0, step.action.value


def _dangerous(plan: Plan) -> Iterator[Element]:
    """What loses data, interrupts guests or is deleted: a line for all that do the same."""
    folds = folded(step for step in plan.steps if danger(step) or step.deletions)
    if not folds:
        return
    rows = (
        E.tr(
            E.td(_badge(_weight(fold.first)[1])),
            E.td(f"{fold.first.address.kind} ", _code(fold.first.address.name), _others(fold)),
            E.td(*_reasons(fold.first)),
            E.td(*_place(fold.first.at)),
        )
        for fold in folds[:_MOST_ROWS]
    )
    yield _table(("", "what", "why", "manifest"), rows)
    if more := sum(len(fold.steps) for fold in folds[_MOST_ROWS:]):
        yield E.p(f"and {count(more, 'further step')}, below.")


def _others(fold: Fold) -> str:
    return whose(fold).removeprefix(safe_text(fold.first.address.name))


def _reasons(step: Step) -> Iterator[Element]:
    """What makes it that dangerous, in the words of the changes."""
    worst = [change for change in step.changes if change.impact is step.impact]
    for change in worst[:3]:
        yield E.div(_code(change.key), " ", *_values(change), f" {safe_text(change.why)}" * bool(change.why))
    if not worst and step.summary:
        yield E.div(safe_text(step.summary))


def _consents(plan: Plan) -> Iterator[Element]:
    """What `apply` asks for by name."""
    deletions = [name for step in plan.steps for name in step.deletions]
    if not deletions:
        return
    told = [E.li(_code(f"--allow-delete {name}@{plan.digest}")) for name in deletions]
    title = f"{count(len(deletions), 'deletion')} that apply needs your consent to, by name"
    yield _fold(title, E.ul(*told), is_open=len(told) <= _MOST_NAMES)


# -- what was found, and what bounds it ------------------------------------------------------------------------


def finding_entries(
    found: Iterable[Diagnostic], lines: Callable[[Diagnostic], str] = lambda _: ""
) -> Iterator[Element]:
    """Findings, the worst first. Where `lines` shows lines of files, they stand below, and all is open."""
    for each in worst_first(found):
        shown = lines(each)
        parts = [E.pre(shown)] if shown else []
        parts += [
            E.p(safe_text(text)) for text in (each.cause, f"Hint: {each.hint}" * bool(each.hint)) if text
        ]
        parts += [E.p(safe_text(note.text), " ", *_place(note.at)) for note in each.notes]
        head = [
            _badge(each.severity),
            " ",
            _code(each.code),
            f" {safe_text(each.summary)} ",
            *_place(each.at),
        ]
        kind = {"class": "entry", **_opened(bool(shown))}
        yield E.details(kind, E.summary(*head), *parts) if parts else E.p(*head)


def _limits(limits: Sequence[PlannedLimit]) -> Iterator[Element]:
    """Each limit where the plan comes nearest to it."""
    if limits:
        rows = (
            E.tr(
                {"class": "beyond" if limit.exceeded else "within"},
                E.td(_code(limit.key), safe_text(limit.where)),
                E.td(amount_words(limit)),
                E.td(*_place(limit.at), "" if limit.at else "by default"),
            )
            for limit in limits
        )
        yield _table(("limit", "this plan", "manifest"), rows)


def _rollout(plan: Plan) -> Iterator[Element]:
    if plan.rollout is None or not plan.steps:
        return
    steps = list(waves_of(plan).values())
    rows = (
        E.tr(
            E.td(f"{number + 1} ", _code(wave.name)),
            E.td(str(steps.count(number))),
            E.td(*_listed(wave.hosts)),
            E.td(count(len(wave.guests), "guest") if plan.rollout and plan.rollout.gates else ""),
        )
        for number, wave in enumerate(plan.rollout.waves)
    )
    yield E.p(f"{rollout_words(plan.rollout)}.")
    yield _table(("wave", "steps", "hosts", "asked at its gates"), rows)
    if plan.rollout.gates:
        yield E.p("After each wave, before the next:")
        yield E.ul(*(E.li(_code(gate_words(gate))) for gate in plan.rollout.gates))


def _unread(plan: Plan) -> Iterator[Element]:
    """Hosts and cluster managers that did not answer, with what is left alone there."""
    for host in plan.hosts:
        if host.status is HostStatus.UNREACHABLE:
            reason = safe_text(host.reason.removeprefix(f"{host.name}: "))
            frozen = [E.li(_code(name)) for name in host.frozen]
            left = _fold(f"{count(len(frozen), 'object')} on it unknown and left alone", E.ul(*frozen))
            yield E.div({"class": "entry"}, E.p(_code(host.name), f" {reason}"), *([left] if frozen else []))
    for manager in plan.managers:
        if manager.status is HostStatus.UNREACHABLE:
            yield E.p(_code(manager.name), f" {safe_text(manager.reason)}; left alone")


def _foreign(plan: Plan) -> Iterator[Element]:
    for host in plan.hosts:
        if lines := list(foreign_lines(host, plan, color=False)):
            yield _fold(
                safe_text(host.name), E.pre("\n".join(line.removeprefix("    ") for line in lines[1:]))
            )


def _managed(plan: Plan) -> Iterator[Element]:
    """What becomes of the vms of cluster managers now, and when hosts are lost."""
    for manager in plan.managers:
        if lines := list(prospect_lines(manager, color=False, expand=True)):
            yield E.p(_code(manager.name), ":")
            yield _lines(lines)
    for proof in plan.proofs:
        yield E.p(
            {"class": "told" if proof.survives else "alarm"}, f"{what_if(proof)}: ", safe_text(verdict(proof))
        )
        yield _fold("who goes where", _lines(takeover_table(proof, whole=True)))


def _lines(lines: Iterable[str]) -> Element:
    return E.pre(textwrap.dedent("\n".join(map(safe_text, lines))))


def _picture(plan: Plan) -> Iterator[Element]:
    if plan.steps:
        yield E.figure(picture(plan))


# -- every step ------------------------------------------------------------------------------------------------


class _Changes:
    """All steps: by wave, then by host, what is the same for several objects of a host shown once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._number = counter(1)
        waves = waves_of(plan)
        self._groups: dict[int, dict[str, list[Step]]] = {}
        for step in plan.steps:
            wave = self._groups.setdefault(waves.get(step.address, 0), {})
            wave.setdefault(step.address.host, []).append(step)
        folds = sum(len(folded(its)) for wave in self._groups.values() for its in wave.values())
        self._is_open = folds <= _MOST_OPEN

    def drawn(self) -> Iterator[Element]:
        """The waves, each with the most dangerous host first."""
        for number, hosts in sorted(self._groups.items()):
            if self._plan.rollout is not None:
                name = self._plan.rollout.waves[number].name
                yield E.h3(f"Wave {number + 1}: ", _code(name))
            for host, steps in sorted(hosts.items(), key=lambda item: min(map(danger, item[1]))):
                entries = (self._entry(fold) for fold in folded(steps))
                title = E.summary(_code(host), f" {counts(steps)}")
                yield E.details({"class": "host"}, _opened(self._is_open), title, *entries)

    def _entry(self, fold: Fold) -> Element:
        step = fold.first
        more = len(fold.steps) - 1
        head = E.summary(
            E.span({"class": f"mark {step.action.value}", "title": step.action.value}, step.action.mark),
            f" {step.address.kind} ",
            _code(step.address.name),
            f" and {more} more" * bool(more),
            *([" ", _badge(step.impact.word)] if step.impact > Impact.NONE else []),
            f" {safe_text(step.summary)} ",
            *_place(step.at),
        )
        parts = [*_fields(step), *_waits(step)]
        if more:
            parts.append(E.p({"class": "same"}, "The same for:"))
            parts.append(E.ul(*(_member(step, other) for other in fold.steps[1:])))
        kind = {"class": "entry", "id": f"s{next(self._number)}"}
        if not parts:
            return E.div(kind, *_unfolded(head))
        return E.details(kind, _opened(self._is_open and bool(danger(step))), head, *parts)


def _fields(step: Step) -> Iterator[Element]:
    """Each field that changes."""
    if step.changes:
        rows = (
            E.tr(
                E.td(_code(change.key)),
                E.td(*_values(change)),
                E.td(_badge(change.impact.word), *_drift(change)),
                E.td(safe_text(change.why), *_how(change)),
                E.td(*_place(change.at)),
            )
            for change in sorted(step.changes, key=lambda change: -change.impact)
        )
        yield _table(("field", "change", "impact", "how", "manifest"), rows)


def _how(change: Change) -> Iterator[Element]:
    if change.how:
        yield E.div(_code(change.how), {"title": safe_text(change.field)})


def _drift(change: Change) -> Iterator[Element]:
    if change.origin is ChangeOrigin.DRIFT:
        yield E.span({"class": "badge drift", "title": "the host changed, not the manifest"}, "drift")


def _waits(step: Step) -> Iterator[Element]:
    if step.after:
        yield E.p({"class": "after"}, "After ", *_listed([str(address) for address in step.after]), ".")


def _member(first: Step, step: Step) -> Element:
    """Another object that the same is done to: where that is written, and its values where they are others."""
    told: list[Element | str] = [_code(step.address.name)]
    places = dict.fromkeys(str(change.at) for change in step.changes if change.at) or {
        str(step.at or ""): None
    }
    told += [
        part for place in places if place for part in (" ", E.span({"class": "place"}, safe_text(place)))
    ]
    for mine, its in zip(first.changes, step.changes, strict=True):
        if (mine.before, mine.after) != (its.before, its.after):
            told.append(E.div(_code(its.key), " ", *_values(its)))
    if step.summary != first.summary:
        told.append(E.div(safe_text(step.summary)))
    return E.li(*told)


# -- parts -----------------------------------------------------------------------------------------------------


def _values(change: Change) -> Iterator[Element | str]:
    before, after = (None if value is None else safe_text(value) for value in (change.before, change.after))
    if before is not None:
        yield E("del", before)
    if before is not None and after is not None:
        yield " → "
    if after is not None:
        yield E.ins(after)


def _table(heads: Iterable[str], rows: Iterable[Element]) -> Element:
    head = E.tr(*(E.th({"scope": "col"}, text) for text in heads))
    return E.table(E.thead(head), E.tbody(*rows))


def _fold(title: str, *content: Element, is_open: bool = False) -> Element:
    return E.details(_opened(is_open), E.summary(title), *content)


def _opened(is_open: bool) -> Mapping[str, str]:
    return {"open": ""} if is_open else {}


def _unfolded(summary: Element) -> Iterator[Element | str]:
    """What a summary holds, where there is nothing to unfold."""
    if summary.text:
        yield summary.text
    yield from list(summary)


def _listed(names: Sequence[str]) -> Iterator[Element | str]:
    for number, name in enumerate(names[:_MOST_NAMES]):
        yield from ([", "] if number else [])
        yield _code(name)
    if (more := len(names) - _MOST_NAMES) > 0:
        yield f" and {more} more"


def _code(text: str) -> Element:
    return E.code(safe_text(text))


def _badge(word: str) -> Element:
    return E.span({"class": f"badge {word}"}, word)


def _place(at: Span | None) -> Iterator[Element]:
    if at is not None:
        yield E.span({"class": "place"}, safe_text(str(at)))


STYLE = """\
:root{color-scheme:light dark;--text:#1f2328;--dim:#59636e;--paper:#fff;--raised:#f6f8fa;--line:#d1d9e0;--link:#0969da;
--bad:#b42318;--bad-paper:#fff0ee;--warn:#8a4b00;--warn-paper:#fff4d6;--good:#1a7f37;--good-paper:#e6f6ea}
@media (prefers-color-scheme:dark){:root{--text:#e6edf3;--dim:#9aa4af;--paper:#0d1117;--raised:#161b22;--line:#3d444d;
--link:#6cb0ff;--bad:#ff8f85;--bad-paper:#3c1614;--warn:#f0b35b;--warn-paper:#33270d;--good:#5fcf7d;--good-paper:#12311c}}
body{margin:0 auto;padding:16px 24px 48px;max-width:1328px;font:15px/1.5 system-ui,sans-serif;color:var(--text);
background:var(--paper)}
h1{font-size:24px;margin:8px 0}h2{font-size:18px;margin:28px 0 8px;border-bottom:1px solid var(--line)}
h3{font-size:15px;margin:18px 0 6px}p{margin:6px 0}a{color:var(--link)}
code,pre,del,ins{font:13px/1.5 ui-monospace,monospace;overflow-wrap:anywhere}pre{white-space:pre-wrap;margin:6px 0}
h1 code{font-size:22px}del{color:var(--bad);text-decoration:line-through}ins{color:var(--good);text-decoration:none}
nav a{margin-right:16px}.verdict{font-size:17px}.place,.after,.same,footer{color:var(--dim)}
.place{font:12px ui-monospace,monospace;overflow-wrap:anywhere}footer{margin-top:32px}
.alarm{padding:6px 12px;border-left:4px solid var(--bad);background:var(--bad-paper)}.alarm a{color:var(--bad)}
.chips{list-style:none;display:flex;flex-wrap:wrap;gap:8px 20px;padding:0;margin:12px 0}
.badge{display:inline-block;padding:0 7px;border-radius:9px;border:1px solid var(--line);font-size:12px;
line-height:18px;white-space:nowrap;color:var(--dim)}
.restart,.migrate,.downtime,.data-loss,.deleted,.error{
color:var(--bad);background:var(--bad-paper);border-color:var(--bad)}
.next-boot,.warning,.drift{color:var(--warn);background:var(--warn-paper);border-color:var(--warn)}
.live,.create{color:var(--good);background:var(--good-paper);border-color:var(--good)}
.data-loss,.downtime,.deleted{font-weight:700}
.mark{font:700 14px ui-monospace,monospace}.mark.create,.mark.adopt{color:var(--good);background:none}
.mark.update,.mark.move{color:var(--warn)}.mark.delete{color:var(--bad)}
table{border-collapse:collapse;width:100%;margin:6px 0;font-size:14px}
th{text-align:left;font-weight:600;color:var(--dim);font-size:12px}
th,td{padding:4px 10px 4px 0;vertical-align:top;border-bottom:1px solid var(--line)}
tr.beyond{color:var(--bad);font-weight:600}
figure{margin:0}svg{max-width:100%;height:auto}
summary{cursor:pointer}ul{margin:4px 0;padding-left:22px}
.host{margin:8px 0;border:1px solid var(--line);border-radius:6px}
.host>summary{padding:6px 12px;background:var(--raised);border-radius:6px;font-weight:600}
.host>.entry{margin:0 12px;padding:5px 0}.host>div.entry{padding-left:17px}
.host>.entry+.entry{border-top:1px solid var(--line)}
.entry>table,.entry>p,.entry>ul{margin-left:17px;width:calc(100% - 17px)}
@media print{body{max-width:none;padding:0}nav{display:none}.host,table{break-inside:auto}tr,summary{break-inside:avoid}
details::details-content{content-visibility:visible;block-size:auto}}
"""
