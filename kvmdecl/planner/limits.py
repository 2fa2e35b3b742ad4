"""`limits:` what a plan does too much of. It is counted over the whole plan, not for each wave anew."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from kvmdecl.cluster import ResolvedCluster
from kvmdecl.diagnostics import Diagnostic, Span
from kvmdecl.manifest import DeleteLimit, GuestLimit
from kvmdecl.names import format_size
from kvmdecl.plan import Action, Impact, Step
from kvmdecl.planner.verdict import HostView
from kvmdecl.state import Address, Desired, Existing, FileContent, Kind
from kvmdecl.tasks import CreateVolume, DeleteVolume
from kvmdecl.text import safe_text

_Part = Callable[[Address], str | None]
"""The part of the cluster that an object is in, None for none."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """One line of `limits:`: its key, what it says, and which parts it is about."""

    key: str
    amount: str
    part: _Part
    where: str


def limit_faults(
    cluster: ResolvedCluster,
    steps: Iterable[Step],
    desired: Iterable[Desired],
    views: Mapping[str, HostView],
) -> Iterator[Diagnostic]:
    """What goes beyond the limits of a manifest."""
    spec, steps = cluster.limits, tuple(steps)
    there = {
        resource.address: resource.origin.at for resource in desired if not isinstance(resource, Existing)
    }
    guests = {address: at for address, at in there.items() if address.kind is Kind.DOMAIN}
    labels = {host.name: host.labels for host in cluster.hosts}
    for name, limit, counts, base, doing in (
        ("deletes", spec.deletes, _deletes, there, "delete {} objects"),
        ("restarts", spec.restarts, _restarts, guests, "restart or shut down {} guests"),
        ("migrations", spec.migrations, _moves, guests, "move {} guests"),
    ):
        touched = [step.address for step in steps if counts(step)]
        for bound in _bounds(name, limit, guests, labels) if touched else ():
            for part, count, most in _beyond(bound, touched, {*base, *touched}):
                where = f"{bound.where}{safe_text(part)}"
                yield _fault(cluster, bound, doing.format(count) + where, f"{bound.amount} is {most} here")
    yield from data_faults(cluster, steps, views)


def data_faults(
    cluster: ResolvedCluster, steps: Iterable[Step], views: Mapping[str, HostView]
) -> Iterator[Diagnostic]:
    """What more bytes are written or deleted than may be."""
    spec, steps = cluster.limits.data, tuple(steps)
    for key, most, doing, size in (
        ("written", spec.written, "write", _written),
        ("deleted", spec.deleted, "delete", _deleted),
    ):
        total = sum(size(step, views.get(step.address.host)) for step in steps)
        if total > most:
            bound = _Bound(f"data.{key}", format_size(most), str, "")
            yield _fault(cluster, bound, f"{doing} {format_size(total)}", f"at most {bound.amount}")


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


def _beyond(
    bound: _Bound, touched: Iterable[Address], base: Iterable[Address]
) -> Iterator[tuple[str, int, int]]:
    """Parts of which too much is touched: how much that is, and how much it may be."""
    counts = Counter(part for address in touched if (part := bound.part(address)) is not None)
    there = Counter(part for address in base if (part := bound.part(address)) is not None)
    for part, count in sorted(counts.items()):
        if count > (most := _most(bound.amount, there[part])):
            yield part, count, most


def _most(amount: str, there: int) -> int:
    if not amount.endswith("%"):
        return int(amount)
    share = int(amount[:-1])
    return max(1, there * share // 100) if share else 0


def _deletes(step: Step) -> bool:
    return step.action is Action.DELETE


def _restarts(step: Step) -> bool:
    """A guest that is deleted counts as that."""
    stops = step.impact in {Impact.RESTART, Impact.DOWNTIME}
    return stops and step.address.kind is Kind.DOMAIN and step.action not in {Action.CREATE, Action.DELETE}


def _moves(step: Step) -> bool:
    return step.impact is Impact.MIGRATE or step.action.value == "move"


def _written(step: Step, view: HostView | None) -> int:
    task = step.task
    if not isinstance(task, CreateVolume):
        return 0
    if isinstance(task.content, FileContent):
        return task.content.size or 0
    if task.clone is None:
        return 0
    source = view.volumes.get(task.clone) if view else None
    return source.capacity if source else task.capacity or 0


def _deleted(step: Step, view: HostView | None) -> int:
    if not isinstance(step.task, DeleteVolume):
        return 0
    volume = view.volumes.get(step.address.name) if view else None
    return volume.capacity if volume else 0


def _fault(cluster: ResolvedCluster, bound: _Bound, does: str, may: str) -> Diagnostic:
    return Diagnostic(
        code="limits.exceeded",
        summary=f"the plan would {does}, and `limits.{bound.key}` does not allow that: {may}",
        at=cluster.origin.find(f"limits.{bound.key}"),
        cause="Nothing of such a plan is carried out, not even one wave of it.",
        hint="look whether all of it is meant; if it is, raise the limit in the manifest, so that it is reviewed, too.",
    )
