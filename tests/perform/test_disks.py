"""Options of disks on guests that run: started with them, changed under them, and nothing left to do afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libvirt
import pytest
from lxml import etree

from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.impact import Assessment, assess
from kvmdecl.manifest import Pool
from kvmdecl.names import MIB
from kvmdecl.state import Address, Kind, ObservedDomain, Origin
from kvmdecl.tasks import DefineDomain
from tests.libvirt_xml.examples import UUID, cdrom, vm
from tests.libvirt_xml.examples import disk as example

if TYPE_CHECKING:
    from tests.perform.conftest import Hand

pytestmark = pytest.mark.xdist_group("lab")

POOLS = {"vms": Pool(path="/srv")}
NOTHING = ((), (), ())


def disk(name: str = "root", **given: Any) -> Any:
    return example(name, volume=f"{name}.raw", format="raw", **given)


class Guest:
    """A guest that is brought to what is declared, as plan and apply do it."""

    def __init__(self, hand: Hand, **given: Any) -> None:
        self.hand = hand
        self.declared: str | None = None
        self.become(**given)

    def become(self, **given: Any) -> tuple[Assessment | None, tuple[str, ...]]:
        """What the plan said, and what the user was told."""
        before, self.declared = self.declared, domain_xml(vm(nics=(), **given), POOLS)
        found = assess(self.declared, before, self.observed(), Origin()) if before else None
        live = found.live if found else ()
        task = DefineDomain("web-1", UUID, self.declared, before, live, "start", False, "edge", "r1")
        return found, self.hand.do(task).remarks

    def observed(self) -> ObservedDomain:
        seen = self.hand.look(Address(self.hand.host.name, Kind.DOMAIN, "web-1"))
        assert isinstance(seen, ObservedDomain)
        return seen

    def left_to_do(self) -> tuple[object, ...]:
        assert self.declared
        found = assess(self.declared, self.declared, self.observed(), Origin())
        return found.changes, found.live, found.pending

    def running(self) -> etree._Element:
        return etree.fromstring(self.hand.connection.lookupByName("web-1").XMLDesc())

    def limits(self, target: str = "vda") -> dict[str, Any]:
        limits = self.hand.connection.lookupByName("web-1").blockIoTune(
            target, libvirt.VIR_DOMAIN_AFFECT_LIVE
        )
        return {name: value for name, value in limits.items() if value and name != "group_name"}

    def pid(self) -> str:
        return (self.hand.host.folder / "run/libvirt/qemu/web-1.pid").read_text()


@pytest.fixture
def files(hand: Hand) -> None:
    for name in ("root", "data", "logs", "docs", "both"):
        hand.path(f"/srv/{name}.raw").write_bytes(bytes(MIB))


@pytest.mark.usefixtures("files")
def test_a_guest_starts_with_every_option_of_its_disks(hand: Hand):
    guest = Guest(
        hand,
        iothreads=2,
        disks=(
            disk(cache="none", io="native", discard="unmap", detect_zeroes="unmap", iothread=2, queues=1),
            disk("data", io="io_uring", error_policy="enospace", read_error_policy="report", iothread=1),
            disk("logs", bus="sata", rotation_rate=7200, io="threads", copy_on_read=True),
            disk("docs", bus="scsi", wwn="5000c50015ea71aa", rotation_rate=1, readonly=True),
            disk("both", shareable=True, error_policy="stop", iotune={"read_iops_sec": 7}),
        ),
    )

    assert guest.left_to_do() == NOTHING


@pytest.mark.usefixtures("files")
def test_limits_come_change_and_go_under_a_running_guest(hand: Hand):
    guest = Guest(hand, disks=(disk(),))
    pid = guest.pid()
    for limits in (
        {"total_iops_sec": 100, "size_iops_sec": "4KiB"},
        {"total_iops_sec": 50, "total_iops_sec_max": 90, "total_iops_sec_max_length": 3},
        {"read_iops_sec": 7, "write_bytes_sec": "1MiB", "write_bytes_sec_max": "2MiB"},
        {"read_bytes_sec": "3MiB", "read_iops_sec": 8},
        {},
    ):
        found, remarks = guest.become(disks=(disk(iotune=limits),))

        assert ([call.call for call in found.live], remarks) == (["set-iotune"], ())
        assert guest.left_to_do() == NOTHING
    assert (guest.limits(), guest.pid()) == ({}, pid)


@pytest.mark.usefixtures("files")
def test_whether_a_disk_may_be_missing_changes_while_the_guest_runs(hand: Hand):
    guest = Guest(hand, disks=(disk(),))
    pid = guest.pid()
    for policy in ("optional", "mandatory", None):
        found, remarks = guest.become(disks=(disk(startup_policy=policy),))

        assert ([call.call for call in found.live], remarks) == (["update-device"], ())
        assert guest.left_to_do() == NOTHING
    assert guest.pid() == pid


@pytest.mark.usefixtures("files")
def test_a_limit_that_an_operator_set_stays_when_ours_changes(hand: Hand):
    guest = Guest(hand, disks=(disk(iotune={"read_iops_sec": 7}),))
    theirs = {"write_bytes_sec": 9999, "read_iops_sec": 7}
    hand.connection.lookupByName("web-1").setBlockIoTune(
        "vda", theirs, libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG
    )

    guest.become(disks=(disk(iotune={"read_bytes_sec": "1MiB"}),))

    assert guest.limits() == {"read_bytes_sec": MIB, "write_bytes_sec": 9999}
    assert guest.left_to_do() == NOTHING


@pytest.mark.usefixtures("files")
def test_threads_come_before_the_disks_that_they_serve_and_go_when_they_are_free(hand: Hand):
    guest = Guest(hand, disks=(disk(),))
    pid = guest.pid()
    served = {"iothreads": 3, "disks": (disk(), disk("data", iothread=3))}

    found, remarks = guest.become(**served)
    assert ([call.call for call in found.live], remarks) == (["add-iothreads", "attach-device"], ())
    assert guest.left_to_do() == NOTHING
    driver = guest.running().find("devices/disk[2]/driver")
    assert driver.get("iothread") == "3"

    guest.become(iothreads=4, disks=served["disks"])
    found, remarks = guest.become(**served)
    assert ([call.call for call in found.live], remarks) == (["remove-iothreads"], ())
    assert (guest.left_to_do(), guest.pid()) == (NOTHING, pid)


@pytest.mark.usefixtures("files")
def test_a_thread_whose_disk_the_guest_keeps_stays_and_the_user_is_told(hand: Hand):
    guest = Guest(hand, iothreads=1, disks=(disk(), disk("data", iothread=1)))

    _, remarks = guest.become(disks=(disk(),))

    assert remarks == (
        "the guest did not let disk[data] go; it leaves when the guest is next powered off",
        "I/O thread 1 serves a disk yet; it ends when the guest is next powered off",
    )


@pytest.mark.usefixtures("files")
def test_a_medium_comes_changes_and_goes_while_the_guest_runs(hand: Hand):
    for name in ("a", "b"):
        hand.path(f"/srv/{name}.iso").write_bytes(bytes(MIB))
    guest = Guest(hand, disks=(disk(),), cdroms=(cdrom(),))
    pid = guest.pid()
    assert guest.left_to_do() == NOTHING

    for medium in ("a.iso", "b.iso", "", "b.iso"):
        found, remarks = guest.become(disks=(disk(),), cdroms=(cdrom("cd", medium),))

        assert ([call.call for call in found.live], remarks) == (["update-device"], ())
        source = guest.running().find("devices/disk[@device='cdrom']/source")
        assert (source.get("file", "") if source is not None else "") == (f"/srv/{medium}" if medium else "")
        assert guest.left_to_do() == NOTHING
    assert guest.pid() == pid
