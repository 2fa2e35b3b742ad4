"""Guests that go from one host to another: live where they can, else only where the manifest allows a restart.

A guest that moves has its step on the host that it goes to. Where it was, a second step tidies up.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import get_args

from kvmdecl.diagnostics import Diagnostic, Span
from kvmdecl.libvirt_xml.chains import disk_files
from kvmdecl.libvirt_xml.fingerprint import ABSENT, fingerprint
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.marker import belongs, owned_by, read_marker
from kvmdecl.libvirt_xml.moving import HELD, at_home_only, bound_to_host, host_files, is_bound_field
from kvmdecl.names import derive_uuid, format_duration, format_size
from kvmdecl.plan import Action, Change, Impact, Step
from kvmdecl.planner.domains import how_long, how_to_stop, saved_state, unusable
from kvmdecl.planner.managed import was_handed_over
from kvmdecl.planner.replaced import replaced_disk
from kvmdecl.planner.verdict import (
    AS_DECLARED,
    HostView,
    Verdict,
    blocked,
    is_derived,
    not_ours,
    note,
    step,
)
from kvmdecl.state import (
    Address,
    Desired,
    DesiredDomain,
    DesiredVolume,
    HostState,
    Kind,
    LedgerEntry,
    Leg,
    ObservedDomain,
    ObservedVolume,
)
from kvmdecl.tasks import CreateVolume, DeleteVolume, HostFile, LeaveDomain, MoveDomain, Power


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
    bound = bound_to_host(observed.live_xml or observed.xml, desired.devices) if observed.active else ()
    against = (*desired.kept, *(why for _, _, why in copied if why), *bound)
    live = observed.active and power == "keep" and not against
    if not live and (why := tuple(_only_at_home(desired, observed, copied, view, source))):
        return _cannot(desired, source.host, [*against, *why], "")
    if observed.active and power == "keep" and not live:
        if desired.restart != "now":
            hint = "; `restart: now` has it shut down, moved and started"
            return _cannot(desired, source.host, against, hint)
        power = "restart"
    files = tuple(each.what for each in host_files(observed.xml))
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
        files=() if live else files,
        devices=desired.devices,
    )
    size = sum(source.volumes[volume].allocation for _, volume, _ in copied)
    change = _host_change(desired, task, against, size)
    if live and "firmware" in files:
        stays = f"; libvirt leaves a file with {HELD['firmware']} on {source.host}, too, which nobody reads"
        change = replace(change, why=change.why + stays)
    moved = (change, *(_carried(change, live=live) for change in changes))
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


def _only_at_home(
    desired: DesiredDomain,
    observed: ObservedDomain,
    copied: Iterable[tuple[str, str, str]],
    view: HostView,
    source: HostView,
) -> Iterator[str]:
    """Why a guest that is off, or has to be for its move, stays where it is."""
    yield from desired.kept
    for _, name, why in copied:
        if why:
            yield why
        elif below := source.volumes[name].backing:
            image = f"{name.partition('/')[0]}/{below.rpartition('/')[2]}"
            coming = Address(desired.address.host, Kind.VOLUME, image)
            if image not in view.volumes and coming not in desired.needs:
                yield f"{name} stands on {below}, which {desired.address.host} does not have"
    yield from at_home_only(observed.xml, desired.devices)


def _power(desired: DesiredDomain, observed: ObservedDomain) -> Power:
    if desired.running in {None, observed.active}:
        return "keep"
    return "start" if desired.running else "shutdown"


def _host_change(desired: DesiredDomain, task: MoveDomain, against: Iterable[str], size: int) -> Change:
    """The move itself: what it does to the guest, and why no less. `size`: bytes of its disks that are copied."""
    at = desired.origin.find("host")
    if task.live:
        how = "virDomainMigrateToURI3" if task.policy.hosts_lead else "virDomainMigrate3"
        impact, why = Impact.MIGRATE, _how_it_goes(task, size)
    else:
        how, impact, why = "virDomainDefineXMLFlags, virDomainUndefineFlags", Impact.NONE, ""
        parts = (
            [f"{format_size(size)} of its disks are copied, and stay on {task.source}, too"]
            if task.copied
            else []
        )
        parts += [f"{HELD[what]} {'is' if what == 'tpm' else 'are'} copied" for what in task.files]
        if parts:
            how, why = f"virStorageVolDownload, virStorageVolUpload, {how}", ", and ".join(parts)
    if task.power in {"restart", "shutdown"}:
        forced = task.power_off.force or task.power == "shutdown" or bool(task.copied)
        impact = Impact.DOWNTIME if forced else Impact.RESTART
        how = f"{how_to_stop(task.power_off)}, {how}"
        because = f"it cannot go while it runs: {' and '.join(against)}; " if against else ""
        why = f"{because}{how_long(task.power_off)}" + (f"; it is off while {why}" if why else "")
    return Change("host", "host", task.source, desired.address.host, impact, how, why, at=at)


def _how_it_goes(task: MoveDomain, size: int) -> str:
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
    fetches = "post-copy" in {policy.mode, policy.on_timeout}
    risk = "; while it fetches, it is lost if a host or its libvirtd dies" if fetches else ""
    copied = f"{format_size(size)} of its disks are copied, and stay on {task.source} as they are then"
    disks = f"; {copied}" if task.copied else ""
    return f"{goes}; {format_duration(policy.timeout)} at most, {ends[policy.on_timeout]}{risk}{disks}"


def _carried(change: Change, *, live: bool) -> Change:
    """A further change: what binds a guest to its host goes along, the rest is in the definition that arrives."""
    if is_bound_field(change.field):
        impact = Impact.MIGRATE if live else Impact.NONE
        return replace(
            change, impact=impact, how="virDomainMigrate3", why=""
        )  # what kept it from less was its host
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


def copies_left(
    known: Iterable[Desired], views: Mapping[str, HostView]
) -> tuple[list[Step], list[Diagnostic]]:
    """Volumes that guests left on hosts where they were: steps that delete them if the manifest says so, else notes."""
    steps, notes = list[Step](), list[Diagnostic]()
    for desired, view, left in _left(known, views):
        doomed = [copy_deleted(name, view, desired.origin.find("migration.left")) for name in left]
        going = [step for step in doomed if step] if desired.drops_left and not desired.moves_from else []
        steps += going
        named = {step.address.name for step in going}
        if kept := [name for name in left if name not in named]:
            notes.append(_left_note(desired, view.host, kept))
    return steps, notes


def _left(
    known: Iterable[Desired], views: Mapping[str, HostView]
) -> Iterator[tuple[DesiredDomain, HostView, list[str]]]:
    """Guests, hosts that they left, and volumes that these still have of them."""
    homes = {d.address.name: d for d in known if isinstance(d, DesiredDomain) and d.run_by is None}
    shared = {(d.vm, d.address.name) for d in known if isinstance(d, DesiredVolume) and d.shared}
    for host, view in views.items():
        for name in sorted({e.owner for e in view.ledger.entries if e.kind is Kind.VOLUME} & homes.keys()):
            desired = homes[name]
            notes = (e.name for e in _notes_in(view, name))
            left = [v for v in notes if (name, v) not in shared and v in view.volumes]
            at_home = host in {desired.address.host, desired.moves_from}
            if left and not at_home and not was_handed_over(name, view):
                yield desired, view, left


def _left_note(desired: DesiredDomain, host: str, left: Iterable[str]) -> Diagnostic:
    return note(
        desired,
        "move.left-behind",
        f"{desired.address.name} is on {desired.address.host}, and left on {host}: {', '.join(left)}",
        "Its disks were copied when it moved. What is here is as old as the move.",
        "if nobody needs it any more, `migration: {left: delete}` has a plan delete it, with your consent.",
    )


def copy_deleted(name: str, view: HostView, at: Span | None) -> Step | None:
    """The step that deletes a volume that a guest left; None unless its host has it whole, and nobody needs it here."""
    volume, entry = view.volumes.get(name), view.ledger.find(Kind.VOLUME, name)
    if volume is None or entry is None or entry.owner in view.domains or _is_needed(volume, view):
        return None
    homes = [host for host, state in view.around.states.items() if _is_home(host, state, entry, view)]
    if len(homes) != 1:
        return None
    size = format_size(volume.capacity)
    summary = f"deleted with what is in it ({size}): {entry.owner} left it, and is on {homes[0]} with its own"
    address, task = Address(view.host, Kind.VOLUME, name), DeleteVolume(volume.pool, volume.name)
    return Step(address, Action.DELETE, Impact.DATA_LOSS, (), summary, fingerprint(volume), task, at=at)


def _is_home(host: str, state: HostState, entry: LedgerEntry, view: HostView) -> bool:
    """Whether a host has the guest, and a whole volume of that name that was made for it."""
    made = state.ledger(view.cluster).find(Kind.VOLUME, entry.name)
    guests = (
        d.uuid == derive_uuid(view.cluster, Kind.DOMAIN, d.name) or belongs(d.xml, view.cluster, d.uuid)
        for d in state.domains
        if d.name == entry.owner
    )
    there = any(f"{v.pool}/{v.name}" == entry.name for pool in state.pools for v in pool.volumes)
    whole = made is not None and made.complete and made.owner == entry.owner
    return host != view.host and whole and there and any(guests)


def _is_needed(volume: ObservedVolume, view: HostView) -> bool:
    """Whether a guest of the host, or another volume, stands on it."""
    texts = (xml for domain in view.state.domains for xml in (domain.xml, domain.live_xml) if xml)
    used = any(volume.path in disk.files for xml in texts for disk in disk_files(xml))
    return used or any(other.backing == volume.path for other in view.volumes.values())


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
        names = {e.owner for e in view.ledger.entries if e.kind in {Kind.VOLUME, Kind.DOMAIN}} | here.keys()
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
            files = task.files if task and leaves_now else _files_in(view, name)
            if volumes or files or (stale is not None and not leaves_now):
                left_over = LeaveDomain(name, desired.uuid, desired.address.host, volumes, files)
                address = Address(host, Kind.DOMAIN, name)
                left = leave(address, left_over, None if leaves_now else stale, desired.origin.at)
                yield replace(left, after=(move.address,) if move is not None else ())


def _is_left(stale: ObservedDomain, desired: DesiredDomain, view: HostView) -> bool:
    """Whether a definition is one of the guest's, and runs nothing, or only what went on on another host."""
    address = Address(view.host, Kind.DOMAIN, stale.name)
    ours = is_derived(address, desired.uuid, view) or belongs(stale.xml, view.cluster, desired.uuid)
    others = [d for name, d in view.around.running.get(desired.uuid, ()) if name != view.host]
    runs = any(not other.halted for other in others)
    ended = not stale.active and (
        runs or not others
    )  # else it may have run here since the other one was halted
    return ours and stale.uuid == desired.uuid and (ended or (stale.halted and runs))


def _names_in(view: HostView, vm: str) -> tuple[str, ...]:
    return tuple(entry.name for entry in _notes_in(view, vm))


def _files_in(view: HostView, vm: str) -> tuple[HostFile, ...]:
    """Files of a vm that a host notes to have, in no pool, because of a move."""
    entry = view.ledger.find(Kind.DOMAIN, vm)
    noted = entry.applied.split() if entry is not None else ()
    return tuple(what for what in get_args(HostFile) if what in noted)


def left_by(move: Step) -> Step | None:
    """The step that tidies up after one that moves a guest, as far as the latter tells; None if there is nothing to."""
    task = move.task
    if not isinstance(task, MoveDomain) or not (task.volumes or task.files):
        return None
    names = tuple(entry.name for entry in task.volumes)
    left = LeaveDomain(task.name, task.uuid, move.address.host, names, task.files)
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
    if stale is not None and stale.halted:
        parts.insert(0, "what its migration halted there is ended, for it went on")
    if task.volumes:
        which = f"{' and '.join(task.volumes)} {'is' if len(task.volumes) == 1 else 'are'}"
        parts.append(f"{task.home} notes from now on whose {which}")
    if task.files:
        held = " and ".join(HELD[what] for what in task.files)
        parts.append(
            f"{held}, which {task.home} has, too, {'is' if task.files == ('tpm',) else 'are'} deleted here"
        )
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
