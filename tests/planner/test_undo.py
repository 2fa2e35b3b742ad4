"""What a run did and no plan brings back is named, each with its own reason."""

from __future__ import annotations

import pytest

from kvmdecl.plan import Action, HostStatus, Impact, Plan, PlannedHost, Step
from kvmdecl.planner.undo import Begun, undo_plan
from kvmdecl.scenario import example_host
from kvmdecl.state import Address, Kind
from kvmdecl.tasks import ChangeSnapshots, DefineSecret, DeleteSecret, RevertSnapshot, Task


@pytest.mark.parametrize(
    ("kind", "task", "why"),
    [
        (
            Kind.SECRET,
            DefineSecret("disks", "u", "disks", "<secret/>", "1", None),  # type: ignore[arg-type]
            "it stays, with the value that it has now: which one it had before is not known",
        ),
        (
            Kind.SECRET,
            DeleteSecret("disks", "u"),
            "its value is not known any more; apply the manifest as it was before, which reads it anew",
        ),
        (
            Kind.DOMAIN,
            ChangeSnapshots("db", "u", "before", "command", False, (), ()),
            "snapshots that were taken stay, and those that were merged are gone",
        ),
        (
            Kind.DOMAIN,
            RevertSnapshot("db", "u", "before", (), False),
            "it goes on from its snapshot; what it wrote before is not put back under it",
        ),
    ],
)
def test_what_has_no_way_back_is_named_with_its_reason(kind: Kind, task: Task, why: str):
    step = Step(Address("kvm-1", kind, "db"), Action.UPDATE, Impact.NONE, (), "", "there", task)
    plan = Plan("edge", "r", (PlannedHost("kvm-1", "", HostStatus.OK),), (step,), 0)

    back = undo_plan(plan, [Begun(step, None)], {"kvm-1": example_host("kvm-1")})

    (note,) = back.notes
    assert (back.steps, note.code) == ((), "undo.not-possible")
    assert note.summary == f"kvm-1/{kind}/db is not undone: {why}"
