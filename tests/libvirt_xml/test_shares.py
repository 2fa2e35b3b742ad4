"""Directories of the host in a guest: definitions, changes, and how they fare on a real host."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.manifest import Vm
from kvmdecl.manifest.shares import Share
from kvmdecl.plan import Impact
from kvmdecl.state import Origin
from tests.libvirt_xml.examples import declared, kept, observed
from tests.libvirt_xml.test_on_libvirt import (
    ROOT,
    define_each_over_the_last,
    host,
    start_and_find_nothing_to_do,
)
from tests.libvirt_xml.test_on_libvirt import declared as declared_on_host

__all__ = ["host"]

SHARED = {"memory_keys": {"source": "memfd", "access": "shared"}}
OPTIONS = {"cache": "always", "xattr": True, "sandbox": "chroot", "threads": 4}
LOCKS = {"path": "/usr/lib/qemu/virtiofsd", "posix_locks": False, "flocks": True}
DOCS = {"path": "/srv", "driver": "9p"}

GUESTS: dict[str, dict[str, Any]] = {
    "by virtiofs": SHARED | {"shares": {"code": "/srv", "docs": "/srv/vms"}},
    "by virtiofs, tuned": SHARED
    | {"shares": {"code": {"path": "/srv", "queue_size": "512", "daemon": OPTIONS}}},
    "with locks": SHARED | {"shares": {"code": {"path": "/srv", "daemon": LOCKS}}},
    "by another's daemon": SHARED | {"shares": {"code": {"socket": "/run/code.sock"}}},
    "by 9p": {"shares": {"docs": DOCS}},
    "by 9p, read-only": {"shares": {"docs": DOCS | {"readonly": True, "access": "squash"}}},
    "by 9p, mapped": {"shares": {"docs": DOCS | {"access": "mapped", "file_mode": "640", "dir_mode": "750"}}},
    "by 9p, over several devices": {
        "shares": {"docs": DOCS | {"several_devices": "remap", "write_through": True}}
    },
}
STARTS = {name for name in GUESTS if "9p" in name}


@pytest.mark.parametrize("name", GUESTS)
def test_every_share_fits_libvirts_schema(against_schema, name):
    assert against_schema("domain", complete(declared(**GUESTS[name]))) == []


@pytest.mark.xdist_group("lab")
def test_every_guest_reads_back_as_it_was_declared_also_after_all_others(host):
    define_each_over_the_last(host, GUESTS)


@pytest.mark.xdist_group("lab")
@pytest.mark.parametrize("name", sorted(STARTS))
def test_a_guest_that_was_just_started_needs_nothing(host, name):
    text = declared_on_host(disks=(ROOT,), nics=(), **GUESTS[name])

    start_and_find_nothing_to_do(host, text)


@pytest.mark.parametrize(
    ("before", "after", "impact", "calls"),
    [
        (SHARED, GUESTS["by another's daemon"], Impact.LIVE, ["attach-device"]),
        (GUESTS["by another's daemon"], SHARED, Impact.LIVE, ["detach-device"]),
        (GUESTS["by another's daemon"], GUESTS["with locks"], Impact.NEXT_BOOT, []),
        ({}, GUESTS["by 9p"], Impact.NEXT_BOOT, []),
        (SHARED, SHARED | GUESTS["by 9p"], Impact.NEXT_BOOT, []),
        (GUESTS["by 9p"], {}, Impact.NEXT_BOOT, []),
        (GUESTS["by 9p"], GUESTS["by 9p, read-only"], Impact.NEXT_BOOT, []),
    ],
)
def test_what_a_change_does_to_a_running_guest(before, after, impact, calls):
    was = kept(declared(**before))

    found = assess(declared(**after), declared(**before), observed(was, was), Origin())

    assert {change.key for change in found.changes} <= {"shares.code", "shares.docs"}
    assert {change.impact for change in found.changes} == {impact}
    assert [call.call for call in found.live] == calls


def test_a_guest_without_shared_memory_gets_virtiofs_with_its_next_boot():
    was = kept(declared())

    found = assess(declared(**GUESTS["by virtiofs"]), declared(), observed(was, was), Origin())

    assert {change.impact for change in found.changes} == {Impact.NEXT_BOOT}
    assert found.live == ()


@pytest.mark.parametrize(
    ("make", "at"),
    [
        (Share, ()),
        (lambda: Share(path="/srv", socket="/run/x"), ()),
        (lambda: Share(path="/srv", readonly=True), ("readonly",)),
        (lambda: Share(path="/srv", access="mapped"), ("access",)),
        (lambda: Share(path="/srv", driver="9p", queue_size="64"), ("queue_size",)),
        (lambda: Share(path="/srv", driver="9p", daemon={"threads": 2}), ("daemon",)),
        (lambda: Share(path="/srv", driver="9p", file_mode="644"), ("file_mode",)),
        (lambda: Share(path="/srv", driver="9p", access="squash", dir_mode="755"), ("dir_mode",)),
        (lambda: Share(socket="/run/x", daemon={"threads": 2}), ("daemon",)),
        (lambda: Vm(shares={"code": "/srv"}), ("shares", "code")),
        (lambda: Vm(memory={"size": 2**30, "source": "memfd"}, shares={"code": "/srv"}), ("shares", "code")),
    ],
)
def test_what_cannot_be_is_refused_at_its_key(make, at):
    with pytest.raises(ValidationError) as refused:
        make()

    (error,) = refused.value.errors()
    assert (error["type"], error["ctx"]["at"]) == ("manifest.bad-share", at)
