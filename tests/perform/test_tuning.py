"""CPUs and limits of a running guest. Where a host of the lab has no cgroups, libvirt's own test driver stands in."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import libvirt
import pytest

from kvmdecl.diagnostics import TaskFailed
from kvmdecl.hosts.perform.live import change_live
from kvmdecl.hosts.read import read_domain
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.rules import UNLIMITED_KIB
from kvmdecl.names import MIB
from kvmdecl.state import Origin
from kvmdecl.tasks import LiveChange
from tests.libvirt_xml.test_on_libvirt import ROOT, declared
from tests.perform.test_domains import UUID, blank, define, disk, domain, domain_xml, qemu_pid, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.hosts.protocol import TaskResult
    from tests.perform.conftest import Hand

NO_JOB = cast("Job", None)  # these calls tell nothing and wait for nothing


@pytest.fixture
def stand_in() -> Iterator[libvirt.virDomain]:
    connection = libvirt.open("test:///default")
    yield connection.lookupByName("test")
    connection.close()


def test_limits_of_memory_are_set_and_lifted_together(stand_in: libvirt.virDomain):
    change_live(
        NO_JOB, stand_in, LiveChange("set-memory-limits", "hard_limit=9000 swap_hard_limit=9999"), None
    )
    now = stand_in.memoryParameters(libvirt.VIR_DOMAIN_AFFECT_LIVE)
    assert (now["hard_limit"], now["swap_hard_limit"]) == (9000, 9999)

    lifted = " ".join(f"{name}={UNLIMITED_KIB}" for name in now)
    change_live(NO_JOB, stand_in, LiveChange("set-memory-limits", lifted), None)
    assert "memtune" not in stand_in.XMLDesc()


def test_threads_of_a_running_guest_are_pinned(hand: Hand):
    root = disk("root", blank(hand, "blank.img"))
    thread = "<iothreads>1</iothreads>"
    old = domain_xml(root, head=thread)
    pins = "<vcpupin vcpu='0' cpuset='0'/><emulatorpin cpuset='0'/><iothreadpin iothread='1' cpuset='0'/>"
    tuned = f"{thread}<cputune>{pins}</cputune>"
    hand.do(define(old, power="start"))
    pid = qemu_pid(hand)

    live = (
        LiveChange("pin-vcpu", "0=0"),
        LiveChange("pin-emulator", "0"),
        LiveChange("pin-iothread", "1=0"),
    )
    result = hand.do(define(domain_xml(root, head=tuned), old, live=live))

    assert result.remarks == ()
    assert qemu_pid(hand) == pid
    for pin in ("vcpupin", "emulatorpin", "iothreadpin"):
        assert running(hand).find(f"cputune/{pin}").get("cpuset") == "0"
    assert domain(hand).vcpuPinInfo()[0][0] is True


def test_memory_is_plugged_in_changed_and_asked_back_while_the_guest_runs(hand: Hand):
    hand.path("/srv/root.raw").write_bytes(bytes(1 << 16))

    def guest(**modules: object) -> str:
        keys = {"hotplug_max": 512 * MIB, "modules": modules}
        return declared(uuid=UUID, disks=(ROOT,), nics=(), max_memory=None, memory_keys=keys)

    def change(after: str, before: str) -> TaskResult:
        calls = assess(after, before, read_domain(domain(hand)), Origin()).live
        return hand.do(define(after, before, live=calls))

    def virtio_mem(requested: int) -> dict[str, object]:
        return {"model": "virtio-mem", "size": 64 * MIB, "requested": requested}

    empty = guest()
    small, large = guest(a=64 * MIB, b=virtio_mem(8 * MIB)), guest(a=64 * MIB, b=virtio_mem(16 * MIB))
    hand.do(define(empty, power="start"))
    pid = qemu_pid(hand)

    assert change(small, empty).remarks == ()
    assert [m.get("model") for m in running(hand).iterfind("devices/memory")] == ["dimm", "virtio-mem"]
    assert change(large, small).remarks == ()
    assert running(hand).findtext("devices/memory/target/requested") == str(16 * 1024)
    (remark,) = change(guest(b=virtio_mem(16 * MIB)), large).remarks
    assert "did not let memory[a] go" in remark, "nothing runs in this guest that could"
    assert qemu_pid(hand) == pid


def test_a_host_without_cgroups_says_that_it_cannot_weigh_a_running_guest(hand: Hand):
    root = disk("root", blank(hand, "blank.img"))
    old = domain_xml(root)
    hand.do(define(old, power="start"))

    with pytest.raises((TaskFailed, libvirt.libvirtError), match="cgroup"):
        hand.do(define(old, old, live=(LiveChange("set-scheduler", "cpu_shares=512"),)))
