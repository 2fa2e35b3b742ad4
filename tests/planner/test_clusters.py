"""A plan with a cluster manager in it: what is left alone where that does not answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmdecl.diagnostics import Diagnostic, Rejected, Severity
from kvmdecl.manager import Comparison, Configuration, Unknown
from kvmdecl.plan import Action, Fate, Prospect
from kvmdecl.planner.clusters import with_manager, with_proofs
from kvmdecl.planner.undo import Begun, undo_managers
from kvmdecl.state import Address, Kind
from kvmdecl.takeover import Proof, Takeover
from kvmdecl.tasks import ConfigureManager, HandOverDomain
from tests.views.plans import plan_of, step

SILENT = Diagnostic("ha.silent", "no host answered for Pacemaker", severity=Severity.WARNING)
GOES = replace(step("db"), task=HandOverDomain("db", "u", "<domain/>", None, (), "pacemaker", "defs/db.xml"))


@pytest.mark.parametrize(
    "answer",
    [Unknown(SILENT, asked=True), Comparison(None, 0, (replace(SILENT, severity=Severity.ERROR),))],
    ids=["silent", "blocked"],
)
def test_no_guest_is_handed_to_who_cannot_be_told_of_it(answer: Unknown | Comparison):
    observed = answer if isinstance(answer, Unknown) else Configuration("kvm-1", "<cib/>")
    plan = with_manager(plan_of(GOES, step("web")), "ha", observed, lambda _: answer)

    assert [each.address.name for each in plan.steps] == ["web"]
    assert [each.code for each in plan.blocked if each.subject == "kvm-1/domain/db"] == ["plan.held"]


def test_where_nobody_is_asked_the_configuration_is_loaded_by_hand_and_guests_are_handed_over():
    plan = with_manager(plan_of(GOES), "ha", Unknown(SILENT, asked=False), lambda _: pytest.fail("asked"))
    assert (len(plan.steps), plan.blocked) == (1, ())


# -- what becomes of guests, and what if hosts are lost ------------------------------------------------------

STRANDED = Diagnostic("failover.stranded", "Pacemaker leaves db down when kvm-1 is lost", subject="vm/db")
TOLD = Configuration("<cib/>", "kvm-1")
CHANGE = replace(step("edge"), address=Address("ha", Kind.CLUSTER, "edge"))
COMPARED = Comparison(CHANGE, 3, prospects=(Prospect("db", Fate.RESTART, "kvm-1", "kvm-1"),))


def proof(*found: Diagnostic, binding: bool = True) -> Proof:
    lost = Takeover(("kvm-1",), {}, {}, ("db",))
    return Proof("Pacemaker", 1, 1, {"db": "kvm-1"}, (lost,), found, binding=binding)


def test_what_was_proven_is_done_and_told():
    plan = with_manager(plan_of(), "ha", TOLD, lambda _: COMPARED, lambda: (proof(),))
    plan = with_proofs(plan, lambda: (proof(),))

    assert [each.address.name for each in plan.steps] == ["edge"]
    assert plan.managers[0].prospects == COMPARED.prospects
    assert (plan.proofs, plan.blocked, plan.notes) == ((proof(),), (), ())


def test_a_configuration_that_strands_a_vm_is_held_back_at_its_line():
    found = proof(STRANDED)
    plan = with_manager(plan_of(), "ha", TOLD, lambda _: COMPARED, lambda: (found,))

    assert (plan.steps, plan.managers[0].prospects, plan.blocked) == ((), (), (STRANDED,))


@pytest.mark.parametrize(
    ("found", "blocked", "notes"),
    [
        (proof(STRANDED), (STRANDED,), ()),
        (proof(STRANDED, binding=False), (), (replace(STRANDED, severity=Severity.WARNING),)),
        (proof(SILENT), (), (SILENT,)),
    ],
    ids=["promised", "not promised", "a warning"],
)
def test_without_its_configuration_the_proof_is_told_all_the_same(
    found: Proof, blocked: tuple[Diagnostic, ...], notes: tuple[Diagnostic, ...]
):
    plan = with_proofs(plan_of(step("web")), lambda: (found,))

    assert (plan.blocked, plan.notes, plan.proofs) == (blocked, notes, (found,))


def test_what_cannot_be_proven_is_said():
    def unknown() -> tuple[Proof, ...]:
        raise Rejected([replace(SILENT, code="ha.missing-tool", severity=Severity.ERROR)])

    plan = with_proofs(plan_of(step("web")), unknown)
    assert [(each.code, each.severity) for each in plan.notes] == [("plan.not-proven", Severity.WARNING)]
    held = with_manager(plan_of(), "ha", TOLD, lambda _: COMPARED, unknown)
    assert (held.steps, [each.code for each in held.blocked]) == ((), ["ha.missing-tool"])


def test_a_plan_that_is_about_no_guest_is_not_asked_about():
    plan = with_proofs(plan_of(), lambda: pytest.fail("asked"))
    assert plan.proofs == ()


# -- the way back -----

BACK = ConfigureManager("pacemaker", "edge", "<cib/>", "kvm-1", "", (), (), (), "<cib/>")
MANAGED = replace(step("edge"), address=Address("pacemaker", Kind.CLUSTER, "edge"), task=BACK)
NET = replace(step("lan"), address=Address("kvm-1", Kind.NETWORK, "lan"), action=Action.DELETE)


def test_on_the_way_back_nothing_is_taken_from_under_guests_that_their_manager_still_runs():
    """Who went from libvirt to the manager in the same run is named to it."""
    asked = list[frozenset[str]]()

    def back(_task: ConfigureManager, others: frozenset[str]) -> Comparison:
        asked.append(others)
        return Comparison(MANAGED, 1)

    plan = undo_managers(plan_of(NET), [Begun(MANAGED, None), Begun(GOES, None)], back)
    after = {each.address: each.after for each in plan.steps}
    assert after == {NET.address: (MANAGED.address,), MANAGED.address: ()}
    assert asked == [frozenset({"db"})]


def test_what_has_no_way_back_is_named():
    plan = undo_managers(plan_of(), [Begun(MANAGED, None)], lambda *_: "it is gone")
    assert [(note.code, note.summary) for note in plan.notes] == [
        ("undo.not-possible", "pacemaker/cluster/edge is not undone: it is gone")
    ]
