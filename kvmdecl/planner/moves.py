"""Guests that go from one host to another: live where they can, else only where the manifest allows a restart.

A guest that moves has its step on the host that it goes to. Where it was, a second step tidies up.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from kvmdecl.diagnostics import Diagnostic, Span
from kvmdecl.libvirt_xml.chains import disk_files
from kvmdecl.libvirt_xml.fingerprint import ABSENT, fingerprint
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.marker import belongs, owned_by, read_marker
from kvmdecl.libvirt_xml.moving import at_home_only, bound_to_host, is_bound_field
from kvmdecl.names import format_duration
from kvmdecl.plan import Action, Change, Impact, Step
from kvmdecl.planner.domains import how_long, how_to_stop, saved_state, unusable
from kvmdecl.planner.managed import was_handed_over
from kvmdecl.planner.replaced import replaced_disk
from kvmdecl.planner.verdict import AS_DECLARED, HostView, Verdict, blocked, is_derived, not_ours, note, step
from kvmdecl.state import (
    Address,
    Desired,
    DesiredDomain,
    DesiredVolume,
    Kind,
    LedgerEntry,
    Leg,
    ObservedDomain,
)
from kvmdecl.tasks import CreateVolume, LeaveDomain, MoveDomain, Power


def plan_move(desired: DesiredDomain, view: HostView, source: HostView) -> Verdict:
    """Plan how a guest gets from `source` to the host of `view`, which shall have it."""
    observed = source.domains_by_uuid.get(desired.uuid)
    if observed is None:
        return AS_DECLARED  # it is not there any more: nothing that could move
    marker = read_marker(observed.xml)
    if not is_derived(desired.address, desired.uuid, source) and not owned_by(
        marker, source.cluster, desired.uuid
    ):
        return blocked(
            desired,
            "move.not-ours",
            f"{desired.address.name} is on {source.host} and is nobody's yet, so it does not move",
            "What the manifest takes over is taken over where it is.",
            f"say `host: {source.host}` for one apply, then the other host.",
            key="host",
        )
    there = view.domains.get(desired.address.name)
    if there is not None and there.uuid != desired.uuid:
        return not_ours(desired, "domain")
    at_source = replace(desired, address=Address(source.host, Kind.DOMAIN, desired.address.name))
    if (found := unusable(at_source, observed, source)) is not None:
        return found
    if observed.managed_save:
        return saved_state(at_source)
    base = marker.applied if marker else None
    changes = assess(desired.xml, base, observed, desired.origin).changes
    if lost := [change for change in changes if change.impact is Impact.DATA_LOSS]:
        return replaced_disk(desired, desired.address.name, lost[0])
    return _move(desired, observed, base, changes, view, source)


def _move(
    desired: DesiredDomain,
    observed: ObservedDomain,
    base: str | None,
    changes: tuple[Change, ...],
    view: HostView,
    source: HostView,
) -> Verdict:
    power = _power(desired, observed)
    copied = _disks_to_copy(desired, observed, source)
    against = (*desired.kept, *(bound_to_host(observed.live_xml or observed.xml) if observed.active else ()))
    if observed.active:
        against += tuple(why for _, _, why in copied if why)
    live = observed.active and power == "keep" and not against
    if not live and (why := _only_at_home(desired, observed)):
        return _cannot(desired, source.host, [*against, *why], "")
    if observed.active and power == "keep" and not live:
        if desired.restart != "now":
            hint = "; `restart: now` has it shut down, moved and started"
            return _cannot(desired, source.host, against, hint)
        power = "restart"
    task = MoveDomain(
        name=desired.address.name,
        uuid=desired.uuid,
        source=source.host,
        xml=desired.xml,
        base=base,
        live=live,
        power=power,
        autostart=desired.autostart,
        cluster=view.cluster,
        revision=view.revision,
        volumes=tuple(e for e in _notes_in(source, desired.address.name) if e.name not in desired.copied),
        copied=tuple((target, volume) for target, volume, _ in copied),
        policy=desired.migration,
        power_off=desired.power_off,
        agent_within=desired.agent_within if power in {"start", "restart"} else 0,
    )
    moved = (_host_change(desired, task, against), *(_carried(change, live=live) for change in changes))
    verdict = step(desired, Action.MOVE, task, observed, "", changes=moved, after=desired.needs)
    return Verdict(verdict.step)


def _disks_to_copy(
    desired: DesiredDomain, observed: ObservedDomain, source: HostView
) -> tuple[tuple[str, str, str], ...]:
    """Target, volume, and why it cannot be copied (empty if it can), of each disk that only the source host sees."""
    written = {d.files[0]: d.target for d in disk_files(observed.live_xml or observed.xml) if d.files}
    found = []
    for name in desired.copied:
        volume = source.volumes.get(name)
        target = written.get(volume.path, "") if volume is not None else ""
        why = (
            ""
            if target
            else f"it writes to another file than {name}, which has to be copied: it has snapshots"
        )
        found.append((target, name, why))
    return tuple(found)


def _only_at_home(desired: DesiredDomain, observed: ObservedDomain) -> tuple[str, ...]:
    """Why a guest that is off, or has to be for its move, stays where it is."""
    disks = (
        f"{volume} is on storage that only its host sees, and is copied only while it runs"
        for volume in desired.copied
    )
    return (*desired.kept, *disks, *at_home_only(observed.xml))


def _power(desired: DesiredDomain, observed: ObservedDomain) -> Power:
    if desired.running in {None, observed.active}:
        return "keep"
    return "start" if desired.running else "shutdown"


def _host_change(desired: DesiredDomain, task: MoveDomain, against: Iterable[str]) -> Change:
    """The move itself: what it does to the guest, and why no less."""
    at = desired.origin.find("host")
    if task.live:
        how = "virDomainMigrateToURI3" if task.policy.hosts_lead else "virDomainMigrate3"
        impact, why = Impact.MIGRATE, _how_it_goes(task)
    else:
        how, impact, why = "virDomainDefineXMLFlags, virDomainUndefineFlags", Impact.NONE, ""
    if task.power in {"restart", "shutdown"}:
        forced = task.power_off.force or task.power == "shutdown"
        impact = Impact.DOWNTIME if forced else Impact.RESTART
        how = f"{how_to_stop(task.power_off)}, {how}"
        because = f"it cannot go while it runs: {' and '.join(against)}; " if against else ""
        why = f"{because}{how_long(task.power_off)}"
    return Change("host", "host", task.source, desired.address.host, impact, how, why, at=at)


def _how_it_goes(task: MoveDomain) -> str:
    policy = task.policy
    ends = {
        "abort": "then it stays where it is",
        "suspend": "then it is halted until all is copied",
        "post-copy": "then it goes, and fetches the rest",
    }
    goes = (
        "goes on there after one round and fetches the rest"
        if policy.mode == "post-copy"
        else "goes on there"
    )
    disks = f"; its disks are copied, and stay on {task.source} as they are then" if task.copied else ""
    return f"{goes}; {format_duration(policy.timeout)} at most, {ends[policy.on_timeout]}{disks}"


def _carried(change: Change, *, live: bool) -> Change:
    """A further change: what binds a guest to its host goes along, the rest is in the definition that arrives."""
    if is_bound_field(change.field):
        return replace(change, impact=Impact.MIGRATE if live else Impact.NONE, how="virDomainMigrate3")
    if change.impact <= Impact.METADATA:
        return change
    return replace(change, impact=Impact.NEXT_BOOT if live else Impact.NONE, how="virDomainDefineXMLFlags")


def _cannot(desired: DesiredDomain, source: str, against: Iterable[str], hint: str) -> Verdict:
    found = list(dict.fromkeys(against))
    name, to = desired.address.name, desired.address.host
    return blocked(
        desired,
        "move.cannot-move",
        f"{name} cannot go from {source} to {to}: {found[0]}",
        f"It has more of {source} than can be taken along." + "".join(f" Also: {w}." for w in found[1:]),
        f"take that away from it, or leave it on {source}{hint}.",
        key="host",
    )


def _notes_in(view: HostView, vm: str) -> tuple[LedgerEntry, ...]:
    """What a host's ledger says of volumes that were made for a vm."""
    return tuple(e for e in view.ledger.entries if e.kind is Kind.VOLUME and e.owner == vm)


# -- its disks --------------------------------------------------------------------------------------


def brought_along(resource: Desired, views: Mapping[str, HostView]) -> Desired:
    """A volume that a guest brings what is in it for: as large, and of the format, as where the guest was."""
    if not isinstance(resource, DesiredVolume) or not resource.moves_from:
        return resource
    original = views[resource.moves_from].volumes.get(resource.address.name)
    if original is None:
        return resource  # then its guest does not move
    return replace(resource, capacity=original.capacity, format=original.format)


def is_moving(resource: Desired) -> bool:
    """Whether it is a guest that is on another host."""
    return isinstance(resource, DesiredDomain) and bool(resource.moves_from)


def is_along(resource: Desired, moving: Container[str]) -> bool:
    """Whether it is a volume of a guest that moves, which both hosts see: left alone until the guest is there."""
    return isinstance(resource, DesiredVolume) and resource.shared and (resource.vm or "") in moving


def without_idle_copies(steps: Iterable[Step]) -> list[Step]:
    """The steps without volumes for guests that do not move after all."""
    steps = list(steps)
    moving = {step.address for step in steps if isinstance(step.task, MoveDomain)}
    return [
        step
        for step in steps
        if not isinstance(step.task, CreateVolume)
        or not step.task.moves_from
        or Address(step.address.host, Kind.DOMAIN, step.task.owner) in moving
    ]


def copies_left(known: Iterable[Desired], views: Mapping[str, HostView]) -> Iterator[Diagnostic]:
    """Volumes that guests left on hosts where they were, of which the hosts where they are have copies."""
    homes = {d.address.name: d for d in known if isinstance(d, DesiredDomain) and d.run_by is None}
    shared = {(d.vm, d.address.name) for d in known if isinstance(d, DesiredVolume) and d.shared}
    for host, view in views.items():
        for name in sorted({e.owner for e in view.ledger.entries if e.kind is Kind.VOLUME} & homes.keys()):
            desired = homes[name]
            notes = (e.name for e in _notes_in(view, name))
            left = [v for v in notes if (name, v) not in shared and v in view.volumes]
            if (
                left
                and host not in {desired.address.host, desired.moves_from}
                and not was_handed_over(name, view)
            ):
                yield note(
                    desired,
                    "move.left-behind",
                    f"{name} is on {desired.address.host}, and left on {host}: {', '.join(left)}",
                    "Its disks were copied when it moved. What is here is as old as the move.",
                    "if nobody needs it any more, delete it with `virsh vol-delete`.",
                )


# -- where it was -----------------------------------------------------------------------------------


def leavings(
    known: Iterable[Desired], views: Mapping[str, HostView], steps: Iterable[Step]
) -> Iterator[Step]:
    """For each host that a guest leaves, or left in a run that was interrupted, a step that tidies up there."""
    homes = {d.address.name: d for d in known if isinstance(d, DesiredDomain) and d.run_by is None}
    shared = {(d.vm, d.address.name) for d in known if isinstance(d, DesiredVolume) and d.shared and d.vm}
    moving = {task.name: (step, task) for step, task in _moves_of(steps)}
    for host, view in views.items():
        here = {d.name: d for d in view.state.domains}
        names = {e.owner for e in view.ledger.entries if e.kind is Kind.VOLUME} | here.keys()
        for name in sorted(names & homes.keys()):
            desired, (move, task) = homes[name], moving.get(name, (None, None))
            if desired.address.host == host or not _has_arrived(desired, move, views):
                continue
            known_there = task.volumes if task else _notes_in(views[desired.address.host], name)
            noted = {entry.name for entry in known_there}
            volumes = tuple(v for v in _names_in(view, name) if (name, v) in shared and v in noted)
            stale = here.get(name)
            leaves_now = move is not None and move.seat.host == host
            if stale is not None and not leaves_now and not _is_left(stale, desired, view):
                continue
            if volumes or (stale is not None and not leaves_now):
                left_over = LeaveDomain(name, desired.uuid, desired.address.host, volumes)
                address = Address(host, Kind.DOMAIN, name)
                left = leave(address, left_over, None if leaves_now else stale, desired.origin.at)
                yield replace(left, after=(move.address,) if move is not None else ())


def _is_left(stale: ObservedDomain, desired: DesiredDomain, view: HostView) -> bool:
    """Whether a definition is one of the guest's, and runs nothing."""
    address = Address(view.host, Kind.DOMAIN, stale.name)
    ours = is_derived(address, desired.uuid, view) or belongs(stale.xml, view.cluster, desired.uuid)
    return ours and stale.uuid == desired.uuid and not stale.active


def _names_in(view: HostView, vm: str) -> tuple[str, ...]:
    return tuple(entry.name for entry in _notes_in(view, vm))


def left_by(move: Step) -> Step | None:
    """The step that tidies up after one that moves a guest, as far as the latter tells; None if there is nothing to."""
    task = move.task
    if not isinstance(task, MoveDomain) or not task.volumes:
        return None
    names = tuple(entry.name for entry in task.volumes)
    left = LeaveDomain(task.name, task.uuid, move.address.host, names)
    return replace(leave(move.seat, left, None, move.at), after=(move.address,))


def tidied(steps: Iterable[Step], leaving: Iterable[Step]) -> list[Step]:
    """The steps with those that tidy up. What is done to a guest waits until no other host has it any more."""
    leaving = list(leaving)
    first = {
        Address(step.task.home, Kind.DOMAIN, step.task.name): step.address
        for step in leaving
        if isinstance(step.task, LeaveDomain) and step.precondition != ABSENT
    }
    waiting = (
        replace(step, after=(*step.after, first[step.address])) if step.address in first else step
        for step in steps
    )
    return [*waiting, *leaving]


def _has_arrived(desired: DesiredDomain, move: Step | None, views: Mapping[str, HostView]) -> bool:
    """Whether the guest is where it shall be, or will be once its step is done."""
    view = views.get(desired.address.host)
    return move is not None or (view is not None and desired.uuid in view.domains_by_uuid)


def leave(address: Address, task: LeaveDomain, stale: ObservedDomain | None, at: Span | None) -> Step:
    """The step that tidies up where a guest was; `stale` is the definition that it left, None if none."""
    parts = ["the definition that is left of it is undefined"] if stale is not None else []
    if task.volumes:
        which = f"{' and '.join(task.volumes)} {'is' if len(task.volumes) == 1 else 'are'}"
        parts.append(f"{task.home} notes from now on whose {which}")
    return Step(
        address=address,
        action=Action.MOVE,
        impact=Impact.NONE,
        changes=(),
        summary=f"is on {task.home}: {'; '.join(parts)}",
        precondition=fingerprint(stale) if stale is not None else ABSENT,
        task=task,
        at=at,
    )


# -- in turn ----------------------------------------------------------------------------------------


def in_legs(steps: Iterable[Step], legs: Sequence[Leg]) -> tuple[list[Step], list[Diagnostic]]:
    """The steps, those that move guests waiting until there is room for them, or going by a third host.

    A guest whose room would come from one that does not move after all does not move, either.
    """
    going, held = list(steps), list[Diagnostic]()
    move_of = {task.name: step for step, task in _moves_of(going)}
    legs = [leg for leg in legs if leg.vm in move_of]
    while True:
        there = {(leg.vm, leg.target) for leg in legs}
        waiting = {leg.vm: other for leg in legs for other, at in leg.after if (other, at) not in there}
        if not waiting:
            break
        held += [_without_room(move_of[name], other) for name, other in waiting.items()]
        gone = {move_of[name].address for name in waiting}
        going = [step for step in going if step.address not in gone and gone.isdisjoint(step.after)]
        legs = [leg for leg in legs if leg.vm not in waiting]
    return [part for step in going for part in _parts(step, legs)], held


def _moves_of(steps: Iterable[Step]) -> list[tuple[Step, MoveDomain]]:
    return [(step, step.task) for step in steps if isinstance(step.task, MoveDomain)]


def _parts(step: Step, legs: Sequence[Leg]) -> list[Step]:
    """A step that moves a guest, for each leg of its way."""
    task = step.task
    own = [leg for leg in legs if isinstance(task, MoveDomain) and leg.vm == task.name]
    if not isinstance(task, MoveDomain) or not own:
        return [step]
    waits = [tuple(Address(target, Kind.DOMAIN, vm) for vm, target in leg.after) for leg in own]
    if len(own) == 1:
        return [replace(step, after=(*step.after, *waits[0]))]
    aside, on = own
    there = Address(aside.target, Kind.DOMAIN, task.name)
    needs = tuple(replace(address, host=aside.target) for address in step.after)
    passing = replace(task, passing=True, policy=replace(task.policy, address=aside.address))
    going_on = replace(task, source=aside.target, base=task.xml, goes_on=True)
    return [
        replace(
            step, address=there, task=passing, after=(*needs, *waits[0]),
            changes=tuple(_to(change, task.source, aside.target) for change in step.changes),
        ),
        replace(
            step, task=going_on, precondition="", after=(*step.after, *waits[1]),
            changes=(_to(step.changes[0], aside.target, on.target),),
        ),
    ]  # fmt: skip


def _to(change: Change, source: str, target: str) -> Change:
    return replace(change, before=source, after=target) if change.field == "host" else change


def _without_room(step: Step, other: str) -> Diagnostic:
    return Diagnostic(
        "plan.held",
        f"{step.address} waits for room that {other} would make, which does not move",
        step.at,
        "While a guest moves it takes its memory on both hosts.",
        "see why that one stays, or give this one another host.",
        subject=str(step.address),
    )
