"""A disk that begins as a copy: what the plan shows, and what it refuses to copy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmdecl.names import MIB
from kvmdecl.plan import Action
from kvmdecl.planner.verdict import HostView, Verdict
from kvmdecl.planner.volumes import plan_volume
from kvmdecl.state import (
    Address,
    DesiredVolume,
    HostState,
    Kind,
    Ledger,
    LedgerEntry,
    ObservedDomain,
    ObservedPool,
    ObservedVolume,
    Role,
)

GOLDEN = ObservedVolume("vms", "golden.raw", "/srv/vms/golden.raw", "raw", 8 * MIB, MIB, None)
COPY = ObservedVolume("vms", "web.root.raw", "/srv/vms/web.root.raw", "raw", 8 * MIB, MIB, None)
WANTED = DesiredVolume(
    Address("kvm-1", Kind.VOLUME, "vms/web.root.raw"),
    Role.DISK,
    "raw",
    None,
    vm="web",
    clone="vms/golden.raw",
)
MADE = LedgerEntry(Kind.VOLUME, "vms/web.root.raw", "web", "copy of vms/golden.raw", complete=True)
TORN = replace(MADE, complete=False)


def guest(source: str, *, active: bool = True) -> ObservedDomain:
    xml = f"<domain><devices><disk>{source}<target dev='vda'/></disk></devices></domain>"
    return ObservedDomain("db", "", xml, xml if active else None, active, True, False, False)


def plan(
    *volumes: ObservedVolume,
    wanted: DesiredVolume = WANTED,
    noted: LedgerEntry | None = None,
    domains: tuple[ObservedDomain, ...] = (),
    active: bool = True,
) -> Verdict:
    pool = ObservedPool("vms", "", "", active, True, 0, 0, volumes if active else ())
    state = HostState(domains, pools=(pool,), ledgers=(Ledger("edge", (noted,) if noted else ()),))
    return plan_volume(wanted, HostView("kvm-1", "edge", "r1", state))


def test_a_copy_is_made_once():
    step = plan(GOLDEN).step
    assert step is not None
    assert (step.action, step.summary) == (Action.CREATE, "raw, a full copy of vms/golden.raw")
    assert plan(GOLDEN, COPY, noted=MADE) == Verdict()
    assert plan(COPY, noted=MADE) == Verdict(), "the original is needed no more"
    torn = plan(GOLDEN, COPY, noted=TORN).step
    assert torn is not None
    assert "interrupted" in torn.summary


BUSY = "<source file='/srv/vms/golden.raw'/>"


@pytest.mark.parametrize(
    ("volumes", "changes", "why"),
    [
        ((), {}, "kvm-1 does not have"),
        ((replace(GOLDEN, encrypted=True),), {}, "which is encrypted"),
        ((GOLDEN,), {"domains": (guest(BUSY),)}, "db is writing to that"),
        ((GOLDEN,), {"domains": (guest("<source pool='vms' volume='golden.raw'/>"),)}, "db is writing to"),
        ((GOLDEN,), {"wanted": replace(WANTED, capacity=4 * MIB)}, "which has 8MiB and not 4MiB"),
        ((GOLDEN, COPY), {"domains": (guest(BUSY),), "noted": TORN}, "db is writing to that"),
    ],
)
def test_what_cannot_be_copied_now_is_blocked(
    volumes: tuple[ObservedVolume, ...], changes: dict[str, object], why: str
):
    found = plan(*volumes, **changes).blocked  # type: ignore[arg-type]
    assert found is not None
    assert found.code == "plan.cannot-copy"
    assert why in found.summary


IMAGE = replace(WANTED, needs=(Address("kvm-1", Kind.VOLUME, "vms/golden.raw"),))
BENEATH = "<source file='/srv/vms/golden@x.qcow2'/><backingStore><source file='/srv/vms/golden.raw'/></backingStore>"


@pytest.mark.parametrize(
    ("volumes", "changes"),
    [
        ((GOLDEN,), {"domains": (guest(BUSY, active=False),)}),
        ((GOLDEN,), {"domains": (guest(f"{BUSY}<readonly/>"),)}),
        ((GOLDEN,), {"domains": (guest(BENEATH),)}),
        ((), {"active": False}),
        ((), {"wanted": IMAGE}),
    ],
    ids=[
        "the guest is off",
        "it only reads",
        "it writes to a layer on top",
        "pool to be started",
        "image to come",
    ],
)
def test_what_can_be_copied_or_may_be_there_in_time_is_planned(
    volumes: tuple[ObservedVolume, ...], changes: dict[str, object]
):
    assert plan(*volumes, **changes).step is not None  # type: ignore[arg-type]


def test_a_disk_that_is_said_to_begin_as_something_else_keeps_what_it_began_as():
    (note,) = plan(GOLDEN, COPY, noted=MADE, wanted=replace(WANTED, clone=None)).notes
    assert note.code == "plan.image-kept"
    assert "began as copy of vms/golden.raw and keeps it; the manifest now says no image" in note.summary
