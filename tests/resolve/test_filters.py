"""Network filters of a manifest: what they and NICs may name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmdecl.check import check_filters
from kvmdecl.cluster import PlacedCluster
from kvmdecl.emit import emit
from kvmdecl.libvirt_xml.marker import Marker, with_marker
from kvmdecl.libvirt_xml.nwfilter import digest, filter_xml
from kvmdecl.names import derive_uuid
from kvmdecl.plan import ChangeOrigin, Impact
from kvmdecl.planner import make_plan
from kvmdecl.planner.destroy import make_destroy_plan
from kvmdecl.state import HostState, Kind, Ledger, LedgerEntry, ObservedDomain, ObservedFilter
from tests.placement.support import host
from tests.resolve.support import HEAD, resolved, told

ONE = HEAD + 'hosts: {kvm-1: "qemu+tls://kvm-1.example/system"}\n'
NIC = "networks: {lan: {bridge: br0}}\nvms: {web: {host: kvm-1, nics: [{network: lan, filter: NAME}]}}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "filters: {a: {rules: [b]}, b: {rules: [a]}}",
            [("reference.filter-cycle", "a")],
        ),
        ("filters: {a: {rules: [a]}}", [("reference.filter-cycle", "a")]),
        ("filters: {a: {rules: [{filter: b}]}, b: {state: absent}}", [("reference.absent", "b")]),
        ("filters: {NAME: {state: absent}}\n" + NIC, [("reference.absent", "NAME")]),
        ("filters: {a: {rules: [{action: drop, dst_port: 5}]}}", [("manifest.bad-filter", "5")]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_where_it_stands(text: str, expected: list[tuple[str, str]]) -> None:
    assert told(text.replace("NAME", "x"), head=ONE) == [
        (code, at.replace("NAME", "x")) for code, at in expected
    ]


def seen(
    *filters: ObservedFilter, domains: tuple[ObservedDomain, ...] = (), ledger: tuple[LedgerEntry, ...] = ()
):
    state = HostState(domains=domains, filters=filters, ledgers=(Ledger("demo", ledger),))
    return {"kvm-1": replace(host("kvm-1"), state=state)}


def theirs(name: str, text: str = "") -> ObservedFilter:
    return ObservedFilter(name, f"uuid-{name}", f"<filter name='{name}' chain='root'>{text}</filter>")


@pytest.mark.parametrize(
    ("name", "there", "codes"),
    [
        ("clean-trafic", (theirs("clean-traffic"),), ["check.no-filter"]),
        ("clean-traffic", (theirs("clean-traffic"),), []),
        ("own", (theirs("clean-traffic"),), []),
        ("anything", (), []),
    ],
)
def test_a_filter_has_to_be_in_the_manifest_or_on_the_host(
    name: str, there: tuple[ObservedFilter, ...], codes: list[str]
):
    cluster = resolved("filters: {own: {}}\n" + NIC.replace("NAME", name), head=ONE)

    assert [d.code for d in check_filters(PlacedCluster(cluster, cluster.vms), seen(*there))] == codes


def test_a_rule_may_name_only_filters_that_every_host_has():
    cluster = resolved("filters: {own: {rules: [clean-traffic, missing]}}\n", head=ONE)

    (lacking,) = check_filters(PlacedCluster(cluster, ()), seen(theirs("clean-traffic")))
    assert "missing" in lacking.summary


FILTERS = "filters: {base: {}, own: {rules: [base, {action: drop}]}}\n"


def planned(text: str, observed):
    cluster = resolved(text, head=ONE)
    return make_plan(cluster, emit(PlacedCluster(cluster, cluster.vms), observed), observed)


def ours(text: str, name: str = "own", instead: tuple[str, str] = ("", "")) -> ObservedFilter:
    (found,) = (each for each in resolved(text, head=ONE).filters if each.name == name)
    return ObservedFilter(name, found.uuid, filter_xml(found).replace(*instead))


def guest(filter_: str, *, active: bool = True, marked: bool = False) -> ObservedDomain:
    uuid = derive_uuid("demo", "domain", "g")
    nic = f"<interface><filterref filter='{filter_}'/></interface>"
    xml = f"<domain><name>g</name><uuid>{uuid}</uuid><devices>{nic}</devices></domain>"
    xml = with_marker(xml, Marker("demo", uuid, "g", "r", "1", "<domain/>")) if marked else xml
    return ObservedDomain("g", uuid, xml, xml if active else None, active, True, False, False)


def test_new_filters_are_made_after_those_that_they_name():
    plan = planned(FILTERS, seen())

    assert [(str(step.address), [str(need) for need in step.after]) for step in plan.steps] == [
        ("kvm-1/nwfilter/base", []),
        ("kvm-1/nwfilter/own", ["kvm-1/nwfilter/base"]),
    ]


@pytest.mark.parametrize(
    ("used", "impact"),
    [("own", Impact.LIVE), ("outer", Impact.LIVE), ("other", Impact.NONE)],
)
def test_a_changed_rule_is_live_for_guests_that_it_reaches(used: str, impact: Impact):
    outer = theirs("outer", "<filterref filter='own'/>")
    there = (ours(FILTERS, "base"), ours(FILTERS, instead=('"drop"', '"accept"')), outer)

    (step,) = planned(FILTERS, seen(*there, domains=(guest(used),))).steps

    (change,) = step.changes
    assert (change.key, change.before, change.after) == ("rules.1", "accept inout", "drop inout")
    assert (change.impact, change.origin) == (impact, ChangeOrigin.MANIFEST)


def test_what_the_ledger_knows_as_applied_and_is_not_so_is_drift():
    declared = ours(FILTERS)
    entry = LedgerEntry(Kind.NWFILTER, "own", "", digest(declared.xml), complete=True)
    changed = ours(FILTERS, instead=('"drop"', '"accept"'))

    (step,) = planned(FILTERS, seen(ours(FILTERS, "base"), changed, ledger=(entry,))).steps

    assert [change.origin for change in step.changes] == [ChangeOrigin.DRIFT]


def test_a_filter_of_somebody_else_is_used_as_it_is_or_blocks():
    alike, other = replace(ours(FILTERS, "base"), uuid="u-1"), theirs("own")

    plan = planned(FILTERS, seen(alike, other))

    assert plan.steps == ()
    assert [d.code for d in (*plan.notes, *plan.blocked)] == ["plan.foreign-filter", "plan.not-ours"]


ABSENT = "filters: {base: {state: absent}, own: {state: absent, rules: [base]}}\n"


def test_absent_filters_go_after_what_uses_them():
    noted = tuple(LedgerEntry(Kind.NWFILTER, name, "", "", complete=True) for name in ("base", "own"))
    there = (ours(FILTERS, "base"), ours(FILTERS))

    plan = planned(ABSENT, seen(*there, domains=(guest("own", marked=True),), ledger=noted))

    assert [(step.address.name, step.action) for step in plan.steps] == [
        ("base", "delete"),
        ("own", "delete"),
    ]
    assert [need.name for need in plan.steps[0].after] == ["own"]
    assert [
        need.name
        for need in make_destroy_plan(resolved(ABSENT, head=ONE), seen(*there, ledger=noted), frozenset())
        .steps[0]
        .after
    ] == ["own"]


@pytest.mark.parametrize("user", [guest("own"), theirs("outer", "<filterref filter='own'/>")])
def test_a_filter_that_strangers_use_stays(user: ObservedDomain | ObservedFilter):
    domains = (user,) if isinstance(user, ObservedDomain) else ()
    filters = (user,) if isinstance(user, ObservedFilter) else ()

    plan = planned(ABSENT, seen(ours(FILTERS), *filters, domains=domains))

    assert [d.code for d in plan.blocked] == ["plan.filter-in-use"]


def test_a_filter_that_left_the_manifest_stays_and_is_told():
    noted = LedgerEntry(Kind.NWFILTER, "own", "", "", complete=True)

    plan = planned("", seen(ours(FILTERS), ledger=(noted,)))

    assert (plan.steps, [d.code for d in plan.notes]) == ((), ["plan.orphan"])
