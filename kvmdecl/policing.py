"""A plan held against policies: pure, so that the same plan at the same moment has the same rulings.

A policy is declared (in the manifest, or in a file that its author does not own), or a function that a plugin offers.
When a policy holds for some hours only, a plan cannot know whether it will when somebody carries it out: it is told,
and decided by `apply`, which knows what time it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl.diagnostics import Diagnostic, Note, Severity, Span, in_order
from kvmdecl.names import share_of
from kvmdecl.plan import Action, Change, Impact, Plan, Step
from kvmdecl.policy import FILE, Effect, Objection, Policies, Policy, Ruling
from kvmdecl.state import Address, Kind
from kvmdecl.tasks import ConfigureManager
from kvmdecl.text import is_member, safe_text
from kvmdecl.waivers import Waiver

if TYPE_CHECKING:
    Labels = Mapping[str, Mapping[str, str]]

PLUGIN = "plugin "
"""What the source of a plugin's policy begins with."""
_DONE = {
    Action.CREATE: "is made",
    Action.ADOPT: "is adopted",
    Action.UPDATE: "is changed",
    Action.MOVE: "moves",
    Action.DELETE: "is deleted",
}
_IMPACTS = {impact.word: impact for impact in Impact}


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """Who wants to know, where and when.

    Attributes:
        command: `plan`, `diff`, `apply`, `destroy` or `undo`.
        user: whom the operating system takes the caller for.
        machine: name of the machine that kvmdecl runs on.
        now: the time (UTC), None where nothing is going to be carried out now.
    """

    command: str
    user: str
    machine: str
    now: datetime | None = None


@dataclass(frozen=True, slots=True)
class PolicyVerdict:
    """What a plugin's policy has against a plan.

    Attributes:
        address: of the object of a step; None for the plan as a whole.
        reason: why it is denied, or warned of, in a sentence.
        effect: whether nothing of the plan may be carried out, or it is only told.
    """

    address: Address | None
    reason: str
    effect: Effect = Effect.DENY


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """A policy of a plugin: a pure function over the frozen plan.

    Attributes:
        name: lower case letters, digits and `-`; by it what it finds is waived.
        judge: finds what must not be. It looks at the plan and the context, and at no clock, file or host.
    """

    name: str
    judge: Callable[[Plan, PolicyContext], Iterable[PolicyVerdict]]


class OfPlugin(NamedTuple):
    """A policy and the name of the plugin that offers it."""

    plugin: str
    policy: PlanPolicy


def judged(plan: Plan, offered: Sequence[OfPlugin], context: PolicyContext, today: date) -> Plan:
    """The plan with what its policies and those of plugins say.

    Of what was said before only that is kept which policies of plugins said that are not here.

    Args:
        plan: with its `policies`.
        offered: the policies of all plugins.
        context: who wants to know.
        today: the day (UTC), for waivers.
    """
    here = {PLUGIN + plugin for plugin, _ in offered}
    gone = [r for r in plan.rulings if r.source.startswith(PLUGIN) and r.source not in here]
    declared = [
        found for policy in plan.policies.declared for found in _declared(policy, plan, context, today)
    ]
    told = [found for each in offered for found in _offered(each, plan, context, today)]
    return replace(plan, rulings=tuple(sorted([*declared, *told, *gone], key=_order)))


def with_file(policies: Policies, given: Policies) -> Policies:
    """Policies, with those of a file in the place of those of an earlier one; what was counted for them is kept."""
    kept = tuple(policy for policy in policies.declared if policy.source != FILE)
    before = tuple(policy for policy in policies.declared if policy.source == FILE)
    return Policies((*kept, *(_counted(policy, before) for policy in given.declared)), given.waivers)


def _order(ruling: Ruling) -> tuple[bool, bool, bool, str, str]:
    """What denies first, then what may deny, then what warns; what is accepted comes last."""
    is_waived = ruling.waiver is not None
    return is_waived, not ruling.denies, ruling.effect is Effect.WARN, ruling.source, ruling.policy


# -- declared policies -----------------------------------------------------------------------------------------


class _Act(NamedTuple):
    """Something that a plan does to one object."""

    address: Address
    guest: str
    hosts: tuple[str, ...]
    action: Action
    impact: Impact
    changes: tuple[Change, ...]
    at: Span | None


def is_about(policy: Policy, address: Address, guest: str, hosts: Sequence[str], labels: Labels) -> bool:
    """Whether an object is among those that a policy names.

    Args:
        policy: in question.
        address: of the object.
        guest: that it is, or is part of; empty for none.
        hosts: that it is on.
        labels: of each host.
    """
    name = f"{address.kind}/{address.name}"
    return (
        (not policy.objects or any(fnmatchcase(name, pattern) for pattern in policy.objects))
        and (not policy.vms or (bool(guest) and any(is_meant(guest, each) for each in policy.vms)))
        and (not policy.hosts or any(fnmatchcase(host, each) for host in hosts for each in policy.hosts))
        and (not policy.labels or any(_has(labels.get(host, {}), policy.labels) for host in hosts))
    )


def is_meant(guest: str, name: str) -> bool:
    """Whether a guest is among those that a policy's `vms` names: by its name, its entry, or a pattern."""
    return is_member(guest, name) or fnmatchcase(guest, name)


def _has(said: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(label in said and fnmatchcase(said[label], value) for label, value in wanted.items())


def _declared(policy: Policy, plan: Plan, context: PolicyContext, today: date) -> Iterator[Ruling]:
    decided = not policy.when or context.now is not None
    if context.now is not None and not policy.holds_at(context.now):
        return
    labels = {host.name: host.labels for host in plan.hosts}
    met = [
        (act, changes)
        for act in _acts(plan)
        if is_about(policy, act.address, act.guest, act.hosts, labels)
        and (changes := _what_fits(policy, act)) is not None
    ]
    waived: dict[Waiver, list[Objection]] = defaultdict(list)
    open_: list[Objection] = []
    for act, changes in met:
        objection = Objection(act.address, _told(act, changes), _place(act, changes))
        waiver = _waiver(policy.waivers, act.address, today)
        (open_ if waiver is None else waived[waiver]).append(objection)
    there = len(met) if policy.there is None else max(policy.there, len(met))
    ruling = Ruling(
        policy.name,
        policy.effect,
        policy.reason,
        policy.source,
        (),
        at=policy.at,
        when=policy.when,
        decided=decided,
    )
    if len(open_) > (most := share_of(policy.more_than, there)):
        beyond = f"{len(open_)} of {there} objects, and at most {most} may be" if most else ""
        yield replace(ruling, objections=tuple(open_), beyond=beyond)
    yield from (replace(ruling, objections=tuple(o), waiver=waiver) for waiver, o in waived.items())


def _acts(plan: Plan) -> Iterator[_Act]:
    for step in plan.steps:
        yield _act(step)
        if isinstance(step.task, ConfigureManager):
            for name in step.task.deletes:
                address = Address(step.address.host, Kind.DOMAIN, name)
                yield _Act(address, name, (step.address.host,), Action.DELETE, Impact.DOWNTIME, (), step.at)


def _act(step: Step) -> _Act:
    return _Act(step.address, step.vm, step.hosts, step.action, step.impact, step.changes, step.at)


def _what_fits(policy: Policy, act: _Act) -> tuple[Change, ...] | None:
    """The changes of an act that a policy is about; None if the act is none that it is about."""
    if policy.actions and act.action.value not in policy.actions:
        return None
    least = _IMPACTS.get(policy.impact, Impact.NONE)
    if not policy.fields:
        return act.changes if act.impact >= least else None
    fits = tuple(
        change
        for change in act.changes
        if change.impact >= least and any(fnmatchcase(change.key, pattern) for pattern in policy.fields)
    )
    return fits or None


def _told(act: _Act, changes: Sequence[Change]) -> str:
    """What is done to an object: `is changed (restart): cpus.count 2 -> 4`."""
    impact = f" ({act.impact.word})" if act.impact > Impact.NONE and act.action is not Action.CREATE else ""
    worst = sorted(changes, key=lambda change: -change.impact)[:2]
    what = "; ".join(f"{each.key} {_value(each.before)} -> {_value(each.after)}" for each in worst)
    more = f" and {len(changes) - 2} more" if len(changes) > 2 else ""
    return f"{_DONE[act.action]}{impact}{f': {what}{more}' if what else ''}"


def _value(text: str | None) -> str:
    return "nothing" if text is None else text


def _place(act: _Act, changes: Sequence[Change]) -> Span | None:
    worst = max((change for change in changes if change.at), key=lambda change: change.impact, default=None)
    return worst.at if worst is not None else act.at


def _waiver(waivers: Iterable[Waiver], address: Address | None, today: date) -> Waiver | None:
    name = f"{address.kind}/{address.name}" if address else "plan"
    return next((waiver for waiver in waivers if waiver.until >= today and waiver.is_for(name)), None)


def _counted(policy: Policy, known: Iterable[Policy]) -> Policy:
    same = (other.there for other in known if replace(other, there=None, waivers=policy.waivers) == policy)
    return replace(policy, there=next(same, None))


# -- policies of plugins ---------------------------------------------------------------------------------------


def _offered(offered: OfPlugin, plan: Plan, context: PolicyContext, today: date) -> Iterator[Ruling]:
    name = offered.policy.name
    waivers = [waiver for waiver in plan.policies.waivers if waiver.rule == name]
    steps = {step.address: step for step in plan.steps}
    groups: dict[tuple[Effect, str, Waiver | None], list[Objection]] = defaultdict(list)
    for verdict in offered.policy.judge(plan, context):
        step = steps.get(verdict.address) if verdict.address else None
        waiver = _waiver(waivers, verdict.address, today)
        what = _told(_act(step), step.changes) if step else "is planned"
        objection = Objection(verdict.address, what, step.at if step else None)
        groups[verdict.effect, verdict.reason, waiver].append(objection)
    for (effect, reason, waiver), found in groups.items():
        source = PLUGIN + offered.plugin
        yield Ruling(name, effect, reason, source, tuple(found), waiver=waiver)


# -- what is told ----------------------------------------------------------------------------------------------


def findings(plan: Plan) -> tuple[Diagnostic, ...]:
    """What policies say of a plan, each at the place that it is about; what is written at one place is told once."""
    return in_order(found for ruling in plan.rulings for found in _folded(ruling))


def _folded(ruling: Ruling) -> Iterator[Diagnostic]:
    places: dict[Span | None, list[Objection]] = defaultdict(list)
    for objection in ruling.objections:
        places[objection.at].append(objection)
    for at, found in places.items():
        yield _finding(ruling, at or ruling.at, found)


def _finding(ruling: Ruling, at: Span | None, found: Sequence[Objection]) -> Diagnostic:
    first = found[0]
    code, severity = _weight(ruling)
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    notes = [Note("the policy", ruling.at)] if ruling.at else []
    if ruling.waiver is not None:
        notes.append(Note(f"accepted: {safe_text(ruling.waiver.reason)}", ruling.waiver.at))
    return Diagnostic(
        code,
        f"policy {safe_text(ruling.policy)} {verb(ruling)}: {subject(first)} {safe_text(first.what)}{more}",
        at,
        cause="".join(
            f"{part.removesuffix('.')}. " for part in (ruling.beyond, safe_text(ruling.reason)) if part
        )[:-1],
        hint=_HINTS.get(code, ""),
        notes=tuple(notes),
        severity=severity,
        subject=str(first.address) if first.address else "plan",
    )


def verb(ruling: Ruling) -> str:
    """What a policy does, in words: `denies`, `warns in mon-fri 08:00-18:00 UTC`, `lets pass until 2027-01-31`."""
    if ruling.waiver is not None:
        return f"lets pass until {ruling.waiver.until.isoformat()}"
    word = {Effect.DENY: "denies", Effect.WARN: "warns"}[ruling.effect]
    return f"{word} {ruling.when}" if ruling.when else word


def subject(objection: Objection) -> str:
    """What an objection is about, in words: `domain db-1 on kvm-1`."""
    address = objection.address
    if address is None:
        return "the plan"
    return f"{address.kind} {safe_text(address.name)} on {safe_text(address.host)}"


_HINTS = {
    "policy.denied": "change what is planned, or ask those who own the policy for a waiver",
    "policy.timed": "carry it out at another time",
}


def _weight(ruling: Ruling) -> tuple[str, Severity]:
    if ruling.waiver is not None:
        return "policy.waived", Severity.INFO
    if not ruling.decided:
        return "policy.timed", Severity.WARNING
    if ruling.effect is Effect.DENY:
        return "policy.denied", Severity.ERROR
    return "policy.warned", Severity.WARNING
