"""Guests that a cluster manager starts and stops: changed while they run, and nothing else is done to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kvmdecl.diagnostics import Diagnostic, Note
from kvmdecl.libvirt_xml.definition import noted
from kvmdecl.libvirt_xml.impact import Assessment, assess
from kvmdecl.libvirt_xml.marker import read_marker
from kvmdecl.libvirt_xml.overlay import overlay
from kvmdecl.plan import Action, Change, Impact
from kvmdecl.planner.outside import paths, value
from kvmdecl.planner.replaced import replaced_disk
from kvmdecl.planner.verdict import AS_DECLARED, HostView, Verdict, blocked, note, step
from kvmdecl.state import Definition, DesiredDomain, Kind, ObservedDomain
from kvmdecl.tasks import HandOverDomain, UpdateDomain


def plan_managed(
    desired: DesiredDomain, run_by: Definition, observed: ObservedDomain, view: HostView
) -> Verdict:
    """Compare a guest that runs without a definition of libvirt's with what is declared.

    What cannot change while it runs is in its file, and the plan of that tells it.
    """
    if len(there := view.around.running.get(desired.uuid, ())) > 1:
        return Verdict(notes=(_on_two_hosts(desired, run_by, [host for host, _ in there]),))
    base = _base(run_by, view)
    before = replace(observed, xml=overlay(observed.xml, base or desired.xml))
    assessment = assess(desired.xml, base, before, desired.origin)
    notes = tuple(_pending(desired, run_by, assessment))
    changes = tuple(change for change in assessment.changes if change.impact is Impact.LIVE)
    if not changes:
        return Verdict(notes=notes) if notes else AS_DECLARED
    task = UpdateDomain(
        desired.address.name, desired.uuid, desired.xml, base, assessment.live, run_by.by, run_by.volume
    )
    verdict = step(desired, Action.UPDATE, task, observed, "", changes=changes, after=desired.needs)
    return replace(verdict, notes=notes)


def plan_hand_over(
    desired: DesiredDomain, run_by: Definition, observed: ObservedDomain, view: HostView
) -> Verdict:
    """Take libvirt's definition away from a guest, which goes on running; its file is there by then.

    What cannot change while it runs it gets at its next start.
    """
    name, marker = desired.address.name, read_marker(observed.xml)
    if why := _why_not_yet(run_by, view):
        return blocked(
            desired,
            "plan.hand-over",
            f"domain {name} on {desired.address.host} cannot be handed over to {run_by.by}: {why}",
            "Without its file on every host that may run it, nobody could start the guest there.",
            "see docs/ha.md; until then the guest goes on as it is.",
            key="ha",
        )
    base = marker.applied if marker else None
    assessment = assess(desired.xml, base, observed, desired.origin)
    changes = tuple(_at_next_start(change, run_by) for change in assessment.changes)
    if lost := [change for change in changes if change.impact is Impact.DATA_LOSS]:
        return replaced_disk(desired, name, lost[0])
    task = HandOverDomain(name, desired.uuid, desired.xml, base, assessment.live, run_by.by, run_by.volume)
    changes += tuple(_hand_over_changes(desired, run_by, observed))
    return step(desired, Action.UPDATE, task, observed, "", changes=changes, after=desired.needs)


def _why_not_yet(run_by: Definition, view: HostView) -> str:
    if not run_by.pool:
        return "its file is in no pool of the manifest"
    return "" if view.around.complete else "not all hosts answer"


def _at_next_start(change: Change, run_by: Definition) -> Change:
    if change.impact is not Impact.NEXT_BOOT:
        return change
    why = f"at its next start by {run_by.by}"
    return replace(change, how="virStorageVolUpload", why=f"{change.why}; {why}" if change.why else why)


def _hand_over_changes(
    desired: DesiredDomain, run_by: Definition, observed: ObservedDomain
) -> Iterator[Change]:
    at = desired.origin.find("ha")
    now = "libvirt's, goes on running" if observed.active else "libvirt's"
    impact = Impact.LIVE if observed.active else Impact.NONE
    yield Change("persistent", "ha", now, f"{run_by.by}'s", impact, "virDomainUndefineFlags", at=at)
    if observed.autostart:
        yield Change("autostart", "autostart", "true", "false", Impact.NONE, "virDomainSetAutostart", at=at)


def was_handed_over(name: str, view: HostView) -> bool:
    """Whether a cluster manager runs a vm, or did: its file is there, on whichever host."""
    entry = view.around.files.get(name)
    return entry is not None and view.around.volume(entry.name) is not None


def last_declared(name: str, view: HostView) -> str | None:
    """What a vm was declared as when its file was written, None if that is not known."""
    entry = view.around.files.get(name)
    return noted(entry.applied).xml if entry else None


def _base(run_by: Definition, view: HostView) -> str | None:
    """What was declared when its file was written, None if that is not known."""
    entry = view.ledger.find(Kind.VOLUME, run_by.volume) or view.around.entry(run_by.volume)
    return noted(entry.applied).xml if entry else None


def _on_two_hosts(desired: DesiredDomain, run_by: Definition, hosts: list[str]) -> Diagnostic:
    return note(
        desired,
        "plan.moving",
        f"{desired.address.name} runs on {' and '.join(hosts)}, and is left alone",
        f"{run_by.by} is moving it, or it runs twice.",
        f"plan again; if it is still so, stop the one that {run_by.by} does not know.",
    )


def _pending(desired: DesiredDomain, run_by: Definition, assessment: Assessment) -> Iterator[Diagnostic]:
    """What is in its file already and not in the guest."""
    waits = (*assessment.pending, *assessment.beyond)
    if not waits:
        return
    found = note(
        desired,
        "plan.pending",
        f"{desired.address.name} gets at its next start: {paths(change.field for change in waits)}",
        "Its file says so already; a running guest cannot be given, or rid of, this.",
        f"have {run_by.by} restart it when that suits you; a reboot from inside is not enough.",
    )
    lines = (f"{c.field}: runs with {value(c.before)}, will have {value(c.after)}" for c in waits)
    yield replace(found, notes=tuple(map(Note, lines)))
