"""A plan as text for a terminal or a log: per host what changes, what that does to a guest, and where it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from kvmdecl.names import format_duration
from kvmdecl.plan import (
    Action,
    Change,
    ChangeOrigin,
    HostStatus,
    Impact,
    Owner,
    Plan,
    PlannedGate,
    PlannedHost,
    PlannedManager,
    Step,
)
from kvmdecl.state import Kind
from kvmdecl.text import listed, quoted, safe_text
from kvmdecl.views.folding import Fold, danger, folded
from kvmdecl.waves import waves_of

_STYLES = {
    Action.CREATE: "32",
    Action.ADOPT: "32",
    Action.UPDATE: "33",
    Action.MOVE: "33",
    Action.DELETE: "31",
}
_VERBS = {
    Action.CREATE: "to create",
    Action.ADOPT: "to adopt",
    Action.UPDATE: "to change",
    Action.MOVE: "to move",
    Action.DELETE: "to delete",
}


MAX_LINES = 80
"""What is longer is folded."""
_MAX_WAVES = 16
_MAX_CHANGES = 40


def render_plan(plan: Plan, *, color: bool, next_command: str = "", expand: bool = False) -> str:
    """The plan, and the command that carries it out if one is given. Its diagnostics are shown elsewhere.

    A plan of more than `MAX_LINES` lines is folded into at most that many, unless `expand` asks for each step: steps
    that do the same are one, dangerous ones come first, and what has no room is counted. What others own is not.
    """
    foreign = [line for host in plan.hosts for line in _foreign(host, plan, color=color)]
    end = [*_waves(plan), *_closing(plan, next_command)]
    forgotten = [line for member in plan.let_go for line in (f"{safe_text(member.name)}  let go", "")]
    steps: dict[str, list[Step]] = {}
    on_hosts = tuple(step for step in plan.steps if step.address.kind is not Kind.CLUSTER)
    for step in on_hosts:
        steps.setdefault(step.address.host, []).append(step)
    managers = [line for each in plan.managers for line in _manager(each, plan, color=color, expand=expand)]
    blocks = [block for host in plan.hosts for block in _host(host, steps.get(host.name, []), color=color)]
    if not expand and len(blocks) + len(forgotten) + len(end) > MAX_LINES:
        blocks = list(_folds(replace(plan, steps=on_hosts), MAX_LINES - len(end), color=color))
        forgotten = []
    return "\n".join([*blocks, *managers, *foreign, *forgotten, *end]) + "\n"


def _folds(plan: Plan, room: int, *, color: bool) -> Iterator[str]:
    """At most `room` lines about all steps, the hosts that did not answer, and those that are let go."""
    silent = [host for host in plan.hosts if host.status is HostStatus.UNREACHABLE]
    frozen = sum(len(host.frozen) for host in silent)
    head = [f"{listed(names)}  let go" for names in [[safe_text(m.name) for m in plan.let_go]] if names]
    if silent:
        left = f"; {count(frozen, 'object')} on them unknown and left alone" if frozen else ""
        head.append(_paint(f"{listed([host.name for host in silent])}  unreachable{left}", "31", color=color))
    hosts = len({step.address.host for step in plan.steps})
    title = f"{count(len(plan.steps), 'step')} on {count(hosts, 'host')}; what is the same is shown once:"
    yield from (*head, _paint(title, "1", color=color))
    room -= len(head) + 3  # the title, what is left out, and an empty line
    shown, folds = 0, folded(plan.steps)
    width = min(max((len(whose(fold)) for fold in folds), default=0), 64)
    for fold in folds:
        lines = list(step_lines(fold.first, whose(fold), width, color=color))
        if len(lines) > room:
            break
        yield from lines
        room, shown = room - len(lines), shown + 1
    if left_out := [step for fold in folds[shown:] for step in fold.steps]:
        yield f"  and {count(len(left_out), 'further step')}: {counts(left_out)}; `kvmdecl plan --expand` shows each"
    yield ""


def whose(fold: Fold) -> str:
    """Whose steps are one, in words: `web-1 on kvm-1`, `web-1 and 199 more on 20 hosts`."""
    more = f" and {len(fold.steps) - 1} more" if len(fold.steps) > 1 else ""
    hosts = fold.hosts
    return f"{safe_text(fold.first.address.name)}{more} on {hosts[0] if len(hosts) == 1 else count(len(hosts), 'host')}"


def _host(host: PlannedHost, steps: list[Step], *, color: bool) -> Iterator[str]:
    steps = sorted(steps, key=danger)  # the rest keeps its order: sorting is stable
    if host.status is HostStatus.UNREACHABLE:
        left = f"; {count(len(host.frozen), 'object')} on it unknown and left alone" if host.frozen else ""
        yield _paint(
            f"{host.name}  unreachable: {safe_text(host.reason.removeprefix(f'{host.name}: '))}{left}",
            "31",
            color=color,
        )
        yield ""
    elif steps:
        yield _paint(f"{host.name}  {counts(steps)}", "1", color=color)
        width = min(max(len(safe_text(step.address.name)) for step in steps), 48)
        for step in steps:
            yield from step_lines(step, safe_text(step.address.name), width, color=color)
        yield ""


def _manager(manager: PlannedManager, plan: Plan, *, color: bool, expand: bool) -> Iterator[str]:
    """What a cluster manager goes by: one step, with the most dangerous of its changes first where they are many."""
    name = safe_text(manager.name)
    if manager.status is HostStatus.UNREACHABLE:
        yield _paint(f"{name}  unreachable: {safe_text(manager.reason)}; left alone", "31", color=color)
        yield ""
    for step in plan.steps:
        if step.address.kind is Kind.CLUSTER and step.address.host == manager.name:
            yield _paint(f"{name}  {counts([step])}", "1", color=color)
            more = 0 if expand else max(0, len(step.changes) - _MAX_CHANGES)
            if more:
                by_danger = sorted(step.changes, key=lambda change: -change.impact)
                step = replace(step, changes=tuple(by_danger[:_MAX_CHANGES]))  # noqa: PLW2901 - the same, shorter
            yield from step_lines(step, safe_text(step.address.name), 0, color=color)
            if more:
                yield f"      and {count(more, 'further change')}; `kvmdecl plan --expand` shows each"
            yield ""


def _waves(plan: Plan) -> Iterator[str]:
    """Which hosts come when, and how many steps each wave has."""
    rollout = plan.rollout
    if rollout is None or not plan.steps:
        return
    at_once = f"at most {count(rollout.max_parallel, 'host')} at once, " if rollout.max_parallel else ""
    yield f"In waves; {at_once}ended when something fails on more than {count(rollout.max_failed, 'host')}:"
    steps = Counter(waves_of(plan).values())
    width = max(len(safe_text(wave.name)) for wave in rollout.waves)
    for number, wave in enumerate(rollout.waves[:_MAX_WAVES]):
        hosts = safe_text(" ".join(wave.hosts[:_MAX_WAVES])) + " ..." * (len(wave.hosts) > _MAX_WAVES)
        asked = f"  ({count(len(wave.guests), 'guest')} at its gates)" if rollout.gates else ""
        yield f"  {number + 1}  {safe_text(wave.name):<{width}}  {count(steps[number], 'step')}  {hosts}{asked}"
    if (more := len(rollout.waves) - _MAX_WAVES) > 0:
        yield f"  and {count(more, 'further wave')}"
    if rollout.gates:
        yield "After each wave, before the next:"
    yield from (f"  {_gate(gate)}" for gate in rollout.gates)
    yield ""


def _gate(gate: PlannedGate) -> str:
    """What a gate asks whom, and how long it is waited for; with every word of a command that it runs."""
    options = (
        f"{key} {quoted(value) if isinstance(value, str) else ' '.join(map(quoted, value))}"
        for key, value in gate.options.items()
    )
    hold = f"for {format_duration(gate.hold)}, " if gate.hold else ""
    parts = [safe_text(gate.check), *map(safe_text, options)]
    parts += [f"of {safe_text(' '.join(gate.vms))}"] if gate.vms else []
    return f"{'  '.join(parts)}  {hold}within {format_duration(gate.timeout)}"


def step_lines(step: Step, name: str, width: int, *, color: bool) -> Iterator[str]:
    """A step and its changes. `name` stands for what it is about, padded to `width`."""
    mark = _paint(step.action.mark, _STYLES[step.action], color=color)
    impact = _impact(step.impact, color=color) if step.impact > Impact.NONE else ""
    told = "  ".join(part for part in (impact, safe_text(step.summary)) if part)
    yield f"  {mark} {step.address.kind:<7} {name:<{width}}  {told}".rstrip()
    keys = max((len(change.key) for change in step.changes), default=0)
    for change in step.changes:
        yield from _change(change, keys, color=color)


def _foreign(host: PlannedHost, plan: Plan, *, color: bool) -> Iterator[str]:
    found = [thing for thing in plan.foreign if thing.address.host == host.name]
    if not found:
        return
    yield _paint(f"{host.name}  not declared, and left alone", "1", color=color)
    for kind in _IN_ONE_LINE:
        names = [safe_text(t.address.name) for t in found if t.address.kind is kind and not t.ours]
        if names:
            yield f"    {count(len(names), str(kind))} not made by this cluster: {', '.join(names)}"
    for thing in found:
        if thing.address.kind in _IN_ONE_LINE and not thing.ours:
            continue
        name = f"{thing.address.kind} {safe_text(thing.address.name)}"
        if not thing.ours:
            yield f"    {name}  not made by this cluster"
            continue
        owners = Counter(field.owner for field in thing.fields)
        by = [f"{owners[owner]} {word}" for owner, word in _OWNERS.items() if owners[owner]]
        yield f"    {name}  {count(thing.declared, 'field')} declared{''.join(f', {part}' for part in by)}"
        for field in thing.fields:
            if field.owner is Owner.OTHERS:
                values = ("nothing" if v is None else quoted(v) for v in (field.before, field.after))
                yield f"        {safe_text(field.field)}  {' -> '.join(values)}"
    yield ""


_IN_ONE_LINE = (Kind.SECRET, Kind.NWFILTER, Kind.VOLUME)
"""Kinds of which a host has many that others made: libvirt's own filters, images."""

_OWNERS = {
    Owner.LIBVIRT: "filled in by libvirt",
    Owner.OTHERS: "changed by others",
    Owner.UNKNOWN: "by libvirt or others",
}


def _change(change: Change, width: int, *, color: bool) -> Iterator[str]:
    where = f"  ({safe_text(str(change.at))})" if change.at else ""
    drift = f"  {_paint('drift', '33', color=color)}" if change.origin is ChangeOrigin.DRIFT else ""
    impact = _impact(change.impact, color=color)
    yield f"      {safe_text(change.key):<{width}}  {_values(change)}  {impact}{drift}{where}"
    if change.why and change.impact > Impact.LIVE:
        yield f"      {'':<{width}}  {safe_text(change.why)}"


def _values(change: Change) -> str:
    before, after = (None if v is None else safe_text(v) for v in (change.before, change.after))
    if before is None:
        return f"+ {after}"
    return f"- {before}" if after is None else f"{before} -> {after}"


def _impact(impact: Impact, *, color: bool) -> str:
    style = "31" if impact >= Impact.RESTART else "33" if impact is Impact.NEXT_BOOT else "32"
    return _paint(impact.word, style, color=color)


def _closing(plan: Plan, next_command: str) -> Iterator[str]:
    answered = sum(1 for host in plan.hosts if host.status is HostStatus.OK)
    if plan.empty:
        start = (
            f"Nothing to apply, {count(len(plan.blocked), 'object')} blocked"
            if plan.blocked
            else "No changes"
        )
        silent = len(plan.hosts) - answered
        unknown = f"; {count(silent, 'host')} unknown" if silent else ""
        yield f"{start}: {count(plan.unchanged, 'object')} on {count(answered, 'host')} as declared{unknown}."
        return
    impacts = Counter(step.impact for step in plan.steps if step.action is not Action.CREATE)
    worst_first = [f"{impacts[i]} {i.word}" for i in sorted(impacts, reverse=True) if i > Impact.NONE]
    detail = f" ({', '.join(worst_first)})" if worst_first else ""
    blocked = f", {len(plan.blocked)} blocked" if plan.blocked else ""
    what = counts(plan.steps) or f"{count(len(plan.let_go), 'host')} to forget"
    yield f"Plan: {what}{detail}; {plan.unchanged} unchanged{blocked}."
    if plan.exceeded:
        yield f"Beyond {count(len(plan.exceeded), 'limit')} of the manifest: nothing of it can be carried out."
    elif next_command:
        yield "Nothing has changed yet; to do it:"
        yield f"    {next_command}"


def counts(steps: Iterable[Step]) -> str:
    """`2 to create, 1 to change`."""
    counts = Counter(step.action for step in steps)
    return ", ".join(f"{counts[action]} {verb}" for action, verb in _VERBS.items() if counts[action])


def count(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _paint(text: str, style: str, *, color: bool) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if color else text
