"""A plan with a cluster manager in it: what is left alone where that does not answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.manager import Comparison, Configuration, Unknown
from kvmdecl.planner.clusters import with_manager
from kvmdecl.tasks import HandOverDomain
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
