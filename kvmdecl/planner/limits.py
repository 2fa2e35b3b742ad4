"""`limits:` what a plan does too much of. It is counted over the whole plan, not for each wave anew."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kvmdecl.cluster import ResolvedCluster
from kvmdecl.diagnostics import Diagnostic, Span
from kvmdecl.manifest import DeleteLimit, GuestLimit
from kvmdecl.names import format_size, share_of
from kvmdecl.plan import Action, Fate, Impact, PlannedLimit, Prospect, Step
from kvmdecl.planner.verdict import HostView
from kvmdecl.state import Address, Desired, Existing, FileContent, Kind
from kvmdecl.tasks import CreateVolume, DeleteVolume, MoveDomain
from kvmdecl.text import safe_text

_Part = Callable[[Address], str | None]
"""The part of the cluster that an object is in, None for none."""

_Places = dict[str, set[Address]]
"""Where objects are: each at one place, but a guest that moves, which is at both ends of its way."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """One line of `limits:`: its key, what it says, and which parts it is about."""

    key: str
    amount: str
    part: _Part
    where: str


_DOING = {
    "deletes": "delete {} objects",
    "restarts": "restart or shut down {} guests",
    "migrations": "move {} guests",
    "data.written": "write {}",
    "data.deleted": "delete {}",
    "rollout": "have a cluster manager take down {} guests at once",
}


AT_ONCE = "rollout.max_unavailable"
"""A limit that is none of `limits:`; steps keep to it by waiting, what a cluster manager does cannot."""


@dataclass(frozen=True, slots=True)
class Managed:
    """Guests that a cluster manager runs: where they are, and those that are deleted, taken down or moved by a plan."""

    guests: Mapping[Address, Span | None]
    touched: Mapping[str, tuple[Address, ...]]


def managed_guests(prospects: Iterable[Prospect], deleted: Collection[str]) -> Managed:
    """What becomes of guests, as limits count it; a guest that is `deleted` counts as that alone."""
    told = [each for each in prospects if each.source or each.dest or each.vm in deleted]
    fates = {fate: [each for each in told if each.fate is fate and each.vm not in deleted] for fate in Fate}
    touched = {
        "deletes": [each for each in told if each.vm in deleted],
        "restarts": [*fates[Fate.RESTART], *fates[Fate.STOP]],
        "migrations": fates[Fate.MIGRATE],
    }
    return Managed(
        {address: each.at for each in told for address in _seats(each)},
        {name: tuple(address for each in some for address in _seats(each)) for name, some in touched.items()},
    )


def _seats(prospect: Prospect) -> tuple[Address, ...]:
    hosts = dict.fromkeys((prospect.source or prospect.dest, prospect.dest or prospect.source))
    return tuple(Address(host, Kind.DOMAIN, prospect.vm) for host in hosts)


NOBODY = managed_guests((), ())
"""Of a plan without a cluster manager."""


def limit_faults(
    cluster: ResolvedCluster,
    steps: Iterable[Step],
    desired: Iterable[Desired],
    views: Mapping[str, HostView],
) -> Iterator[Diagnostic]:
    """What goes beyond the limits of a manifest."""
    return faults_of(limits_met(cluster, tuple(steps), desired, views))


def data_faults(
    cluster: ResolvedCluster, steps: Iterable[Step], views: Mapping[str, HostView]
) -> Iterator[Diagnostic]:
    """What more bytes are written or deleted than may be."""
    return faults_of(_data_met(cluster, tuple(steps), views))


def limits_met(
    cluster: ResolvedCluster,
    steps: Sequence[Step],
    desired: Iterable[Desired],
    views: Mapping[str, HostView],
    managed: Managed = NOBODY,
) -> Iterator[PlannedLimit]:
    """How near a plan comes to each limit of a manifest, in each part of the cluster that it touches."""
    spec = cluster.limits
    there = {
        resource.address: resource.origin.at for resource in desired if not isinstance(resource, Existing)
    }
    guests = {address: at for address, at in there.items() if address.kind is Kind.DOMAIN} | dict(
        managed.guests
    )
    labels = {host.name: host.labels for host in cluster.hosts}
    for name, limit, counts, base, key in (
        ("deletes", spec.deletes, _deletes, there, str),
        ("restarts", spec.restarts, _restarts, guests, _name),
        ("migrations", spec.migrations, _moves, guests, _name),
    ):
        ends = (at for step in steps if counts(step) for at in _ends(step))
        touched = _places((*ends, *managed.touched[name]), key)
        both = _places((*base, *(at for ends in touched.values() for at in ends)), key) if touched else {}
        for bound in _bounds(name, limit, guests, labels) if touched else ():
            at = cluster.origin.find(f"limits.{bound.key}")
            for part, count, most in _counted(bound, touched, both):
                yield PlannedLimit(bound.key, bound.amount, bound.where + safe_text(part), count, most, at)
    yield from _data_met(cluster, steps, views)
    yield from _at_once(cluster, managed)


def _at_once(cluster: ResolvedCluster, managed: Managed) -> Iterator[PlannedLimit]:
    """A cluster manager is told all at once: no guest of it waits until another one is up again."""
    most = cluster.rollout.max_unavailable if cluster.rollout else None
    if most is None:
        return
    down, entries = _places(managed.touched["restarts"], _name), _entries(managed.guests)
    at = cluster.origin.find("rollout.max_unavailable")
    for entry, count in sorted(_in_parts(down, entries.get).items()):
        yield PlannedLimit(AT_ONCE, str(most), f" of {safe_text(entry)}", count, most, at)


def _data_met(
    cluster: ResolvedCluster, steps: Sequence[Step], views: Mapping[str, HostView]
) -> Iterator[PlannedLimit]:
    spec = cluster.limits.data
    for key, most, size in (
        ("data.written", spec.written, _written),
        ("data.deleted", spec.deleted, _deleted),
    ):
        if total := sum(size(step, views.get(step.address.host)) for step in steps):
            at = cluster.origin.find(f"limits.{key}")
            yield PlannedLimit(key, format_size(most), "", total, most, at)


def nearest(limits: Iterable[PlannedLimit]) -> tuple[PlannedLimit, ...]:
    """Of each limit the part that comes nearest to it, or goes farthest beyond."""
    found: dict[str, PlannedLimit] = {}
    for each in limits:
        first = found.setdefault(each.key, each)
        if each.count * first.most > first.count * each.most:
            found[each.key] = each
    return tuple(found.values())


def faults_of(limits: Iterable[PlannedLimit]) -> Iterator[Diagnostic]:
    """What is beyond them."""
    for limit in limits:
        if limit.exceeded:
            yield _fault(limit)


def _bounds(
    name: str,
    limit: DeleteLimit | GuestLimit,
    guests: Mapping[Address, Span | None],
    labels: Mapping[str, Mapping[str, str]],
) -> Iterator[_Bound]:
    yield _Bound(f"{name}.total", limit.total, lambda _address: "", "")
    if limit.host is not None:
        yield _Bound(f"{name}.host", limit.host, lambda address: address.host, " on ")
    if limit.entry is not None:
        yield _Bound(f"{name}.entry", limit.entry, _entries(guests).get, " of ")
    for label, amount in limit.label.items():
        yield _Bound(f"{name}.label.{label}", amount, _with_label(label, labels), f" on hosts with {label} ")


def _with_label(label: str, labels: Mapping[str, Mapping[str, str]]) -> _Part:
    return lambda address: labels.get(address.host, {}).get(label)


def _entries(guests: Mapping[Address, Span | None]) -> Mapping[Address, str]:
    """The entry of each guest: those of one are written at one place."""
    sizes = Counter(guests.values())
    return {
        address: re.sub(r"-\d+$", "", address.name) if at is not None and sizes[at] > 1 else address.name
        for address, at in guests.items()
    }


def _counted(bound: _Bound, touched: _Places, there: _Places) -> Iterator[tuple[str, int, int]]:
    """Parts that are touched: of how much, and of how much they may be."""
    counts, base = (_in_parts(places, bound.part) for places in (touched, there))
    for part, count in sorted(counts.items()):
        yield part, count, share_of(bound.amount, base[part])


def _in_parts(places: _Places, part: _Part) -> Counter[str]:
    """How many objects are in each part, wholly or with one end."""
    parts = ({part(address) for address in ends} for ends in places.values())
    return Counter(each for found in parts for each in found if each is not None)


def _places(addresses: Iterable[Address], key: Callable[[Address], str]) -> _Places:
    found: defaultdict[str, set[Address]] = defaultdict(set)
    for address in addresses:
        found[key(address)].add(address)
    return found


def _name(guest: Address) -> str:
    return guest.name


def _ends(step: Step) -> tuple[Address, Address]:
    """Where the object is before and after: twice the same, but for a guest that moves."""
    return step.seat, step.address


def _deletes(step: Step) -> bool:
    return step.action is Action.DELETE


def _restarts(step: Step) -> bool:
    """A guest that is deleted counts as that."""
    stops = step.impact in {Impact.RESTART, Impact.DOWNTIME}
    return stops and step.address.kind is Kind.DOMAIN and step.action not in {Action.CREATE, Action.DELETE}


def _moves(step: Step) -> bool:
    """Not what tidies up where a guest was."""
    is_guest = step.address.kind is Kind.DOMAIN
    return (step.impact is Impact.MIGRATE and is_guest) or isinstance(step.task, MoveDomain)


def _written(step: Step, view: HostView | None) -> int:
    task = step.task
    if not isinstance(task, CreateVolume):
        return 0
    if isinstance(task.content, FileContent):
        return task.content.size or 0
    if task.moves_from:
        return task.capacity or 0
    if task.clone is None:
        return 0
    source = view.volumes.get(task.clone) if view else None
    return source.capacity if source else task.capacity or 0


def _deleted(step: Step, view: HostView | None) -> int:
    if not isinstance(step.task, DeleteVolume):
        return 0
    volume = view.volumes.get(step.address.name) if view else None
    return volume.capacity if volume else 0


def _fault(limit: PlannedLimit) -> Diagnostic:
    key, is_data = limit.key, limit.key.startswith("data.")
    doing = _DOING[key if is_data else key.partition(".")[0]]
    does = doing.format(format_size(limit.count) if is_data else limit.count)
    said = key if key == AT_ONCE else f"limits.{key}"
    may = f"at most {limit.amount}" if is_data or key == AT_ONCE else f"{limit.amount} is {limit.most} here"
    return Diagnostic(
        code="limits.exceeded",
        summary=f"the plan would {does}{limit.where}, and `{said}` does not allow that: {may}",
        at=limit.at,
        cause="Nothing of such a plan is carried out, not even one wave of it.",
        hint="look whether all of it is meant; if it is, raise the limit in the manifest, so that it is reviewed, too.",
    )
