"""SCSI units, their controller, and disks that may be missing: definitions, changes, and a real host's view."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from kvmdecl.cluster import ResolvedCdrom
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.manifest import Cdrom, Disk, Vm
from kvmdecl.names import MIB
from kvmdecl.plan import Impact
from kvmdecl.state import Origin
from tests.libvirt_xml.examples import declared, disk, kept, observed
from tests.libvirt_xml.test_on_libvirt import (
    ROOT,
    define_each_over_the_last,
    host,
    start_and_find_nothing_to_do,
)
from tests.libvirt_xml.test_on_libvirt import declared as declared_on_host

__all__ = ["host"]

THERE = {"size": None, "format": "raw", "pool": "", "volume": ""}
UNIT = THERE | {"source": "/dev/sdb", "bus": "scsi"}
ISCSI = {"protocol": "iscsi", "servers": ["san.example"], "name": "iqn.2026-01.com.example:vms/2"}
SCSI = disk("data", bus="scsi", volume="late1.raw", format="raw")
TUNED = {"queues": 4, "iothread": 2, "commands_per_unit": 64, "max_sectors": 512}

SAID = {"disk": {"size": MIB, "bus": "scsi"}}  # what the disk that is resolved here was


def one(**given: Any) -> dict[str, Any]:
    return {"disks": (disk(**given),)}


def drive(policy: str | None) -> dict[str, Any]:
    spec = Cdrom(source="/srv/tools.iso", startup_policy=policy)
    return {"cdroms": (ResolvedCdrom("cd", spec, "", "", "", None),)}


GUESTS: dict[str, dict[str, Any]] = {
    "a unit": one(**UNIT, lun=True),
    "a unit with reservations": one(**UNIT, lun=True, reservations=True),
    "a unit of a server": one(**UNIT | {"source": ISCSI}, lun=True),
    "a disk that may be missing": one(startup_policy="optional"),
    "a device that may not": one(**UNIT, startup_policy="mandatory"),
    "a medium that may not": drive("requisite"),
    "a medium that may be missing": drive("optional"),
    "a tuned controller": {"disks": (ROOT, SCSI), "iothreads": 2, "scsi_controller": TUNED, **SAID},
    "a controller with queues": {"disks": (ROOT, SCSI), "scsi_controller": {"queues": 2}, **SAID},
}


@pytest.mark.parametrize("name", GUESTS)
def test_every_disk_fits_libvirts_schema(against_schema, name):
    assert against_schema("domain", complete(declared(**GUESTS[name]))) == []


@pytest.mark.xdist_group("lab")
def test_every_guest_reads_back_as_it_was_declared_also_after_all_others(host):
    define_each_over_the_last(host, GUESTS)


@pytest.mark.xdist_group("lab")
def test_a_guest_with_a_tuned_controller_that_was_just_started_needs_nothing(host):
    text = declared_on_host(nics=(), **GUESTS["a tuned controller"])

    start_and_find_nothing_to_do(host, text)


@pytest.mark.parametrize(
    ("before", "after", "key", "impact", "calls"),
    [
        (one(**UNIT), GUESTS["a unit"], "disk.lun", Impact.NEXT_BOOT, []),
        (
            GUESTS["a unit"],
            GUESTS["a unit with reservations"],
            "disk.reservations",
            Impact.NEXT_BOOT,
            [],
        ),
        (one(), one(startup_policy="optional"), "disk.startup_policy", Impact.LIVE, ["update-device"]),
        (drive("mandatory"), drive("optional"), "cdroms.cd.startup_policy", Impact.LIVE, ["update-device"]),
        (
            {"disks": (ROOT, SCSI), "iothreads": 2},
            GUESTS["a tuned controller"],
            "scsi_controller",
            Impact.NEXT_BOOT,
            [],
        ),
    ],
)
def test_what_a_change_does_to_a_running_guest(before, after, key, impact, calls):
    was = kept(declared(**before))

    found = assess(declared(**after), declared(**before), observed(was, was), Origin())

    assert {change.key for change in found.changes} == {key}
    assert {change.impact for change in found.changes} == {impact}
    assert [call.call for call in found.live] == calls


_DEVICE = {"source": "/dev/sdb", "format": "raw", "bus": "scsi"}
_QUEUES = {"scsi_controller": {"queues": 2}}


@pytest.mark.parametrize(
    ("make", "at"),
    [
        (lambda: Disk(**_DEVICE | {"bus": "virtio"}, lun=True), ("lun",)),
        (lambda: Disk(**_DEVICE | {"source": "/srv/x.raw"}, lun=True), ("lun",)),
        (lambda: Disk(size=MIB, bus="scsi", lun=True), ("lun",)),
        (lambda: Disk(**_DEVICE | {"format": "qcow2"}, lun=True), ("format",)),
        (lambda: Disk(**_DEVICE, lun=True, serial="a"), ("serial",)),
        (lambda: Disk(**_DEVICE, lun=True, readonly=True), ("readonly",)),
        (lambda: Disk(**_DEVICE, reservations=True), ("reservations",)),
        (lambda: Disk(**_DEVICE | {"source": ISCSI}, startup_policy="optional"), ("startup_policy",)),
        (lambda: Cdrom(startup_policy="optional"), ("startup_policy",)),
        (lambda: Vm(disk=MIB, **_QUEUES), ("scsi_controller",)),
        (
            lambda: Vm(disk={"size": MIB, "bus": "scsi"}, scsi_controller={"iothread": 1}),
            ("scsi_controller", "iothread"),
        ),
    ],
)
def test_what_cannot_be_is_refused_at_its_key(make, at):
    with pytest.raises(ValidationError) as refused:
        make()

    (error,) = refused.value.errors()
    assert (error["type"], error["ctx"]["at"]) == ("manifest.bad-disk", at)
