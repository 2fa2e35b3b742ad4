"""What a secret's step says: where its value comes from, and never what it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kvmdecl.cluster import ResolvedSecret
from kvmdecl.libvirt_xml.marker import Marker, with_marker
from kvmdecl.libvirt_xml.secret import parse_secret, secret_xml
from kvmdecl.manifest import Secret
from kvmdecl.names import derive_uuid
from kvmdecl.plan import Action, Impact
from kvmdecl.planner.secrets import plan_absent_secret, plan_secret
from kvmdecl.planner.verdict import HostView, Verdict
from kvmdecl.state import (
    Absent,
    Address,
    DesiredSecret,
    HostState,
    Kind,
    Ledger,
    LedgerEntry,
    ObservedDomain,
    ObservedSecret,
    SecretSource,
)

UUID = derive_uuid("edge", Kind.SECRET, "db")
OURS = ObservedSecret(UUID, "volume", "/kvmdecl/edge/db", ephemeral=False)
SET = LedgerEntry(Kind.SECRET, "db", "", "1", complete=True)
TORN = LedgerEntry(Kind.SECRET, "db", "", "1", complete=False)


def plan(*there: ObservedSecret, noted: LedgerEntry | None = None, **given: object) -> Verdict:
    spec = Secret.model_validate({"usage": "volume", "value": {"env": "KVMDECL_SECRET_DB"}, **given})
    source = SecretSource(env="KVMDECL_SECRET_DB")
    xml = secret_xml(ResolvedSecret("db", UUID, spec, "/kvmdecl/edge/db", source))
    desired = DesiredSecret(
        Address("kvm-1", Kind.SECRET, "db"),
        UUID,
        spec.usage,
        "/kvmdecl/edge/db",
        spec.ephemeral,
        spec.version,
        source,
        xml,
    )
    ledger = Ledger("edge", (noted,) if noted else ())
    return plan_secret(desired, HostView("kvm-1", "edge", "r1", HostState(secrets=there, ledgers=(ledger,))))


def test_a_new_secret_says_where_its_value_is_found():
    step = plan().step
    assert step is not None
    assert (step.action, step.summary) == (
        Action.CREATE,
        "volume secret, its value from variable KVMDECL_SECRET_DB",
    )


def test_a_secret_that_was_set_is_left_alone():
    assert plan(OURS, noted=SET) == Verdict()


@pytest.mark.parametrize("noted", [None, TORN])
def test_a_secret_whose_value_may_not_have_been_set_is_set(noted: LedgerEntry | None):
    step = plan(OURS, noted=noted).step
    assert step is not None
    assert "interrupted" in step.summary


def test_another_version_sets_the_value_again():
    there = ObservedSecret(UUID, "iscsi", "/kvmdecl/edge/db", ephemeral=False)
    step = plan(there, noted=SET, usage="iscsi", version="2").step
    assert step is not None
    assert [(change.key, change.before, change.after) for change in step.changes] == [("version", "1", "2")]


@pytest.mark.parametrize("usage", ["volume", "vtpm"])
def test_a_value_that_opens_what_is_there_is_not_set_again(usage: str):
    there = ObservedSecret(UUID, usage, "/kvmdecl/edge/db", ephemeral=False)
    blocked = plan(there, noted=SET, usage=usage, version="2").blocked
    assert blocked is not None
    assert blocked.code == "plan.secret-kept"


def test_a_secret_can_be_kept_in_memory_from_now_on():
    step = plan(OURS, noted=SET, ephemeral="true").step
    assert step is not None
    assert [change.key for change in step.changes] == ["ephemeral"]


def test_a_secret_of_somebody_else_for_the_same_use_is_not_taken_over():
    theirs = ObservedSecret(
        "11111111-2222-3333-4444-555555555555", "volume", "/kvmdecl/edge/db", ephemeral=False
    )
    blocked = plan(theirs).blocked
    assert blocked is not None
    assert blocked.code == "plan.not-ours"


@pytest.mark.parametrize("usage", ["volume", "ceph", "iscsi", "vtpm"])
def test_what_is_declared_is_what_is_read(usage: str):
    spec = Secret.model_validate({"usage": usage, "value": {"file": "db.key"}, "ephemeral": "true"})
    xml = secret_xml(ResolvedSecret("db", UUID, spec, "/kvmdecl/edge/db", SecretSource(file="db.key")))
    assert parse_secret(xml) == ObservedSecret(UUID, usage, "/kvmdecl/edge/db", ephemeral=True)


# -- deletion -----------------------------------------------------------------------------------------------


def plan_absent(secret: ObservedSecret = OURS, **there: Any) -> Verdict:
    absent = Absent(Address("kvm-1", Kind.SECRET, "db"))
    state = HostState(secrets=(secret,), ledgers=(Ledger("edge", (SET,)),), **there)
    return plan_absent_secret(absent, UUID, HostView("kvm-1", "edge", "r1", state))


def guest(text: str, *, ours: bool) -> ObservedDomain:
    xml = f"<domain type='kvm'><name>web</name><uuid>{WEB}</uuid>{text}</domain>"
    if ours:
        xml = with_marker(xml, Marker("edge", WEB, "web", "r1", "0", xml))
    return ObservedDomain("web", WEB, xml, None, False, True, False, False)


WEB = derive_uuid("edge", Kind.DOMAIN, "web")
NAMED = f"<devices><disk><encryption><secret uuid='{UUID}'/></encryption></disk></devices>"
BY_USAGE = "<devices><disk><auth><secret usage='/kvmdecl/edge/db'/></auth></disk></devices>"


@pytest.mark.parametrize(
    ("usage", "impact"), [("volume", Impact.DATA_LOSS), ("vtpm", Impact.DATA_LOSS), ("ceph", Impact.NONE)]
)
def test_what_a_secret_opened_stays_shut_when_it_is_deleted(usage: str, impact: Impact):
    step = plan_absent(replace(OURS, usage=usage)).step
    assert step is not None
    assert (step.action, step.impact) == (Action.DELETE, impact)


def test_a_secret_that_is_not_there_is_as_declared():
    assert plan_absent(replace(OURS, uuid=WEB)) == Verdict()


@pytest.mark.parametrize("text", [NAMED, BY_USAGE])
def test_a_secret_that_somebody_elses_guest_uses_is_kept(text: str):
    blocked = plan_absent(domains=(guest(text, ours=False),)).blocked
    assert blocked is not None
    assert blocked.code == "plan.secret-in-use"


def test_a_secret_goes_after_the_guest_of_ours_that_gives_it_up():
    step = plan_absent(domains=(guest(NAMED, ours=True),)).step
    assert step is not None
    assert step.after == (Address("kvm-1", Kind.DOMAIN, "web"),)
