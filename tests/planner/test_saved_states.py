"""A guest with a saved state (managed save) may be resumed; it is not changed, and not deleted with it."""

from __future__ import annotations

from dataclasses import replace

from kvmdecl.libvirt_xml.marker import Marker, with_marker
from kvmdecl.plan import Action
from kvmdecl.planner.domains import plan_absent_domain, plan_domain
from kvmdecl.planner.verdict import HostView, Verdict
from kvmdecl.state import Absent, Address, DesiredDomain, HostState, Kind
from kvmdecl.tasks import DefineDomain
from tests.libvirt_xml.examples import UUID, declared, disk, kept, observed

WEB = Address("kvm-1", Kind.DOMAIN, "web-1")
XML = declared()
MARKED = with_marker(kept(XML), Marker("edge", UUID, "web-1", "r1", "0", XML))
SAVED = replace(observed(MARKED), managed_save=True)
VIEW = HostView("kvm-1", "edge", "r1", HostState(domains=(SAVED,)))


def plan(xml: str = XML, *, running: bool = True) -> Verdict:
    return plan_domain(DesiredDomain(WEB, UUID, xml, running=running, autostart=True), VIEW)


def test_a_start_resumes_it():
    step = plan().step
    assert step is not None
    assert [(change.before, change.after) for change in step.changes] == [("saved", "running")]
    assert isinstance(step.task, DefineDomain)
    assert step.task.power == "start"


def test_it_may_stay_as_it_is():
    assert plan(running=False).step is None


def test_its_definition_is_not_changed():
    for running in (True, False):
        found = plan(declared(disks=(disk(cache="none"),)), running=running).blocked
        assert found is not None
        assert found.code == "plan.managed-save"


def test_it_is_not_deleted_with_what_it_holds():
    found = plan_absent_domain(Absent(WEB), UUID, VIEW).blocked
    assert found is not None
    assert found.code == "plan.managed-save"
    assert "would be lost" in found.summary
    dropped = HostView("kvm-1", "edge", "r1", HostState(domains=(replace(SAVED, managed_save=False),)))
    step = plan_absent_domain(Absent(WEB), UUID, dropped).step
    assert step is not None
    assert step.action is Action.DELETE
