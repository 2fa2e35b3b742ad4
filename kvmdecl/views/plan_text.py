"""A plan as text for a terminal or a log: per host what changes, what that does to a guest, and where it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from kvmdecl.names import format_duration, format_size
from kvmdecl.plan import (
    Action,
    Change,
    ChangeOrigin,
    Fate,
    HostStatus,
    Impact,
    Owner,
    Plan,
    PlannedGate,
    PlannedHost,
    PlannedLimit,
    PlannedManager,
    Prospect,
    Rollout,
    Selection,
    Step,
)
from kvmdecl.policing import verb
from kvmdecl.state import Kind
from kvmdecl.takeover import Proof
from kvmdecl.text import listed, quoted, safe_text
from kvmdecl.views.folding import Fold, danger, folded
from kvmdecl.views.survivors import takeover_table, verdict, what_if
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
_MAX_RULINGS = 12
_MAX_CHANGES = 40
_MAX_HOSTS = 5


def render_plan(plan: Plan, *, color: bool, next_command: str = "", expand: bool = False) -> str:
    """The plan, and the command that carries it out if one is given. Its diagnostics are shown elsewhere.

    A plan of more than `MAX_LINES` lines is folded into at most that many, unless `expand` asks for each step: steps
    that do the same are one, dangerous ones come first, and what has no room is counted. What others own is not.
    """
    foreign = [line for host in plan.hosts for line in foreign_lines(host, plan, color=color)]
    end = [
        *_waves(plan),
        *_limits(plan),
        *_policies(plan),
        *selection_lines(plan),
        *_closing(plan, next_command),
    ]
    forgotten = [line for member in plan.let_go for line in (f"{safe_text(member.name)}  let go", "")]
    steps: dict[str, list[Step]] = {}
    on_hosts = tuple(step for step in plan.steps if step.address.kind is not Kind.CLUSTER)
    for step in on_hosts:
        steps.setdefault(step.address.host, []).append(step)
    managers = [line for each in plan.managers for line in _manager(each, plan, color=color, expand=expand)]
    managers += [line for proof in plan.proofs for line in _proof(proof, expand=expand)]
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
            yield from prospect_lines(manager, color=color, expand=expand)
            yield ""


def prospect_lines(manager: PlannedManager, *, color: bool, expand: bool = False) -> Iterator[str]:
    """What becomes of its guests, the worst first; of those that just go on, how many there are unless `expand`."""
    if not manager.prospects:
        return
    yield f"    its guests: {tally(manager.prospects)}"
    shown = sorted(manager.prospects, key=lambda each: (-each.fate.impact, each.vm))
    if not expand:
        shown = [each for each in shown if each.fate not in {Fate.NONE, Fate.LIVE}][:_MAX_CHANGES]
    name = max((len(safe_text(each.vm)) for each in shown), default=0)
    way = max((len(_way(each)) for each in shown), default=0)
    for each in shown:
        fate = _paint(each.fate.value, _FATE_STYLES.get(each.fate, "32"), color=color)
        where = f"  ({safe_text(str(each.at))})" if each.at else ""
        yield f"      {safe_text(each.vm):<{name}}  {_way(each):<{way}}  {fate}{where}"
        if each.why and each.fate.impact > Impact.LIVE:
            yield f"      {'':<{name}}  {'':<{way}}  {safe_text(each.why)}"


def tally(prospects: Iterable[Prospect]) -> str:
    """`1 restart, 2 migrate, 12 none`, the worst first."""
    counts = Counter(each.fate for each in prospects)
    worst_first = sorted(counts, key=lambda fate: (-fate.impact, fate))
    return ", ".join(f"{counts[fate]} {fate.value}" for fate in worst_first)


_FATE_STYLES = {Fate.STOP: "31", Fate.RESTART: "31", Fate.MIGRATE: "31"}


def _way(prospect: Prospect) -> str:
    source, dest = safe_text(prospect.source), safe_text(prospect.dest)
    if source == dest:
        return f"on {source}" if source else "nowhere"
    return f"{source or 'nowhere'} -> {dest or 'nowhere'}"


def _proof(proof: Proof, *, expand: bool) -> Iterator[str]:
    yield f"{what_if(proof)}:"
    yield from (f"  {safe_text(line)}" for line in takeover_table(proof, whole=expand))
    yield f"  {safe_text(verdict(proof))}"
    yield ""


def _waves(plan: Plan) -> Iterator[str]:
    """Which hosts come when, and how many steps each wave has."""
    rollout = plan.rollout
    if rollout is None or not plan.steps:
        return
    yield f"{rollout_words(rollout)}:"
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
    yield from (f"  {gate_words(gate)}" for gate in rollout.gates)
    yield ""


def _limits(plan: Plan) -> Iterator[str]:
    """The limits of which a plan uses up more than half, each where it comes nearest."""
    near = [limit for limit in plan.limits if limit.count * 2 > limit.most]
    told = [f"{limit.key}{safe_text(limit.where)} {amount_words(limit)}" for limit in near]
    if told:
        yield f"Limits: {'; '.join(told)}"
        yield ""


def rollout_words(rollout: Rollout) -> str:
    """How a rollout goes on, and when it ends."""
    bounds = [f"at most {count(rollout.max_parallel, 'host')} at once"] if rollout.max_parallel else []
    if rollout.max_unavailable:
        bounds.append(f"at most {count(rollout.max_unavailable, 'guest')} of an entry down at once")
    if rollout.max_migrations > 1:
        bounds.append(f"at most {rollout.max_migrations} moves from or to a host at once")
    ends = f"ended when something fails on more than {count(rollout.max_failed, 'host')}"
    return f"In waves; {', '.join([*bounds, ends])}"


def gate_words(gate: PlannedGate) -> str:
    """What a gate asks whom, and how long it is waited for; with every word of a command that it runs."""
    options = (
        f"{key} {quoted(value) if isinstance(value, str) else ' '.join(map(quoted, value))}"
        for key, value in gate.options.items()
    )
    hold = f"for {format_duration(gate.hold)}, " if gate.hold else ""
    parts = [safe_text(gate.check), *map(safe_text, options)]
    parts += [f"of {safe_text(' '.join(gate.vms))}"] if gate.vms else []
    return f"{'  '.join(parts)}  {hold}within {format_duration(gate.timeout)}"


def amount_words(limit: PlannedLimit) -> str:
    """How near a plan comes to a limit: `2 of 3`, `2 of 4 (20%)`, `5GiB of 1TiB`."""
    if limit.key.startswith("data."):
        return f"{format_size(limit.count)} of {limit.amount}"
    share = f" ({limit.amount})" if limit.amount.endswith("%") else ""
    return f"{limit.count} of {limit.most}{share}"


def step_lines(step: Step, name: str, width: int, *, color: bool) -> Iterator[str]:
    """A step and its changes. `name` stands for what it is about, padded to `width`."""
    mark = _paint(step.action.mark, _STYLES[step.action], color=color)
    impact = _impact(step.impact, color=color) if step.impact > Impact.NONE else ""
    told = "  ".join(part for part in (impact, safe_text(step.summary)) if part)
    yield f"  {mark} {step.address.kind:<7} {name:<{width}}  {told}".rstrip()
    keys = max((len(change.key) for change in step.changes), default=0)
    for change in step.changes:
        yield from _change(change, keys, color=color)


def foreign_lines(host: PlannedHost, plan: Plan, *, color: bool) -> Iterator[str]:
    """What nobody declares on a host, if it was asked for."""
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
    if change.why and (change.impact > Impact.LIVE or change.field == "host"):
        yield f"      {'':<{width}}  {safe_text(change.why)}"


def _values(change: Change) -> str:
    before, after = (None if v is None else safe_text(v) for v in (change.before, change.after))
    if before is None:
        return f"+ {after}"
    return f"- {before}" if after is None else f"{before} -> {after}"


def _impact(impact: Impact, *, color: bool) -> str:
    style = "31" if impact >= Impact.RESTART else "33" if impact is Impact.NEXT_BOOT else "32"
    return _paint(impact.word, style, color=color)


def _policies(plan: Plan) -> Iterator[str]:
    """What policies have against the plan, and why; what each step is about is told beside the plan."""
    if not plan.rulings:
        return
    yield "Policies:"
    width = max(len(safe_text(ruling.policy)) for ruling in plan.rulings[:_MAX_RULINGS])
    for ruling in plan.rulings[:_MAX_RULINGS]:
        number = ruling.beyond or count(len(ruling.objections), "object")
        reason = ruling.waiver.reason if ruling.waiver else ruling.reason
        told = f"  {safe_text(ruling.policy):<{width}}  {verb(ruling)}  {number}: {safe_text(reason)}"
        yield told
    if (more := len(plan.rulings) - _MAX_RULINGS) > 0:
        yield f"  and {count(more, 'further ruling')}"
    yield ""


def selection_lines(plan: Plan) -> Iterator[str]:
    """What part of a plan it is, and how much it leaves out on which hosts."""
    if plan.selection is None:
        return
    yield f"A part of the plan: {safe_text(' '.join(plan.selection.by))}{needed_words(plan.selection)}."
    hosts = Counter(address.host for address in plan.selection.left_out).most_common()
    told = [f"{number} on {safe_text(host)}" for host, number in hosts[:_MAX_HOSTS]]
    if rest := hosts[_MAX_HOSTS:]:
        told.append(f"{sum(number for _, number in rest)} on {count(len(rest), 'other host')}")
    yield f"Left out: {', '.join(told)}." if told else "Nothing is left out."


def needed_words(selection: Selection) -> str:
    """How much of a part of a plan was not chosen itself; empty for none."""
    number = len(selection.needed)
    return f", with {count(number, 'step')} that the rest stands on" if number else ""


def _closing(plan: Plan, next_command: str) -> Iterator[str]:
    yield f"{'' if plan.empty else 'Plan: '}{closing_words(plan)}"
    if plan.empty:
        return
    if plan.exceeded:
        yield f"Beyond {count(len(plan.exceeded), 'limit')} of the manifest: nothing of it can be carried out."
    if plan.denied:
        yield denied_words(plan)
    elif next_command and not plan.exceeded:
        yield "Nothing has changed yet; to do it:"
        yield f"    {next_command}"


def denied_words(plan: Plan) -> str:
    """By which policies nothing of it may be carried out."""
    names = listed([safe_text(name) for name in plan.denied])
    return f"Denied by {'policy' if len(plan.denied) == 1 else 'policies'} {names}: nothing of it can be carried out."


def closing_words(plan: Plan) -> str:
    """What a plan comes to, in a sentence."""
    answered = sum(1 for host in plan.hosts if host.status is HostStatus.OK)
    if plan.empty:
        start = (
            f"Nothing to apply, {count(len(plan.blocked), 'object')} blocked"
            if plan.blocked
            else "No changes in this part"
            if plan.selection
            else "No changes"
        )
        silent = len(plan.hosts) - answered
        unknown = f"; {count(silent, 'host')} unknown" if silent else ""
        return (
            f"{start}: {count(plan.unchanged, 'object')} on {count(answered, 'host')} as declared{unknown}."
        )
    impacts = Counter(step.impact for step in plan.steps if step.action is not Action.CREATE)
    worst_first = [f"{impacts[i]} {i.word}" for i in sorted(impacts, reverse=True) if i > Impact.NONE]
    detail = f" ({', '.join(worst_first)})" if worst_first else ""
    blocked = f", {len(plan.blocked)} blocked" if plan.blocked else ""
    what = counts(plan.steps) or f"{count(len(plan.let_go), 'host')} to forget"
    return f"{what}{detail}; {plan.unchanged} unchanged{blocked}."


def counts(steps: Iterable[Step]) -> str:
    """`2 to create, 1 to change`."""
    counts = Counter(step.action for step in steps)
    return ", ".join(f"{counts[action]} {verb}" for action, verb in _VERBS.items() if counts[action])


def count(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _paint(text: str, style: str, *, color: bool) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if color else text
