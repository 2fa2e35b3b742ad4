"""How many more fit: by host and cell, within what groups allow, and why not one more."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kvmdecl_numa.solver import numa

from kvmdecl.capacity import MOST, HostCapacity, capacity
from kvmdecl.names import GIB
from kvmdecl.snapshot import write_snapshots
from kvmdecl.solver import CellDemand, CellRoom, Group, HostRoom, PlaceRequest, Shape, VmToPlace
from kvmdecl.state import HostSnapshot, HostState
from tests.placement.exact import exact
from tests.placement.numa import ROOM, two_cells
from tests.placement.support import published

if TYPE_CHECKING:
    from kvmdecl.solver import Solver

HOSTS = ("kvm-0", "kvm-1", "kvm-2")
ROOMS = tuple(replace(ROOM, name=f"kvm-{n}", labels={"rack": f"r{n // 2}"}) for n in range(3))


def bound(name: str, cpus: int = 2, memory: int = 1024, **wishes: Any) -> VmToPlace:
    shape = Shape((CellDemand(tuple(range(cpus)), (), memory),), **wishes)
    return VmToPlace(name, cpus, 0, "g", HOSTS, shape)


def counted(
    vm: VmToPlace,
    residents: tuple[VmToPlace, ...] = (),
    groups: tuple[Group, ...] = (),
    solver: Solver = numa,
) -> tuple[HostCapacity, ...]:
    return capacity(PlaceRequest((vm,), ROOMS, residents, groups), vm, solver)


@pytest.mark.parametrize("solver", [numa, exact])
@pytest.mark.parametrize(
    ("vm", "each"),
    [
        (bound("a"), {0: 3, 1: 3}),
        (bound("a", 4), {0: 1, 1: 1}),
        (bound("a", 2, threads="isolate"), {0: 1, 1: 1}),
        (bound("a", 1, memory=3072, pages=2048), {0: 2, 1: 2}),
        (bound("a", 7), {}),
    ],
)
def test_each_cell_is_filled(vm: VmToPlace, each: dict[int, int], solver: Solver) -> None:
    found = counted(vm, solver=solver)
    assert [host.host for host in found] == list(HOSTS)
    assert [host.cells for host in found] == [each] * 3
    assert all(host.more == sum(each.values()) and host.blocked for host in found)


def test_vms_that_are_there_keep_their_room() -> None:
    first = bound("b", 4)
    place = numa(PlaceRequest((replace(first, candidates=("kvm-1",)),), ROOMS)).places["b"]
    found = counted(bound("a"), (replace(first, place=place, candidates=("kvm-1",)),))
    assert [host.more for host in found] == [6, 4, 6]


def test_the_solver_says_what_blocks_the_next_one() -> None:
    assert counted(bound("a", 4))[0].blocked.startswith("cell 0: 2 of 6 dedicated CPUs free, 4 wanted")
    big = VmToPlace("a", 1, 60 * GIB, "g", HOSTS)
    assert counted(big)[0] == HostCapacity("kvm-0", 1, {}, "4GiB of 64GiB free, 60GiB wanted")


def test_what_costs_nothing_is_not_counted_for_ever() -> None:
    assert counted(VmToPlace("a", 1, 0, "g", HOSTS))[0] == HostCapacity("kvm-0", MOST, {}, "")


@pytest.mark.parametrize(
    ("group", "more"),
    [
        (Group(frozenset("ab"), "host", apart=True), [0, 1, 1]),
        (Group(frozenset("ab"), "host", apart=True, most=3), [2, 3, 3]),
        (Group(frozenset("ab"), "rack", apart=True, most=3), [2, 0, 3]),  # kvm-0 and kvm-1 are in one rack
        (Group(frozenset("ab"), "rack", apart=False), [5, 6, 0]),
        (Group(frozenset("ac"), "host", apart=False), [0, 6, 0]),  # nobody is there yet: where most fit
        (Group(frozenset("xy"), "host", apart=True), [5, 6, 6]),
    ],
)
def test_groups_leave_less(group: Group, more: list[int]) -> None:
    b = replace(bound("b"), candidates=("kvm-0",))
    b = replace(b, place=numa(PlaceRequest((b,), ROOMS)).places["b"])
    found = counted(bound("a"), (b,), (group,))
    assert [host.more for host in found] == more
    assert [sum(host.cells.values()) for host in found] == more


def test_fifty_hosts_with_five_hundred_vms_are_counted_in_seconds() -> None:
    cores = tuple((core, core + 64) for core in range(64))
    cells = tuple(
        CellRoom(
            n,
            n,
            cores[32 * n : 32 * n + 32],
            frozenset(cpu for core in cores[32 * n + 2 : 32 * n + 32] for cpu in core),
            frozenset({32 * n, 32 * n + 1}),
            {4: 131072, 2048: 131072},
        )
        for n in range(2)
    )
    rooms = tuple(HostRoom(f"k{n:02}", 128, 256 * GIB, cells=cells) for n in range(50))
    names = tuple(room.name for room in rooms)
    vms = tuple(replace(bound(f"v{n}", 2 + n % 4), candidates=names) for n in range(500))
    places = numa(PlaceRequest(vms, rooms)).places
    residents = tuple(replace(vm, place=places[vm.name]) for vm in vms)
    began = time.process_time()
    for cpus in (1, 2, 4, 8, 16):
        vm = replace(bound("more", cpus), candidates=names)
        assert sum(host.more for host in capacity(PlaceRequest((vm,), rooms, residents), vm, numa)) > 100
    assert time.process_time() - began < 10


MANIFEST = """\
apiVersion: kvmdecl/v1
cluster: demo
hosts:
  kvm-1: {uri: "qemu+tcp://a/system", dedicated: "1-3,9-11,5-7,13-15"}
  kvm-2: {uri: "qemu+tcp://b/system", dedicated: "1-3,9-11,5-7,13-15", maintenance: true}
profiles:
  small: {cpus: {count: 2, policy: dedicated}, memory: 1GiB}
  part: {disks: {data: {pool: nowhere}}}
vms:
  web: {count: 2, profile: small, apart: {most: 3}}
  old: {memory: 20GiB, host: kvm-2}
"""


def test_the_command_counts_profiles_and_entries(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(MANIFEST)
    facts = [HostSnapshot(f"kvm-{n}", replace(two_cells(), uuid=str(n)), HostState()) for n in (1, 2)]
    write_snapshots(tmp_path / "facts", facts)

    def run(*args: str) -> str:
        command = [
            Path(sys.executable).with_name("kvmdecl"),
            "capacity",
            "cluster.yaml",
            "--facts",
            "facts",
            *args,
        ]
        return subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=True).stdout

    assert run().splitlines() == [
        "profile small  4 more",
        (
            "    kvm-1: 4 (cell 0: 1, cell 1: 3); then cell 0: 0 of 6 dedicated CPUs free, 2 wanted; "
            "cell 1: 0 of 6 dedicated CPUs free, 2 wanted"
        ),
        "old            0 more, 1 there",
        "    kvm-2: 0; then 12GiB of 32GiB free, 20GiB wanted",
        "web-1          1 more, 2 there",
        "    kvm-1: 1 (cell 0: 1); then at most 3 on one host",
    ]
    document = json.loads(run("--format", "json"))
    published("capacity").validate(document)
    assert (document["formatVersion"], document["complete"]) == ("1.0", True)
    assert [(kind["kind"], kind["there"], kind["more"]) for kind in document["kinds"]] == [
        ("profiles/small", 0, 4),
        ("vms/old", 1, 0),
        ("vms/web-1", 2, 1),
    ]
