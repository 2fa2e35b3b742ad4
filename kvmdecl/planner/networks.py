"""Virtual networks: defined in place; a running one gets leases and names at once, the rest when it is restarted."""

from __future__ import annotations

from dataclasses import replace

from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.marker import read_marker
from kvmdecl.libvirt_xml.network_impact import assess_network
from kvmdecl.libvirt_xml.trace import changed_outside
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
from kvmdecl.state import Absent, DesiredNetwork, Existing, Kind, ObservedNetwork
from kvmdecl.tasks import DefineNetwork, DeleteNetwork, NetworkUpdate


def plan_network(desired: DesiredNetwork, view: HostView) -> Verdict:
    """Compare a declared network with the host's network of that name."""
    observed = view.networks.get(desired.address.name)
    if observed is None:
        task = _define(desired, None, start=True)
        return step(desired, Action.CREATE, task, None, "defined and started")
    if observed.uuid != desired.uuid:
        return _foreign(desired, observed)
    marker = read_marker(observed.xml)
    base = marker.applied if marker else None
    assessment = assess_network(desired.xml, base, observed, desired.origin)
    changes = assessment.changes + power_changes(desired, observed, "virNetwork")
    found = changed_outside(marker, observed.xml, desired.xml, view.libvirt, Kind.NETWORK) if marker else ()
    notes = tuple(outside(desired, found))
    if not changes:
        return Verdict(notes=notes)
    task = _define(desired, base, start=not observed.active, live=assessment.live)
    return replace(step(desired, Action.UPDATE, task, observed, "", changes=changes), notes=notes)


def _define(
    desired: DesiredNetwork, base: str | None, *, start: bool, live: tuple[NetworkUpdate, ...] = ()
) -> DefineNetwork:
    return DefineNetwork(
        desired.address.name, desired.uuid, desired.xml, base, start, desired.autostart, live
    )


def _foreign(desired: DesiredNetwork, observed: ObservedNetwork) -> Verdict:
    """A network that exists already may be used as it is; it is never changed."""
    found = [
        d
        for d in differences(desired.xml, None, observed.xml, Kind.NETWORK)
        if d.path not in {"uuid", "bridge@name"}
    ]
    if found or not observed.active:
        return not_ours(desired, "network")
    summary = (
        f"network {desired.address.name} on {desired.address.host} was there before and is used as it is"
    )
    return Verdict(
        notes=(note(desired, "plan.foreign-network", summary, "It will never be changed or deleted."),)
    )


def plan_existing_network(existing: Existing, view: HostView) -> Verdict:
    """A network that the host has already, or else guests cannot be plugged into it."""
    observed = view.networks.get(existing.address.name)
    name, host = existing.address.name, existing.address.host
    if observed is None:
        return blocked(
            existing,
            "plan.no-network",
            f"{host} has no network {name}",
            "The manifest says that it exists already, so it is not made.",
            "define it with virsh, or choose another `mode` to have kvmdecl make it.",
        )
    if not observed.active:
        summary, hint = f"network {name} on {host} is not active", f"`virsh net-start {name}` starts it."
        why = "A guest that is plugged into it does not start until it is."
        return Verdict(notes=(note(existing, "plan.no-network", summary, why, hint),))
    return AS_DECLARED


def plan_absent_network(absent: Absent, uuid: str, view: HostView) -> Verdict:
    """A network that shall not exist."""
    observed = view.networks.get(absent.address.name)
    if observed is None:
        return AS_DECLARED
    if observed.uuid != uuid:
        return not_ours(absent, "network")
    impact = Impact.DOWNTIME if observed.active else Impact.NONE
    summary = (
        "stopped and undefined; guests still plugged into it lose it" if observed.active else "undefined"
    )
    return step(
        absent, Action.DELETE, DeleteNetwork(observed.name, observed.uuid), observed, summary, impact=impact
    )
