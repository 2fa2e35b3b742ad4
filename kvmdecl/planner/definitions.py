"""Files from which a cluster manager starts guests: written, compared by what was noted of them, never deleted here.

What is in a file cannot be seen by a connection that only reads. The ledger knows what was declared when it was
written, and when the file was changed last by then; a file that was changed since is written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.libvirt_xml.definition import Written, file_text, noted
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.protection import is_protected
from kvmdecl.plan import Action, Change, ChangeOrigin, Impact
from kvmdecl.planner.replaced import replaced_disk
from kvmdecl.planner.verdict import AS_DECLARED, HostView, Verdict, blocked, note, step
from kvmdecl.state import (
    DEFINITION_SUFFIX,
    Absent,
    Address,
    DesiredDefinition,
    DesiredState,
    Kind,
    LedgerEntry,
    ObservedDomain,
    ObservedVolume,
)
from kvmdecl.tasks import DeleteDefinition, WriteDefinition

_HOW = "virStorageVolUpload"


def plan_definition(desired: DesiredDefinition, view: HostView) -> Verdict:
    """Compare a declared definition with what the ledger knows of its file."""
    if desired.bound_to:
        return _of_one_host(desired)
    observed = view.volumes.get(desired.address.name)
    entry = view.ledger.find(Kind.VOLUME, desired.address.name)
    if entry is None and desired.shared:
        entry = view.around.entry(desired.address.name)
        observed = observed or view.around.volume(desired.address.name)
    if observed is None:
        return _missing(desired, entry, view)
    if entry is None:
        return _take_over(desired, observed, view)
    if not entry.complete:
        summary = (
            f"{_describe(desired)}; an earlier run was interrupted while writing it, and this finishes it"
        )
        return _write(desired, Action.UPDATE, observed, summary)
    return _compare(desired, observed, noted(entry.applied), view)


def _of_one_host(desired: DesiredDefinition) -> Verdict:
    return blocked(
        desired,
        "plan.bound-definition",
        f"the definition of {desired.vm} differs by host, and its hosts share the pool {desired.pool}",
        f"It names CPUs, cells or devices of {desired.bound_to}, and {desired.by} starts it from one file everywhere.",
        "keep definitions in a pool that each host has to itself, or leave `policy`, `bind` and such out.",
        key="cpus",
    )


def plan_absent_definition(absent: Absent, view: HostView) -> Verdict:
    """The file of a vm that shall not exist: deleted once nobody runs that any more."""
    name = absent.address.name
    observed, entry = view.volumes.get(name), view.ledger.find(Kind.VOLUME, name)
    if observed is None or entry is None:
        return AS_DECLARED
    if view.around.running.get(absent.uuid) or not view.around.complete:
        why = "the guest runs" if view.around.complete else "the guest may run on a host that did not answer"
        told = note(
            absent,
            "plan.still-managed",
            f"{absent.address} stays for now: {why}",
            f"Without it {absent.run_by} would take the guest for stopped, and start it elsewhere as well.",
            f"take its resource out of {absent.run_by}, then apply again.",
        )
        return Verdict(notes=(told,))
    if is_protected(noted(entry.applied).xml or ""):
        return blocked(
            absent,
            "plan.protected",
            f"{absent.address} stays: {entry.owner} is protected",
            "What was written of it says so, whatever the manifest says now.",
            "first apply it with `protect: false`, then with `state: absent`.",
            key="state",
        )
    pool, _, file = name.partition("/")
    task = DeleteDefinition(pool, file, entry.owner, absent.uuid, absent.run_by)
    summary = f"definition of {entry.owner}, which {absent.run_by} started it from, deleted; its disks stay"
    return step(absent, Action.DELETE, task, observed, summary)


def left_behind(desired: DesiredState, views: Mapping[str, HostView]) -> Iterator[Diagnostic]:
    """Files of vms that no cluster manager runs by the manifest: told, and left, for it may still read them."""
    declared = {resource.address for resource in desired.resources}
    unknown = {*desired.unplaced, *desired.frozen}
    for view in views.values():
        for entry in view.ledger.entries:
            pool, _, file = entry.name.partition("/")
            is_file = entry.kind is Kind.VOLUME and file == f"{entry.owner}{DEFINITION_SUFFIX}"
            address = Address(view.host, Kind.VOLUME, entry.name)
            if not is_file or address in declared or entry.owner in unknown or entry.name not in view.volumes:
                continue
            yield Diagnostic(
                "plan.definition-left",
                f"{address} stays, from which a cluster manager started {entry.owner}",
                cause="An agent that finds no file takes its guest for stopped, and lets it start elsewhere as well.",
                hint="once the cluster manager has forgotten the guest, delete it: "
                f"`virsh vol-delete --pool {pool} {file}`.",
                severity=Severity.WARNING,
                subject=str(address),
            )


def _missing(desired: DesiredDefinition, entry: LedgerEntry | None, view: HostView) -> Verdict:
    pool = view.pools.get(desired.pool)
    if entry is not None and entry.complete:
        if pool is not None and not pool.active:
            return AS_DECLARED  # as far as anybody can know before the pool is started
        summary = f"{_describe(desired)}; it is gone, and is written again"
        return _write(desired, Action.CREATE, None, summary, lost=True)
    return _write(desired, Action.CREATE, None, _describe(desired))


def _take_over(desired: DesiredDefinition, observed: ObservedVolume, view: HostView) -> Verdict:
    """A file that somebody else put there, or whose maker does not answer or is gone: what it says decides."""
    if desired.shared and not view.around.complete:
        return Verdict(
            notes=(
                note(
                    desired,
                    "plan.definition-unknown",
                    f"the definition of {desired.vm} is left alone: a host that did not answer may have written it",
                    "What is in a file on storage that hosts share is noted on the host that wrote it.",
                    "bring the host back, or take it out of the manifest if it is gone for good.",
                ),
            )
        )
    change = Change(
        "content", "definition", "nobody's", "as declared", _impact(desired, view), _HOW,
        f"written if it defines {desired.vm} and no other guest; {_next_start(desired)}", at=desired.origin.at,
    )  # fmt: skip
    return _write(desired, Action.ADOPT, observed, "", (change,), take_over=True)


def _compare(
    desired: DesiredDefinition, observed: ObservedVolume, written: Written, view: HostView
) -> Verdict:
    changes = tuple(_declared_changes(desired, written.xml, view)) if written.xml is not None else ()
    if lost := [change for change in changes if change.impact is Impact.DATA_LOSS]:
        return replaced_disk(desired, desired.vm, lost[0])
    if written.xml is None or observed.stamp != written.stamp:
        is_known = written.xml is not None
        outside = Change(
            "content", "definition", "changed by others" if is_known else "nothing readable", "as declared",
            _impact(desired, view), _HOW, _next_start(desired), at=desired.origin.at,
            origin=ChangeOrigin.DRIFT if is_known else ChangeOrigin.MANIFEST,
        )  # fmt: skip
        changes = (outside, *changes)
    return _write(desired, Action.UPDATE, observed, "", changes) if changes else AS_DECLARED


def _declared_changes(desired: DesiredDefinition, base: str, view: HostView) -> tuple[Change, ...]:
    """What the file says otherwise from now on. What is changed while the guest runs is told of the guest itself."""
    if base == desired.xml:
        return ()
    running = _running(desired, view)
    before = ObservedDomain(
        desired.vm, desired.uuid, file_text(base), running.live_xml if running else None, running is not None,
        persistent=False, autostart=False, managed_save=False,
    )  # fmt: skip
    found = assess(desired.xml, base, before, desired.origin).changes
    return tuple(_in_file(change, desired) for change in found)


def _in_file(change: Change, desired: DesiredDefinition) -> Change:
    if change.impact in {Impact.NEXT_BOOT, Impact.RESTART}:
        why = f"{change.why}; {_next_start(desired)}" if change.why else _next_start(desired)
        return replace(change, how=_HOW, why=why)
    impact = change.impact if change.impact is Impact.DATA_LOSS else Impact.NONE
    return replace(change, how=_HOW, impact=impact, why=change.why if impact else "")


def _impact(desired: DesiredDefinition, view: HostView) -> Impact:
    return Impact.NEXT_BOOT if _running(desired, view) else Impact.NONE


def _running(desired: DesiredDefinition, view: HostView) -> ObservedDomain | None:
    """The guest as it runs now, on whichever host."""
    return next((domain for _, domain in view.around.running.get(desired.uuid, ())), None)


def _next_start(desired: DesiredDefinition) -> str:
    return f"at its next start by {desired.by}"


def _describe(desired: DesiredDefinition) -> str:
    return f"definition of {desired.vm}, which {desired.by} starts it from"


def _write(
    desired: DesiredDefinition,
    action: Action,
    observed: ObservedVolume | None,
    summary: str,
    changes: tuple[Change, ...] = (),
    *,
    take_over: bool = False,
    lost: bool = False,
) -> Verdict:
    pool, _, name = desired.address.name.partition("/")
    readers = tuple(host for host in desired.readers if host != desired.address.host)
    task = WriteDefinition(
        pool, name, desired.vm, desired.uuid, desired.xml, desired.by, take_over, lost, readers
    )
    after = (Address(desired.address.host, Kind.POOL, pool), *desired.needs)
    return step(desired, action, task, observed, summary, changes=changes, after=after)
