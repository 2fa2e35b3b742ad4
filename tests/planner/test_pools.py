"""What a pool's step says before it is done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmdecl.cluster import ResolvedPool
from kvmdecl.libvirt_xml.marker import Marker, with_marker
from kvmdecl.libvirt_xml.pool import pool_xml
from kvmdecl.libvirt_xml.trace import pool_note
from kvmdecl.manifest import Pool
from kvmdecl.names import derive_uuid
from kvmdecl.plan import Impact
from kvmdecl.planner.pools import plan_absent_pool, plan_pool
from kvmdecl.planner.verdict import HostView, Verdict
from kvmdecl.state import (
    Absent,
    Address,
    DesiredPool,
    HostState,
    Kind,
    Ledger,
    LedgerEntry,
    ObservedDomain,
    ObservedPool,
    ObservedVolume,
)

UUID = derive_uuid("edge", Kind.POOL, "data")
FS = {"type": "fs", "path": "/srv/data", "devices": ["/dev/sdb1"], "format": "ext4"}
NOTED = LedgerEntry(Kind.POOL, "data", "", "", complete=True)


def xml(**given: object) -> str:
    return pool_xml(ResolvedPool("data", UUID, Pool(**FS | given), ("kvm-1",)))


def plan(kept: str | None, *entries: LedgerEntry, build: bool = True, active: bool = False) -> Verdict:
    pools = () if kept is None else (ObservedPool("data", UUID, kept, active, True, 0, 0, ()),)
    state = HostState(pools=pools, ledgers=(Ledger("edge", entries),))
    desired = DesiredPool(Address("kvm-1", Kind.POOL, "data"), UUID, xml(), autostart=True, build=build)
    return plan_pool(desired, HostView("kvm-1", "edge", "r1", state, 9000000))


@pytest.mark.parametrize("kept", [None, xml()])
def test_formatting_a_device_is_planned_as_data_loss(kept: str | None):
    step = plan(kept).step
    assert step is not None
    assert step.impact is Impact.DATA_LOSS
    assert "formatted" in step.summary


def test_a_pool_that_was_made_is_never_formatted_again():
    step = plan(xml(), NOTED).step
    assert step is not None
    assert (step.impact, step.summary) == (Impact.NONE, "")


def test_nothing_is_formatted_unless_the_manifest_says_so():
    step = plan(None, build=False).step
    assert step is not None
    assert step.impact is Impact.NONE


def test_an_undeclared_field_of_a_pool_that_somebody_changed_is_a_note():
    kept = pool_with("<features><cow state='yes'/></features>", "<mode>0711</mode>")
    noted = replace(NOTED, applied=pool_note(kept, 9000000))

    def told(now: str, entry: LedgerEntry = noted) -> list[str]:
        return [note.summary for note in plan(now, entry, active=True).notes]

    assert told(kept) == []
    (summary,) = told(pool_with("", "<mode>0700</mode>"))
    assert summary == "data was changed outside of kvmdecl: features/cow@state, target/permissions/mode"
    assert told(pool_with("<features><cow state='yes'/></features>")) == [], "stopped, it has no directory"
    assert told(pool_with(""), NOTED) == [], "an earlier version noted nothing"
    assert told(pool_with(""), replace(noted, applied=pool_note(kept, 8000000))) == [], "another libvirt"
    assert told(pool_with(""), replace(noted, applied="9000000:torn")) == []


def pool_with(features: str, permissions: str = "") -> str:
    more = f"<permissions>{permissions}</permissions></target>" if permissions else "</target>"
    return xml().replace("</target>", more).replace("</pool>", f"{features}</pool>")


@pytest.mark.parametrize("kept", [xml(devices=["/dev/sdc1"]), xml(path="/srv/other"), xml(format="xfs")])
def test_a_pool_is_not_changed_under_its_volumes(kept: str):
    blocked = plan(kept, NOTED, active=True).blocked
    assert blocked is not None
    assert blocked.code == "plan.pool-changed"


VOLUME = ObservedVolume("data", "db.raw", "/srv/data/db.raw", "raw", 1, 1, None)
ON_IT = ("<source file='/srv/data/db.raw'/>", "<source pool='data' volume='db.raw'/>")
BESIDE = "<source file='/srv/other/db.raw'/>"


def plan_absent(source: str, *, active: bool = True, ours: bool = False, **given: object) -> Verdict:
    disk = f"<disk><backingStore>{source}</backingStore></disk>"
    guest = f"<domain type='kvm'><name>db</name><uuid>{DB}</uuid><devices>{disk}</devices></domain>"
    if ours:
        guest = with_marker(guest, Marker("edge", DB, "db", "r1", "0", guest))
    domain = ObservedDomain("db", DB, guest, guest if active else None, active, True, False, False)
    pool = ObservedPool("data", UUID, xml(**given), True, True, 0, 0, (VOLUME,))
    view = HostView("kvm-1", "edge", "r1", HostState(domains=(domain,), pools=(pool,)))
    return plan_absent_pool(Absent(Address("kvm-1", Kind.POOL, "data")), UUID, view)


DB = derive_uuid("edge", Kind.DOMAIN, "db")


@pytest.mark.parametrize("source", ON_IT)
def test_a_pool_is_not_stopped_under_a_guest_of_somebody_else(source: str):
    found = plan_absent(source).blocked
    assert found is not None
    assert (found.code, "in use by db" in found.summary) == ("plan.pool-in-use", True)
    assert plan_absent(source, active=False).step is not None


def test_a_pool_goes_after_the_guest_of_ours_that_runs_on_it():
    step = plan_absent(ON_IT[0], ours=True).step
    assert step is not None
    assert step.after == (Address("kvm-1", Kind.DOMAIN, "db"),)


@pytest.mark.parametrize(
    ("source", "given"), [(BESIDE, {}), (ON_IT[0], {"type": "dir", "devices": (), "format": None})]
)
def test_a_pool_that_no_guest_needs_goes_with_its_files_kept(source: str, given: dict[str, object]):
    step = plan_absent(source, **given).step
    assert step is not None
    assert (step.impact, step.summary) == (Impact.NONE, "stopped and undefined; the files in it stay")
