"""Locks of a cluster's lock manager: definitions, changes, and how they fare on a real host."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest
from pydantic import ValidationError

from kvmdecl.libvirt_xml.impact import Assessment, assess
from kvmdecl.libvirt_xml.overlay import attachable, complete, find_device, overlay
from kvmdecl.manifest.leases import Lease
from kvmdecl.names import GIB, MIB
from kvmdecl.plan import Impact
from kvmdecl.state import Origin
from tests.libvirt_xml.examples import declared, kept, observed
from tests.libvirt_xml.test_on_libvirt import DUMP, ROOT, Host, define_each_over_the_last, host
from tests.libvirt_xml.test_on_libvirt import declared as declared_on_host

__all__ = ["host"]

DATA = {"lockspace": "cluster-1", "path": "/srv/leases"}
LOGS = DATA | {"offset": MIB}

GUESTS: dict[str, dict[str, Any]] = {
    "one": {"leases": {"data": DATA}},
    "two": {"leases": {"data": DATA, "logs": LOGS}},
    "the other": {"leases": {"logs": LOGS}},
    "one elsewhere": {"leases": {"data": LOGS}},
}


@pytest.mark.parametrize("name", GUESTS)
def test_every_lease_fits_libvirts_schema(against_schema, name: str):
    assert against_schema("domain", complete(declared(**GUESTS[name]))) == []


@pytest.mark.parametrize(
    ("before", "after", "changes", "calls"),
    [
        ("one", "two", [("leases.logs", Impact.LIVE)], ["attach-device"]),
        ("two", "one", [("leases.logs", Impact.LIVE)], ["detach-device"]),
        ("one", "one elsewhere", [("leases.data", Impact.NEXT_BOOT)], []),
    ],
)
def test_what_a_change_does_to_a_running_guest(before: str, after: str, changes, calls):
    was = kept(declared(**GUESTS[before]))

    found = assess(declared(**GUESTS[after]), declared(**GUESTS[before]), observed(was, was), Origin())

    assert [(change.key, change.impact) for change in found.changes] == changes
    assert [call.call for call in found.live] == calls


@pytest.mark.parametrize(
    "given",
    [
        {"lockspace": "cluster-1"},
        {"path": "/srv/leases"},
        DATA | {"lockspace": "a b"},
        DATA | {"path": "leases"},
        DATA | {"offset": 4 * GIB},
    ],
)
def test_what_is_no_lease_is_refused(given):
    with pytest.raises(ValidationError):
        Lease(**given)


@pytest.mark.xdist_group("lab")
def test_every_guest_reads_back_as_it_was_declared_also_after_all_others(host: Host):
    define_each_over_the_last(host, GUESTS)


@pytest.mark.xdist_group("lab")
def test_a_running_guest_takes_a_lease_and_gives_one_back(host: Host):
    one, two, other = (
        declared_on_host(disks=(ROOT,), nics=(), **GUESTS[name]) for name in ("one", "two", "the other")
    )
    domain = host.define(complete(one))
    domain.create()
    assert assess(one, one, host.observe(domain), Origin()) == Assessment((), ())

    (call,) = assess(two, one, host.observe(domain), Origin()).live
    domain.attachDeviceFlags(attachable(call.argument), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    domain = host.define(overlay(domain.XMLDesc(DUMP), two, one, domain.XMLDesc(0)))
    assert assess(two, two, host.observe(domain), Origin()) == Assessment((), ())

    (call,) = assess(other, two, host.observe(domain), Origin()).live
    device = find_device(domain.XMLDesc(0), call.argument, two)
    assert device is not None
    domain.detachDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    domain = host.define(overlay(domain.XMLDesc(DUMP), other, two, domain.XMLDesc(0)))
    assert assess(other, other, host.observe(domain), Origin()) == Assessment((), ())
