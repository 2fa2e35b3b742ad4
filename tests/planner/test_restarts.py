"""What a guest that may be restarted is restarted for."""

from __future__ import annotations

import pytest

from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.planner.domains import _restarts
from kvmdecl.state import Address, DesiredDomain, Kind, Origin
from tests.libvirt_xml.examples import declared, disk, kept, nic, observed

LATER = "52:54:00:00:00:09"


@pytest.mark.parametrize(
    ("wanted", "running", "is_restarted"),
    [
        ({"disks": (disk(cache="none"),)}, {}, True),
        ({"nics": (nic(mac=LATER, boot_order=2),)}, {"nics": (nic(mac=LATER),)}, False),
        ({}, {}, False),
    ],
    ids=["a cache that waits for the next boot", "the order of boot alone", "nothing"],
)
def test_a_guest_is_restarted_for_what_it_only_gets_by_that(wanted, running, is_restarted: bool):
    xml = declared(**wanted)
    seen = observed(kept(xml), kept(declared(**running)))
    vm = DesiredDomain(
        Address("kvm-1", Kind.DOMAIN, "web"), "", xml, running=True, autostart=True, restart="now"
    )

    assert _restarts(vm, seen, assess(xml, xml, seen, Origin())) is is_restarted


@pytest.mark.parametrize(("ports", "is_restarted"), [(2, False), (60, True)])
def test_it_is_restarted_for_ports_that_it_lacks_and_not_to_name_those_that_it_has(
    ports: int, is_restarted: bool
):
    xml, before = declared(hotplug_ports=ports), declared()
    seen = observed(kept(before), kept(before))
    vm = DesiredDomain(
        Address("kvm-1", Kind.DOMAIN, "web"), "", xml, running=True, autostart=True, restart="now"
    )

    found = assess(xml, before, seen, Origin())

    assert found.changes
    assert _restarts(vm, seen, found) is is_restarted
