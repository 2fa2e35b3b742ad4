"""Huge pages and KSM of hosts, on a real libvirtd that takes files of its own for the kernel's.

A fabricated topology has plain files, which do not answer a write as the kernel's do. Numbers of the host's own network
namespace do, so they stand in for them: what libvirtd sets there is nobody's memory.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import libvirt
import pytest

from kvmdecl.diagnostics import Moved, TaskFailed
from kvmdecl.hosts.perform import perform
from kvmdecl.hosts.perform.settings import read_settings
from kvmdecl.hosts.protocol import TaskRequest
from kvmdecl.lab import Topology
from kvmdecl.libvirt_xml.fingerprint import fingerprint
from kvmdecl.settings import HUGE_PAGES, KSM
from kvmdecl.state import Address, Kind, ObservedSettings
from kvmdecl.tasks import UpdateHost
from tests.e2e.conftest import Story

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kvmdecl.lab import Lab, LabHost

MACHINE = Topology(sockets=2, cells=2, cores=2, threads=1, cell_mib=4096, hugepages=((2048, 0),), devices=())
NUMBERS = "/proc/sys/net/ipv4/neigh/lo"
STAND_INS = {
    "node/node0/hugepages/hugepages-2048kB/nr_hugepages": "mcast_solicit",
    "node/node1/hugepages/hugepages-2048kB/nr_hugepages": "ucast_solicit",
    "ksm/pages_to_scan": "app_solicit",
    "ksm/sleep_millisecs": "proxy_qlen",
}
BEFORE = {"mcast_solicit": 0, "ucast_solicit": 0, "app_solicit": 100, "proxy_qlen": 20}


@pytest.fixture
def story(make_lab: Callable[..., Lab], tmp_path: Path) -> Story:
    story = Story(tmp_path, make_lab(["kvm-1"], topologies={"kvm-1": MACHINE}))
    sys = story.lab.host("kvm-1").folder / "sys"
    for file, number in STAND_INS.items():
        (sys / file).unlink()
        (sys / file).symlink_to(f"{NUMBERS}/{number}")
    for cell in (0, 1):
        free = sys / f"node/node{cell}/hugepages/hugepages-2048kB/free_hugepages"
        free.unlink()
        free.symlink_to("nr_hugepages")  # no guest uses any
    reboot(story)
    return story


def reboot(story: Story) -> None:
    """What the host's kernel was told, it forgets."""
    script = "; ".join(f"echo {value} > {NUMBERS}/{number}" for number, value in BEFORE.items())
    subprocess.run(story.lab.host_command("kvm-1", ["sh", "-ec", script]), check=True)


def declare(story: Story, keys: str) -> None:
    uri = story.lab.host("kvm-1").uri()
    story.write(f"apiVersion: kvmdecl/v1\ncluster: edge\nhosts:\n  kvm-1: {{uri: '{uri}'{keys}}}\n")


def kernel(story: Story, name: str) -> Mapping[str, int]:
    with story.connect("kvm-1") as connection:
        found = read_settings(connection, name)
        assert found is not None
        return dict(found.values)


def test_pages_and_ksm_are_set_come_back_after_a_reboot_of_the_host_and_are_left_when_their_keys_vanish(
    story: Story,
):
    declare(story, ", huge_pages: {2MiB: 513}, ksm: {pages_to_scan: 500, sleep_millisecs: 50}")
    planned = story.ok("plan", "--out", "plan.json", rehearse=False).out
    assert "huge_pages.2MiB.0  0 -> 257" in planned
    assert "takes 1026MiB of memory until the host reboots" in planned
    assert kernel(story, HUGE_PAGES) == {"2MiB.0": 0, "2MiB.1": 0}

    story.ok("apply", "plan.json", "--yes", rehearse=False)
    assert kernel(story, HUGE_PAGES) == {"2MiB.0": 257, "2MiB.1": 256}
    assert kernel(story, KSM) == {"merge_across_nodes": 1, "pages_to_scan": 500, "sleep_millisecs": 50}

    reboot(story)
    answer = story.run("plan", "--detailed-exitcode", rehearse=False)
    assert (answer.code, answer.out.count("drift")) == (2, 4)
    story.ok("apply", "--yes", rehearse=False)

    declare(story, "")
    answer = story.run("plan", "--detailed-exitcode", rehearse=False)
    assert answer.code == 0
    assert (
        "keeps what no manifest says any more: huge_pages.2MiB.0 = 257, huge_pages.2MiB.1 = 256" in answer.err
    )
    assert "ksm.pages_to_scan = 500" in answer.err


def test_a_lab_cannot_change_its_machine(story: Story):
    script = (
        "touch /sys/kernel/mm/x /sys/devices/system/node/x 2>&1; echo 3 > /sys/kernel/mm/ksm/pages_to_scan"
    )
    said = subprocess.run(
        story.lab.host_command("kvm-1", ["sh", "-c", "ls -l /sys/kernel/mm/ksm/run; " + script]),
        capture_output=True,
        text=True,
    )
    assert (said.stdout + said.stderr).count("Read-only file system") >= 2


class InPieces:
    """A stand-in for a host whose free memory is in pieces: it gives no more than `most` pages of a cell."""

    def __init__(self, connection: libvirt.virConnect, most: int) -> None:
        self._connection = connection
        self._most = most

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def allocPages(self, pages: dict[int, int], cell: int, cells: int, flags: int) -> None:  # noqa: N802
        got = {size: min(count, self._most) for size, count in pages.items()}
        self._connection.allocPages(got, cell, cells, flags)
        if got != pages:
            raise _FellShort(f"Unable to allocate {pages[2048]} pages. Allocated only {got[2048]}")


class _FellShort(libvirt.libvirtError):
    def get_error_code(self) -> int:
        return libvirt.VIR_ERR_OPERATION_FAILED


def set_pages(host: LabHost, most: int, planned: ObservedSettings | None = None, **wanted: int) -> None:
    with libvirt.open(host.uri()) as connection:
        values = tuple((f"2MiB.{cell[1:]}", count) for cell, count in wanted.items())
        planned = planned or read_settings(connection, HUGE_PAGES)
        address = Address("kvm-1", Kind.HOST, HUGE_PAGES)
        request = TaskRequest(address, UpdateHost(HUGE_PAGES, values), fingerprint(planned), "edge", "r1")
        perform(InPieces(connection, most), request, lambda _progress: None)


def test_a_host_that_gives_fewer_pages_fails_the_step_with_the_figure_and_keeps_them(story: Story):
    with pytest.raises(TaskFailed, match=r"step\.too-few-pages.*37 of 512 of 2MiB in cell 1") as failed:
        set_pages(story.lab.host("kvm-1"), 37, c0=8, c1=512)
    assert "Allocated only 37" in failed.value.diagnostic.notes[0].text
    assert kernel(story, HUGE_PAGES) == {"2MiB.0": 8, "2MiB.1": 37}


def test_pages_that_somebody_set_since_the_plan_are_left_alone(story: Story):
    planned = ObservedSettings(HUGE_PAGES, (("2MiB.0", 4), ("2MiB.1", 0)))
    with pytest.raises(Moved):
        set_pages(story.lab.host("kvm-1"), 99, planned, c0=8)
    assert kernel(story, HUGE_PAGES) == {"2MiB.0": 0, "2MiB.1": 0}
