"""A guest that is being started, perhaps for ever, is left as it is; the plan says so, whatever is wanted of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmdecl.libvirt_xml.marker import Marker, with_marker
from kvmdecl.planner.domains import plan_absent_domain, plan_domain
from kvmdecl.planner.verdict import HostView
from kvmdecl.state import Absent, Address, DesiredDomain, HostState, Kind
from tests.libvirt_xml.examples import UUID, declared, disk, kept, observed

WEB = Address("kvm-1", Kind.DOMAIN, "web-1")
XML = declared()
MARKED = with_marker(kept(XML), Marker("edge", UUID, "web-1", "r1", "0", XML))
THERE = replace(observed(MARKED), active=True, live_xml=MARKED, autostart=True)


def view(*, starting: bool) -> HostView:
    return HostView("kvm-1", "edge", "r1", HostState(domains=(replace(THERE, starting=starting),)))


@pytest.mark.parametrize("xml", [XML, declared(disks=(disk(cache="none"),))], ids=["as it is", "changed"])
@pytest.mark.parametrize("running", [True, False, None])
def test_it_is_neither_changed_nor_taken_for_running(xml: str, *, running: bool | None):
    desired = DesiredDomain(WEB, UUID, xml, running=running, autostart=True)

    found = plan_domain(desired, view(starting=True)).blocked

    assert found is not None
    assert found.code == "plan.still-starting"
    assert "/run/libvirt/qemu/web-1.xml" in found.hint
    assert plan_domain(desired, view(starting=False)).blocked is None


def test_it_is_not_deleted():
    found = plan_absent_domain(Absent(WEB), UUID, view(starting=True)).blocked

    assert found is not None
    assert found.code == "plan.still-starting"
    assert plan_absent_domain(Absent(WEB), UUID, view(starting=False)).step is not None
