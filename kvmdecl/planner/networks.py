"""Virtual networks: defined in place; a running one keeps its old definition until it is restarted."""

from __future__ import annotations

from collections.abc import Iterable

from kvmdecl.libvirt_xml.fields import FieldDifference, differences
from kvmdecl.libvirt_xml.marker import read_marker
from kvmdecl.plan import Action, Change, Impact
from kvmdecl.planner.verdict import AS_DECLARED, HostView, Verdict, not_ours, note, step
from kvmdecl.state import Absent, DesiredNetwork, Kind, ObservedNetwork
from kvmdecl.tasks import DefineNetwork, DeleteNetwork

_KEYS = (
    ("ip/dhcp/host", "dhcp.hosts"),
    ("ip/dhcp", "dhcp"),
    ("ip", "subnet"),
    ("forward@mode", "mode"),
    ("forward", "device"),
    ("bridge", "bridge"),
    ("domain", "domain"),
)
_NOT_LIVE = "a running network keeps its definition until it is restarted"


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
    changes = _definition_changes(desired, observed, base) + _power_changes(desired, observed)
    if not changes:
        return AS_DECLARED
    return step(
        desired,
        Action.UPDATE,
        _define(desired, base, start=not observed.active),
        observed,
        "",
        changes=changes,
    )


def _define(desired: DesiredNetwork, base: str | None, *, start: bool) -> DefineNetwork:
    return DefineNetwork(desired.address.name, desired.uuid, desired.xml, base, start, desired.autostart)


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


def _definition_changes(
    desired: DesiredNetwork, observed: ObservedNetwork, base: str | None
) -> tuple[Change, ...]:
    impact, why = (Impact.NEXT_BOOT, _NOT_LIVE) if observed.active else (Impact.NONE, "")
    return tuple(
        Change(
            d.path,
            _key(d.path),
            d.before,
            d.after,
            impact,
            "virNetworkDefineXML",
            why,
            desired.origin.find(_key(d.path)),
        )
        for d in _joined(differences(desired.xml, base, observed.xml, Kind.NETWORK))
    )


def _joined(found: Iterable[FieldDifference]) -> list[FieldDifference]:
    """One dhcp range that comes while one goes is one that changed: it has no name to be known by."""
    found = list(found)
    ranges = [d for d in found if d.path.startswith("ip/dhcp/range")]
    comes = [d for d in ranges if d.before is None]
    goes = [d for d in ranges if d.after is None]
    if len(comes) != 1 or len(goes) != 1:
        return found
    changed = FieldDifference(comes[0].path, goes[0].before, comes[0].after)
    return [changed if d is comes[0] else d for d in found if d is not goes[0]]


def _key(path: str) -> str:
    """The manifest's word for a field of a network; the field itself where it has none."""
    return next((key for start, key in _KEYS if path.startswith(start)), path)


def _power_changes(desired: DesiredNetwork, observed: ObservedNetwork) -> tuple[Change, ...]:
    changes = []
    if not observed.active:
        changes.append(
            Change(
                "active", "state", "inactive", "active", Impact.NONE, "virNetworkCreate", at=desired.origin.at
            )
        )
    if observed.autostart != desired.autostart:
        before, after = str(observed.autostart).lower(), str(desired.autostart).lower()
        at = desired.origin.find("autostart")
        changes.append(
            Change("autostart", "autostart", before, after, Impact.NONE, "virNetworkSetAutostart", at=at)
        )
    return tuple(changes)


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
