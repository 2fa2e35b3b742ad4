"""Snapshots that are wanted, due or gone back to -> a plan; never a word about anybody else's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from kvmdecl.cluster import ResolvedCluster, ResolvedVm
from kvmdecl.diagnostics import Diagnostic, Severity, in_order
from kvmdecl.libvirt_xml.chains import disk_files
from kvmdecl.libvirt_xml.fingerprint import fingerprint
from kvmdecl.manifest import Snapshots
from kvmdecl.plan import Action, Change, Impact, Plan, Step
from kvmdecl.planner.verdict import planned_hosts
from kvmdecl.state import Address, HostSnapshot, Kind, Observation, ObservedDomain, ObservedSnapshot
from kvmdecl.tasks import ChangeSnapshots, RevertSnapshot
from kvmdecl.text import did_you_mean, safe_text

By = Literal["command", "policy"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall become of a vm's snapshots. `take` is the name of a new one, empty for none; `drop` those to merge.

    `revert` is the one to begin again from; `stamp` then makes the names of the new files, and with `discard` what was
    written since is deleted.
    """

    vm: str
    take: str = ""
    drop: tuple[str, ...] = ()
    by: By = "command"
    quiesce: bool = False
    revert: str = ""
    stamp: str = ""
    discard: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A vm of the manifest, and where it is."""

    vm: ResolvedVm
    host: str
    domain: ObservedDomain


def find(cluster: ResolvedCluster, observations: Mapping[str, Observation]) -> dict[str, Found]:
    """The vms of the manifest that hosts have, by name."""
    vms = {vm.uuid: vm for vm in cluster.vms}
    return {
        vms[domain.uuid].name: Found(vms[domain.uuid], host, domain)
        for host, seen in observations.items()
        if isinstance(seen, HostSnapshot)
        for domain in seen.state.domains
        if domain.uuid in vms
    }


def due(cluster: ResolvedCluster, observations: Mapping[str, Observation], now: datetime) -> tuple[Wish, ...]:
    """What the policies of the manifest ask for at this moment (UTC): one for each period, and no more than they keep.

    Only snapshots that a policy of this cluster made are counted and dropped. A guest that is off is left alone.
    """
    found = find(cluster, observations).values()
    wishes = (
        _due(each, policy, cluster.name, now)
        for each in found
        if (policy := each.vm.spec.snapshots) is not None and each.domain.active
    )
    return tuple(wish for wish in wishes if wish.take or wish.drop)


def _due(found: Found, policy: Snapshots, cluster: str, now: datetime) -> Wish:
    made = [s for s in found.domain.snapshots if (s.cluster, s.by) == (cluster, "policy")]  # oldest first
    period = _period(policy.every, now)
    taken = any(_period(policy.every, datetime.fromtimestamp(s.created, UTC)) == period for s in made)
    take = "" if taken else f"{policy.every}-{now:%Y%m%dt%H%M%Sz}"
    spare = max(0, len(made) + bool(take) - policy.keep)
    return Wish(found.vm.name, take, tuple(s.name for s in made[:spare]), "policy", policy.quiesce)


def _period(every: str, moment: datetime) -> tuple[int, ...]:
    day = (moment.year, moment.month, moment.day)
    match every:
        case "hourly":
            return (*day, moment.hour)
        case "weekly":
            return moment.isocalendar()[:2]
    return day


def make_snapshot_plan(
    cluster: ResolvedCluster, observations: Mapping[str, Observation], wishes: Iterable[Wish]
) -> Plan:
    """Plan what is wished; what cannot be done is blocked, with the reason."""
    found = find(cluster, observations)
    steps: list[Step] = []
    blocked: list[Diagnostic] = []
    wanted = sorted(wishes, key=lambda wish: wish.vm)
    for wish in wanted:
        why = next(_obstacles(wish, cluster, found.get(wish.vm)), None)
        if why is None:
            steps.append((_revert if wish.revert else _step)(wish, found[wish.vm]))
        else:
            blocked.append(why)
    return Plan(
        cluster=cluster.name,
        revision=cluster.revision,
        hosts=planned_hosts(cluster, observations),
        steps=tuple(sorted(steps, key=lambda step: step.address)),
        unchanged=len(found.keys() - {wish.vm for wish in wanted}),
        blocked=in_order(blocked),
    )


def _step(wish: Wish, found: Found) -> Step:
    domain = found.domain
    disks = tuple(_new_files(domain, wish.take)) if wish.take else ()
    quiesce = wish.quiesce and bool(wish.take) and domain.active
    task = ChangeSnapshots(domain.name, domain.uuid, wish.take, wish.by, quiesce, disks, wish.drop)
    impact = Impact.LIVE if domain.active else Impact.NONE
    at = found.vm.origin.find("snapshots")
    how = "virDomainSnapshotCreateXML, file systems frozen" if task.quiesce else "virDomainSnapshotCreateXML"
    targets = ", ".join(target for target, _ in disks)
    changes = [Change("snapshots", "snapshots", None, f"{wish.take} of {targets}", impact, how, at=at)]
    changes = changes if wish.take else []
    changes += [
        Change("snapshots", "snapshots", safe_text(name), None, impact, "virDomainBlockCommit", at=at)
        for name in wish.drop
    ]
    return _changed(found, impact, changes, task)


def _revert(wish: Wish, found: Found) -> Step:
    """The way back: new files on top of what the snapshot kept, and the others left lying or deleted."""
    domain = found.domain
    disks = tuple(_new_files(domain, f"{wish.revert}.{wish.stamp}"))
    task = RevertSnapshot(domain.name, domain.uuid, wish.revert, disks, wish.discard)
    impact = Impact.DATA_LOSS if wish.discard else Impact.NONE
    targets = ", ".join(target for target, _ in disks)
    since = "deleted" if wish.discard else "kept in files of its own"
    after = f"as in {safe_text(wish.revert)}: {targets}; what was written since is {since}"
    how, at = "virDomainDefineXMLFlags", found.vm.origin.find("snapshots")
    change = Change("disks", "snapshots", "as they are", after, impact, how, at=at)
    return _changed(found, impact, [change], task)


def _changed(
    found: Found, impact: Impact, changes: list[Change], task: ChangeSnapshots | RevertSnapshot
) -> Step:
    domain = found.domain
    address = Address(found.host, Kind.DOMAIN, domain.name)
    return Step(
        *(address, Action.UPDATE, impact, tuple(changes), "", fingerprint(domain)),
        task,
        at=found.vm.origin.at,
    )


def _new_files(domain: ObservedDomain, name: str) -> Iterator[tuple[str, str]]:
    """Target and new top layer of each disk: the volume's own file with the snapshot's name behind an `@`."""
    for disk in disk_files(domain.live_xml or domain.xml):
        if disk.snapped:
            yield disk.target, f"{disk.files[0].partition('@')[0]}@{name}"


def _obstacles(wish: Wish, cluster: ResolvedCluster, found: Found | None) -> Iterator[Diagnostic]:
    if found is None:
        yield _obstacle(
            "snapshot.not-found",
            f"{wish.vm} is on no host that answered",
            "Only a guest that exists has disks to take a snapshot of.",
            "apply the manifest first, or bring its host back.",
            wish,
        )
        return
    known = {snapshot.name: snapshot for snapshot in found.domain.snapshots}
    if found.domain.managed_save:
        yield _obstacle(
            "snapshot.saved-state",
            f"{wish.vm} has a saved state",
            "Resumed from it, the guest would go on writing to the files that it had then.",
            "start it, or drop the state with `virsh managedsave-remove`.",
            wish,
        )
    if wish.drop and not found.domain.active:
        yield _obstacle(
            "snapshot.not-running",
            f"{wish.vm} is not running",
            "It is QEMU that merges snapshots, while the guest runs.",
            "start it.",
            wish,
        )
    yield from _revert_obstacles(wish, cluster, found.domain)
    if wish.take in known:
        yield _obstacle(
            "snapshot.exists",
            f"{wish.vm} has a snapshot {wish.take} already",
            "It is not replaced.",
            "choose another name.",
            wish,
        )
    if wish.take and not any(True for _ in _new_files(found.domain, wish.take)):
        yield _obstacle(
            "snapshot.no-disk",
            f"{wish.vm} has no disk that a snapshot could take along",
            "Drives, read-only and shared disks, and disks that are no files are left out.",
            "take a backup from inside of the guest.",
            wish,
        )
    if wish.take and any(disk.encrypted for disk in disk_files(found.domain.live_xml or found.domain.xml)):
        yield _obstacle(
            "snapshot.encrypted",
            f"{wish.vm} has an encrypted disk",
            "What it writes after a snapshot would lie in a file that is not encrypted.",
            "take a backup from inside of the guest.",
            wish,
        )
    for name in wish.drop:
        if (snapshot := known.get(name)) is None or snapshot.cluster != cluster.name:
            yield _not_ours(wish, name, known)


def _revert_obstacles(wish: Wish, cluster: ResolvedCluster, domain: ObservedDomain) -> Iterator[Diagnostic]:
    """Back is one step at a time: what a snapshot kept is known to be untouched while others stand on it only."""
    if not wish.revert:
        return
    if domain.active:
        yield _obstacle(
            "snapshot.running",
            f"{wish.vm} is running",
            "The disks of a guest are not exchanged under it.",
            f"shut it down first (`state: stopped`, or `virsh shutdown {wish.vm}`).",
            wish,
        )
    known = {snapshot.name: snapshot for snapshot in domain.snapshots}
    snapshot = known.get(wish.revert)
    if snapshot is None or snapshot.cluster != cluster.name:
        yield _not_ours(wish, wish.revert, known)
        return
    later = [other.name for other in domain.snapshots[domain.snapshots.index(snapshot) + 1 :]]
    if later:
        yield _obstacle(
            "snapshot.not-newest",
            f"{wish.vm} has snapshots that were taken after {safe_text(wish.revert)}: {safe_text(', '.join(later))}",
            "They stand on what the guest wrote since, which would not be beneath its disks any more.",
            "revert to the newest one, or delete it first: what was written stays, and the one before is the newest.",
            wish,
        )


def _not_ours(wish: Wish, name: str, known: Mapping[str, ObservedSnapshot]) -> Diagnostic:
    """A snapshot that is not there, or is somebody else's."""
    if name in known:
        return _obstacle(
            "snapshot.not-ours",
            f"snapshot {safe_text(name)} of {wish.vm} was made by somebody else",
            "kvmdecl deletes, and goes back to, only what it made itself for this cluster.",
            "use virsh for this one.",
            wish,
        )
    return _obstacle(
        "snapshot.unknown",
        f"{wish.vm} has no snapshot {safe_text(name)}",
        f"It has {safe_text(', '.join(known))}." if known else "It has none.",
        did_you_mean(name, known) or "`kvmdecl snapshot list` names those that there are.",
        wish,
    )


def _obstacle(code: str, summary: str, cause: str, hint: str, wish: Wish) -> Diagnostic:
    return Diagnostic(code, summary, cause=cause, hint=hint, severity=Severity.ERROR, subject=f"vm/{wish.vm}")
