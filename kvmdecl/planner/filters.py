"""Network filters: replaced as a whole, in force at once for the guests that use them; deleted when nobody does."""

from __future__ import annotations

from kvmdecl.libvirt_xml.marker import belongs
from kvmdecl.libvirt_xml.nwfilter import digest, filter_differences, filters_in, leading_to, users_of
from kvmdecl.plan import Action, Change, ChangeOrigin, Impact
from kvmdecl.planner.verdict import AS_DECLARED, HostView, Verdict, blocked, not_ours, note, step
from kvmdecl.state import Absent, Address, DesiredFilter, Kind, ObservedFilter
from kvmdecl.tasks import DefineFilter, DeleteFilter


def plan_filter(desired: DesiredFilter, view: HostView) -> Verdict:
    """Compare a declared network filter with the host's filter of that name."""
    name = desired.address.name
    observed = view.filters.get(name)
    task = DefineFilter(name, desired.uuid, desired.xml)
    if observed is None:
        return step(desired, Action.CREATE, task, None, "defined", after=desired.needs)
    found = filter_differences(desired.xml, observed.xml)
    if observed.uuid != desired.uuid:
        return not_ours(desired, "network filter") if found else _foreign(desired)
    if not found:
        return AS_DECLARED
    guests = _running_users(observed, view)
    impact = Impact.LIVE if guests else Impact.NONE
    why = f"in force at once for {', '.join(guests)}" if guests else "no running guest uses it"
    entry = view.ledger.find(Kind.NWFILTER, name)
    ours = entry is not None and entry.applied == digest(desired.xml)
    origin = ChangeOrigin.DRIFT if ours else ChangeOrigin.MANIFEST
    changes = tuple(
        Change(
            field,
            field,
            before,
            after,
            impact,
            "virNWFilterDefineXML",
            why,
            desired.origin.find(field),
            origin,
        )
        for field, before, after in found
    )
    return step(desired, Action.UPDATE, task, observed, "", changes=changes, after=desired.needs)


def _running_users(observed: ObservedFilter, view: HostView) -> list[str]:
    names = leading_to(observed.name, view.filters.values())
    return sorted(
        domain.name
        for domain in view.state.domains
        if domain.active and filters_in(domain.live_xml or domain.xml) & names
    )


def _foreign(desired: DesiredFilter) -> Verdict:
    """A filter that has the same rules already may be used as it is; it is never changed."""
    name, host = desired.address.name, desired.address.host
    summary = f"network filter {name} on {host} was there before and is used as it is"
    return Verdict(
        notes=(note(desired, "plan.foreign-filter", summary, "It will never be changed or deleted."),)
    )


def plan_absent_filter(absent: Absent, uuid: str, view: HostView) -> Verdict:
    """A filter that shall not exist. Guests of this cluster that use it now give it up first."""
    observed = view.filters.get(absent.address.name)
    if observed is None:
        return AS_DECLARED
    if observed.uuid != uuid:
        return not_ours(absent, "network filter")
    users = list(users_of(frozenset({observed.name}), view.state.domains))
    others = [d.name for d in users if not belongs(d.xml, view.cluster, d.uuid)]
    naming = [f.name for f in view.filters.values() if observed.name in filters_in(f.xml)]
    ours = [name for name in naming if view.ledger.find(Kind.NWFILTER, name)]
    if others or len(ours) < len(naming):
        strangers = sorted({*others, *naming} - set(ours))
        return blocked(
            absent,
            "plan.filter-in-use",
            f"network filter {observed.name} on {absent.address.host} is used by {', '.join(strangers)}",
            "That is not of this cluster; without the filter, its guests would not start.",
            "take the filter out of them first, or keep it.",
        )
    after = (
        *(Address(view.host, Kind.DOMAIN, domain.name) for domain in users),
        *(Address(view.host, Kind.NWFILTER, name) for name in ours),
    )
    task = DeleteFilter(observed.name, observed.uuid)
    return step(absent, Action.DELETE, task, observed, "undefined", impact=Impact.NONE, after=after)
