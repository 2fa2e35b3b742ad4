"""Pools: made and started, never changed in place, undefined without touching what is in them."""

from __future__ import annotations

from dataclasses import replace

from kvmdecl.libvirt_xml.chains import guests_on
from kvmdecl.libvirt_xml.fields import FieldDifference, differences
from kvmdecl.libvirt_xml.marker import belongs
from kvmdecl.libvirt_xml.trace import pool_changed_outside
from kvmdecl.plan import Action, Impact
from kvmdecl.planner.outside import outside
from kvmdecl.planner.verdict import (
    AS_DECLARED,
    HostView,
    Verdict,
    blocked,
    not_ours,
    note,
    power_changes,
    step,
)
from kvmdecl.state import Absent, Address, DesiredPool, Kind, LedgerEntry, ObservedPool
from kvmdecl.tasks import CreatePool, DeletePool, UpdatePool

_FORMATTED = "defined, its devices formatted unless they hold anything, and started"
_KEYS = {
    "@type": "type",
    "source/device": "devices",
    "source/host": "server",
    "source/dir@path": "export",
    "source/name": "source",
    "source/format@type": "format",
    "source/protocol@ver": "protocol_version",
    "source/initiator/iqn@name": "initiator",
    "source/adapter@name": "adapter",
}
"""Keys of the manifest by path in a pool's definition; the others are about where it is mounted."""


def plan_pool(desired: DesiredPool, view: HostView) -> Verdict:
    """Compare a declared pool with the host's pool of that name."""
    observed = view.pools.get(desired.address.name)
    name, uuid = desired.address.name, desired.uuid
    if observed is None:
        task = CreatePool(name, uuid, desired.xml, desired.autostart, desired.build)
        if desired.build:
            return step(
                desired, Action.CREATE, task, None, _FORMATTED, impact=Impact.DATA_LOSS, after=desired.needs
            )
        return step(desired, Action.CREATE, task, None, "defined, built and started", after=desired.needs)
    found = differences(desired.xml, None, observed.xml, Kind.POOL)
    if observed.uuid != uuid:
        return _foreign(desired, observed, differs=any(difference.path != "uuid" for difference in found))
    if found:
        first = found[0]
        return blocked(
            desired,
            "plan.pool-changed",
            f"the {first.path} of pool {name} on {desired.address.host} would change: {first.before} -> {first.after}",
            "A pool cannot move: its volumes, and the guests that use them, would stay where they are.",
            "declare a second pool and move the disks, or put the manifest back.",
            key=_KEYS.get(first.path.partition("[")[0], "path"),
        )
    changes = power_changes(desired, observed, "virStoragePool")
    noted = view.ledger.find(Kind.POOL, name)
    notes = tuple(outside(desired, _changed_outside(desired, observed, noted, view)))
    if not changes:
        return Verdict(notes=notes)
    start = not observed.active
    unbuilt = start and desired.build and noted is None
    task_ = UpdatePool(name, uuid, start, desired.autostart, unbuilt)
    summary, impact = (_FORMATTED, Impact.DATA_LOSS) if unbuilt else ("", None)
    verdict = step(
        desired, Action.UPDATE, task_, observed, summary, changes=changes, impact=impact, after=desired.needs
    )
    return replace(verdict, notes=notes)


def _changed_outside(
    desired: DesiredPool, observed: ObservedPool, noted: LedgerEntry | None, view: HostView
) -> tuple[FieldDifference, ...]:
    return pool_changed_outside(noted.applied, observed.xml, desired.xml, view.libvirt) if noted else ()


def _foreign(desired: DesiredPool, observed: ObservedPool, *, differs: bool) -> Verdict:
    """A pool that exists already may be used as it is: it holds what others put there, and is never changed."""
    if differs or not observed.active:
        return not_ours(desired, "pool")
    summary = f"pool {desired.address.name} on {desired.address.host} was there before and is used as it is"
    return Verdict(
        notes=(note(desired, "plan.foreign-pool", summary, "It will never be changed or deleted."),)
    )


def plan_absent_pool(absent: Absent, uuid: str, view: HostView) -> Verdict:
    """A pool that shall not exist: its definition goes, its files stay."""
    observed = view.pools.get(absent.address.name)
    if observed is None:
        return AS_DECLARED
    if observed.uuid != uuid:
        return not_ours(absent, "pool")
    users = list(guests_on(observed, view.state.domains))
    strangers = [d.name for d in users if not belongs(d.xml, view.cluster, d.uuid)]
    if strangers:
        return blocked(
            absent,
            "plan.pool-in-use",
            f"pool {observed.name} on {view.host} is in use by {', '.join(sorted(strangers))}",
            "That is not of this cluster. To stop such a pool unmounts or disconnects what it brought to the host.",
            "shut these guests down or move their disks first, or keep the pool.",
        )
    task = DeletePool(observed.name, observed.uuid)
    return step(
        absent,
        Action.DELETE,
        task,
        observed,
        "stopped and undefined; the files in it stay",
        impact=Impact.NONE,
        after=tuple(Address(view.host, Kind.DOMAIN, domain.name) for domain in users),
    )
