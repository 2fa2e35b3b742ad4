"""Domains: defined in place, changed live where that is possible, restarted where the manifest allows it.

Nothing is ever undefined to be updated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from kvmdecl.cluster import ResolvedCluster
from kvmdecl.diagnostics import Diagnostic, Note, Severity
from kvmdecl.libvirt_xml.fields import fields
from kvmdecl.libvirt_xml.holders import devices_in
from kvmdecl.libvirt_xml.impact import Assessment, assess
from kvmdecl.libvirt_xml.marker import Left, Marker, belongs, owned_by, read_marker
from kvmdecl.libvirt_xml.protection import is_protected, may_be_protected
from kvmdecl.libvirt_xml.trace import changed_outside, is_untouched
from kvmdecl.names import format_duration, format_size
from kvmdecl.plan import Action, Change, ChangeOrigin, Impact
from kvmdecl.planner.managed import last_declared, plan_hand_over, plan_managed, was_handed_over
from kvmdecl.planner.outside import outside, paths, value
from kvmdecl.planner.replaced import replaced_disk
from kvmdecl.planner.verdict import (
    AS_DECLARED,
    HostView,
    Verdict,
    blocked,
    is_derived,
    may_have_gone_on,
    not_ours,
    note,
    step,
    still_starting,
)
from kvmdecl.state import (
    DEFINITION_SUFFIX,
    Absent,
    Address,
    DesiredDomain,
    DesiredState,
    Kind,
    ObservedDomain,
    PowerOff,
    Restart,
)
from kvmdecl.tasks import AdoptDomain, DefineDomain, DeleteDomain, LiveChange, Power
from kvmdecl.text import quoted, set_of


def plan_domain(desired: DesiredDomain, view: HostView) -> Verdict:
    """Compare a declared domain with the host's domain of its UUID."""
    observed = view.domains_by_uuid.get(desired.uuid)
    if observed is None:
        if desired.address.name in view.domains:
            return not_ours(desired, "domain")
        return (
            _still_managed(desired) if was_handed_over(desired.address.name, view) else _create(desired, view)
        )
    if desired.run_by is not None and observed.name == desired.address.name:
        if not observed.persistent:
            return plan_managed(desired, desired.run_by, observed, view)
        if not _is_ours(desired.address, desired.uuid, observed, view):
            return not_ours(desired, "domain")
        if observed.managed_save:
            return saved_state(desired)
        return plan_hand_over(desired, desired.run_by, observed, view)
    return unusable(desired, observed, view) or (
        AS_DECLARED if _is_as_left(desired, observed, view) else _compare(desired, observed, view)
    )


def _compare(desired: DesiredDomain, observed: ObservedDomain, view: HostView) -> Verdict:
    marker = read_marker(observed.xml)
    if is_derived(desired.address, desired.uuid, view) or owned_by(marker, view.cluster, desired.uuid):
        return _update(desired, observed, marker, view)
    if marker is not None and marker.uuid == observed.uuid:
        return blocked(
            desired,
            "plan.not-ours",
            f"domain {desired.address.name} on {desired.address.host} is cluster {quoted(marker.cluster)}'s",
            "Two manifests that describe one guest would undo each other's changes.",
            "let one of them go: take the vm out of the other manifest, and its marker off with `virsh metadata`.",
            key="uuid",
        )
    return _adopt(desired, observed, view)


def _adopt(desired: DesiredDomain, observed: ObservedDomain, view: HostView) -> Verdict:
    """Take over a domain that the manifest names by its UUID, with the changes that it asks for, if any."""
    found = _update(desired, observed, None, view)
    if found.blocked:
        return found
    at = desired.origin.find("uuid")
    ours = Change(
        *(
            "metadata",
            "uuid",
            "nobody's",
            f"cluster {view.cluster}'s",
            Impact.METADATA,
            "virDomainSetMetadata",
        ),
        at=at,
    )
    changes = found.step.changes if found.step else ()
    task = found.step.task if found.step else _mark(desired, view)
    verdict = step(desired, Action.ADOPT, task, observed, "", changes=(ours, *changes), after=desired.needs)
    return Verdict(verdict.step, notes=found.notes)


def _mark(desired: DesiredDomain, view: HostView) -> AdoptDomain:
    return AdoptDomain(desired.address.name, desired.uuid, desired.xml, view.cluster, view.revision)


def _is_as_left(desired: DesiredDomain, observed: ObservedDomain, view: HostView) -> bool:
    """Whether one look tells that nothing is to be done; False says nothing."""
    return (
        desired.running in {None, observed.active}
        and not observed.halted
        and desired.autostart == observed.autostart
        and is_untouched(observed.xml, observed.live_xml, desired.xml)
        and _is_ours(desired.address, desired.uuid, observed, view)
    )


def _is_ours(address: Address, uuid: str, observed: ObservedDomain, view: HostView) -> bool:
    """A derived UUID says whose a domain is; of one that the manifest gives, only the marker does."""
    return is_derived(address, uuid, view) or belongs(observed.xml, view.cluster, uuid)


def _create(desired: DesiredDomain, view: HostView) -> Verdict:
    power: Power = "start" if desired.running else "keep"
    task = _define(desired, view, base=None, live=(), power=power)
    found = fields(desired.xml, Kind.DOMAIN)
    cpus, memory = found.get("vcpu@current", found["vcpu"]), format_size(int(found["currentMemory"]) * 1024)
    own, nodes = _own_cpus(found), found.get("numatune/memory@nodeset")
    devices = devices_in(desired.xml)
    where = "" if nodes is None else f" in cell {nodes}" if nodes.isdecimal() else f" in cells {nodes}"
    parts = (
        f"{cpus} vCPU{'' if cpus == '1' else 's'}{f' on CPUs {own}' if own else ''}",
        f"{memory}{where}",
        *([f"{' and '.join(devices)} of the host"] if devices else []),
        "started" if desired.running else "not started",
    )
    summary = ", ".join(parts)
    return step(desired, Action.CREATE, task, None, summary, after=desired.needs)


def _own_cpus(found: Mapping[str, str]) -> str:
    """The host's CPUs that vCPUs have for themselves, empty if there are none."""
    pins = [cpus for path, cpus in found.items() if _PIN.fullmatch(path)]
    return set_of(int(cpus) for cpus in pins if cpus.isdecimal())


_PIN = re.compile(r"cputune/vcpupin\[\d+\]@cpuset")


def _still_managed(desired: DesiredDomain) -> Verdict:
    name = desired.address.name
    return blocked(
        desired,
        "plan.still-managed",
        f"vm {name} is not made: the file that a cluster manager started it from is still there",
        "As long as the cluster manager knows of it, it may start it, too, and the guest would run twice.",
        f"take its resource out of the cluster manager, then delete the volume {name}{DEFINITION_SUFFIX} with virsh.",
    )


def unusable(desired: DesiredDomain, observed: ObservedDomain, view: HostView) -> Verdict | None:
    """Why the host's domain cannot be brought to what is declared by a define, if it cannot."""
    name = desired.address.name
    if observed.name != name:
        return blocked(
            desired,
            "plan.renamed",
            f"domain {name} is called {observed.name} on {desired.address.host}",
            "Its UUID is this vm's, so it was renamed outside of kvmdecl.",
            f"rename it back while it is shut off: `virsh domrename {observed.name} {name}`.",
        )
    if not observed.persistent and not was_handed_over(name, view):
        return blocked(
            desired,
            "plan.transient",
            f"domain {name} on {desired.address.host} runs without a persistent definition",
            "It vanishes when it stops; somebody undefined it while it was running.",
            "define it again (`virsh dumpxml`, `virsh define`) while it runs, then plan again.",
        )
    return still_starting(desired, observed, view) or may_have_gone_on(desired, observed, view)


def _update(
    desired: DesiredDomain, observed: ObservedDomain, marker: Marker | None, view: HostView
) -> Verdict:
    base = marker.applied if marker else None
    if not observed.persistent:
        base = last_declared(desired.address.name, view) or base
    assessment = _assess(desired, base, observed)
    restarts = _restarts(desired, observed, assessment)
    changes = tuple(_restart_changes(desired, assessment)) if restarts else assessment.changes
    changes += tuple(_power_changes(desired, observed, marker.left if marker else None))
    if not observed.persistent:
        changes += (_taken_back(desired),)
    is_new = marker is None and (
        not observed.persistent or not is_derived(desired.address, desired.uuid, view)
    )
    if not changes and not is_new:
        changes = _marker_changes(desired, base)
    elif base is not None:
        changes += tuple(_protection_changes(desired, base))
    found = changed_outside(marker, observed.xml, desired.xml, view.libvirt) if marker else ()
    notes = (
        *(() if is_new else _notes(desired, marker)),
        *(() if restarts else _pending(desired, assessment)),
        *outside(desired, found),
    )
    if not changes:
        return Verdict(notes=notes)
    if observed.managed_save and assessment.changes:
        return saved_state(desired)
    if lost := [change for change in changes if change.impact is Impact.DATA_LOSS]:
        return replaced_disk(desired, desired.address.name, lost[0])
    power = "restart" if restarts else _power(desired, observed)
    task = _define(desired, view, base=base, live=assessment.live, power=power)
    verdict = step(desired, Action.UPDATE, task, observed, "", changes=changes, after=desired.needs)
    return Verdict(verdict.step, notes=notes)


def _assess(desired: DesiredDomain, base: str | None, observed: ObservedDomain) -> Assessment:
    """A guest that is to be powered off is not given, or rid of, anything before: it might not let a device go."""
    stays_on = observed.active and desired.running is not False
    return assess(desired.xml, base, replace(observed, active=stays_on), desired.origin)


def _taken_back(desired: DesiredDomain) -> Change:
    """A guest that a cluster manager ran gets a definition of libvirt's again, and goes on running."""
    at = desired.origin.find("ha")
    after = "libvirt's, goes on running"
    return Change(
        "persistent", "ha", "a cluster manager's", after, Impact.LIVE, "virDomainDefineXMLFlags", at=at
    )


def _define(
    desired: DesiredDomain, view: HostView, *, base: str | None, live: tuple[LiveChange, ...], power: Power
) -> DefineDomain:
    return DefineDomain(
        name=desired.address.name,
        uuid=desired.uuid,
        xml=desired.xml,
        base=base,
        live=live,
        power=power,
        autostart=desired.autostart,
        cluster=view.cluster,
        revision=view.revision,
        power_off=desired.power_off,
        agent_within=desired.agent_within if power in {"start", "restart"} else 0,
    )


def _restarts(desired: DesiredDomain, observed: ObservedDomain, assessment: Assessment) -> bool:
    """Whether a running guest may, and has a reason to, be powered off and on.

    A device that it has beyond its definition is none: somebody may have plugged it in for a backup. Nor are the order
    of boot, which counts when the guest boots next, for whatever reason, and what a device is called.
    """
    waits = (
        change for change in (*assessment.pending, *assessment.changes) if change.impact is Impact.NEXT_BOOT
    )
    reason = any(not change.field.endswith(("/boot@order", "/alias@name")) for change in waits)
    return desired.restart == "now" and bool(desired.running and observed.active and reason)


def _restart_changes(desired: DesiredDomain, assessment: Assessment) -> Iterator[Change]:
    """What a restart is for, and the restart itself: what waited for the next boot waits no longer."""
    for change in (*assessment.changes, *assessment.pending, *assessment.beyond):
        waits = change.impact is Impact.NEXT_BOOT
        yield replace(change, impact=Impact.RESTART) if waits else change
    impact = Impact.DOWNTIME if desired.power_off.force else Impact.RESTART
    how, at = f"{how_to_stop(desired.power_off)}, virDomainCreate", desired.origin.find("restart")
    yield Change("power", "restart", "running", "restarted", impact, how, how_long(desired.power_off), at=at)


def how_long(power_off: PowerOff) -> str:
    """In words, how long a guest may take to power off, and what comes after that."""
    time = format_duration(power_off.timeout)
    if power_off.force:
        return f"asked to power off; its plug is pulled if it has not done so within {time}"
    return f"asked to power off within {time}; never forced"


def how_to_stop(power_off: PowerOff) -> str:
    """Names of libvirt's functions that power a guest off."""
    return "virDomainShutdown, virDomainDestroyFlags" if power_off.force else "virDomainShutdown"


def _power(desired: DesiredDomain, observed: ObservedDomain) -> Power:
    if observed.halted and desired.running is not False:
        return "resume"
    if desired.running in {None, observed.active}:
        return "keep"
    return "start" if desired.running else "shutdown"


def _power_changes(desired: DesiredDomain, observed: ObservedDomain, left: Left | None) -> Iterator[Change]:
    if observed.halted and desired.running is not False:
        at, why = desired.origin.find("state"), "its migration did not end, and no other host has it"
        how, drift = "virDomainResume", ChangeOrigin.DRIFT
        yield Change("power", "state", "halted", "running", Impact.LIVE, how, why, at=at, origin=drift)
    if desired.running is not None and desired.running != observed.active:
        how = "virDomainCreate" if desired.running else how_to_stop(desired.power_off)
        why = "" if desired.running else how_long(desired.power_off)
        impact = Impact.NONE if desired.running else Impact.DOWNTIME
        # A start resumes a saved guest; it would not be planned with another definition (`_saved_state`).
        before = "saved" if observed.managed_save else _POWER[observed.active]
        after = _POWER[desired.running]
        at, origin = desired.origin.find("state"), _origin(desired.running, left.running if left else None)
        yield Change("power", "state", before, after, impact, how, why, at=at, origin=origin)
    if desired.autostart != observed.autostart:
        before, after = str(observed.autostart).lower(), str(desired.autostart).lower()
        at, origin = (
            desired.origin.find("autostart"),
            _origin(desired.autostart, left.autostart if left else None),
        )
        how = "virDomainSetAutostart"
        yield Change("autostart", "autostart", before, after, Impact.NONE, how, at=at, origin=origin)


_POWER = {True: "running", False: "stopped"}


def _origin(declared: bool, left: bool | None) -> ChangeOrigin:
    return ChangeOrigin.DRIFT if left is not None and left == declared else ChangeOrigin.MANIFEST


def _marker_changes(desired: DesiredDomain, base: str | None) -> tuple[Change, ...]:
    """The host agrees with the manifest, but what we noted there as last applied is something else."""
    if base is not None and (
        base == desired.xml or fields(base, Kind.DOMAIN) == fields(desired.xml, Kind.DOMAIN)
    ):
        return tuple(_protection_changes(desired, base))
    before = "what was applied before" if base is not None else "nothing readable"
    change = Change(
        "metadata", "marker", before, "what is declared now", Impact.METADATA, "virDomainDefineXMLFlags"
    )
    return (change,)


def _protection_changes(desired: DesiredDomain, base: str) -> Iterator[Change]:
    """No field of a definition, and remembered beside it."""
    before, after = (str(is_protected(xml)).lower() for xml in (base, desired.xml))
    if before != after:
        at, how = desired.origin.find("protect"), "virDomainDefineXMLFlags"
        yield Change("metadata", "protect", before, after, Impact.METADATA, how, at=at)


def _notes(desired: DesiredDomain, marker: Marker | None) -> tuple[Diagnostic, ...]:
    if marker is not None and not marker.problem:
        return ()
    problem = marker.problem if marker else "it is gone"
    summary = f"kvmdecl's marker in domain {desired.address.name} cannot be read: {problem}"
    cause = "Fields that left the manifest since the last apply are not noticed this once."
    return (note(desired, "plan.marker-broken", summary, cause),)


def _pending(desired: DesiredDomain, assessment: Assessment) -> Iterator[Diagnostic]:
    """What the guest gets at its next boot is no change: there is nothing to apply."""
    waits = (*assessment.pending, *assessment.beyond)
    if not waits:
        return
    summary = f"{desired.address.name} gets at its next boot: {paths(change.field for change in waits)}"
    cause = "Its definition is so already; a running guest cannot be given, or rid of, this."
    found = note(desired, "plan.pending", summary, cause, _HOW_TO_GET[desired.restart])
    lines = (f"{c.field}: runs with {value(c.before)}, will have {value(c.after)}" for c in waits)
    yield replace(found, notes=tuple(map(Note, lines)))


_HOW_TO_GET: Mapping[Restart, str] = {
    "never": "shut it down and start it again when that suits you; a reboot from inside is not enough.",
    "scheduled": "`kvmdecl apply --scheduled` restarts it; a reboot from inside is not enough.",
    "now": "shut it down and start it again; a reboot from inside is not enough.",
}


def saved_state(desired: DesiredDomain) -> Verdict:
    """The verdict for a guest with a saved state that a change would not be in."""
    name = desired.address.name
    return blocked(
        desired,
        "plan.managed-save",
        f"domain {name} on {desired.address.host} has a saved state that would bring back its old definition",
        "The next start resumes the saved image with the definition that was saved with it.",
        f"start it once, or drop the image with `virsh managedsave-remove {name}`, then plan again.",
    )


def plan_absent_domain(absent: Absent, uuid: str, view: HostView) -> Verdict:
    """A guest that shall not exist: shut down and undefined; its volumes, nvram and TPM state stay."""
    observed = view.domains.get(absent.address.name)
    if observed is None:
        return AS_DECLARED
    if not observed.persistent and was_handed_over(observed.name, view):
        return Verdict(notes=(_not_stopped(absent),))
    if observed.uuid != uuid or not _is_ours(absent.address, uuid, observed, view):
        return not_ours(absent, "domain")
    if (starting := still_starting(absent, observed, view)) is not None:
        return starting
    if observed.managed_save:
        return blocked(
            absent,
            "plan.managed-save",
            f"domain {observed.name} on {view.host} has a saved state, which would be lost with it",
            "It holds the memory of the guest, and what that had not written to its disks yet.",
            f"start it and have it shut down, or drop the image with `virsh managedsave-remove {observed.name}`.",
        )
    if may_be_protected(marker := read_marker(observed.xml)):
        return Verdict(blocked=replace(protected(absent.address, marker), at=absent.origin.find("state")))
    impact = Impact.DOWNTIME if observed.active else Impact.NONE
    forced = (
        f" (forced off after {format_duration(absent.power_off.timeout)})" if absent.power_off.force else ""
    )
    summary = f"{f'shut down{forced} and ' if observed.active else ''}undefined; its volumes stay"
    task = DeleteDomain(observed.name, observed.uuid, observed.active, absent.power_off)
    return step(absent, Action.DELETE, task, observed, summary, impact=impact)


def _not_stopped(absent: Absent) -> Diagnostic:
    name = absent.address.name
    return note(
        absent,
        "plan.still-managed",
        f"{name} on {absent.address.host} is left running: a cluster manager runs it",
        "Stopped behind its back, the guest would be started again.",
        "take its resource out of the cluster manager, then apply again.",
    )


def protected(address: Address, marker: Marker | None) -> Diagnostic:
    """Why a guest is not deleted whose marker says so, or cannot be read."""
    known = marker is not None and marker.applied is not None
    summary = f"{address} is protected, and is not deleted"
    unknown = f"whether {address} is protected cannot be read, so it is not deleted"
    return Diagnostic(
        code="plan.protected",
        summary=summary if known else unknown,
        cause="Its host remembers that, whatever the manifest says by now.",
        hint="first apply it with `protect: false`, then with `state: absent`.",
        subject=str(address),
    )


def orphans(
    cluster: ResolvedCluster, desired: DesiredState, views: Mapping[str, HostView]
) -> Iterator[Diagnostic]:
    """What carries this cluster's mark and is no longer in the manifest: told, and left as it is."""
    declared = {resource.address for resource in desired.resources}
    # A guest that is on another host, or goes there, is in the manifest.
    undecided = {*desired.unplaced, *desired.frozen}
    undecided |= {
        resource.address.name for resource in desired.resources if isinstance(resource, DesiredDomain)
    }
    for view in views.values():
        names = {
            address.name for address in declared if address.host == view.host and address.kind is Kind.DOMAIN
        }
        for domain in view.state.domains:
            if domain.name not in names | undecided and belongs(domain.xml, cluster.name, domain.uuid):
                yield _orphan(view.host, "domain", domain.name)
        names = {
            address.name for address in declared if address.host == view.host and address.kind is Kind.NETWORK
        }
        for network in view.state.networks:
            if network.name not in names and belongs(network.xml, cluster.name, network.uuid):
                yield _orphan(view.host, "network", network.name)
        for entry in view.ledger.entries:
            gone = bool(view.filters) and entry.name not in view.filters
            named = Address(view.host, entry.kind, entry.name) in declared
            if entry.kind is Kind.NWFILTER and not gone and not named:
                yield _orphan(view.host, "nwfilter", entry.name)


def _orphan(host: str, what: str, name: str) -> Diagnostic:
    return Diagnostic(
        code="plan.orphan",
        summary=f"{what} {name} on {host} is this cluster's and no longer in the manifest; it is left as it is",
        cause="A line that vanished from a file never deletes anything.",
        hint="to delete it, keep it in the manifest with `state: absent` for one apply.",
        severity=Severity.WARNING,
        subject=f"{host}/{what}/{name}",
    )
