"""Whether all vms have a home after hosts fail: who goes where, or who does not fit."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from kvmdecl_numa.solver import numa

from kvmdecl.cli.main import run
from kvmdecl.failover import MOST_LOSSES, Standing, survival
from kvmdecl.names import GIB
from kvmdecl.snapshot import write_snapshots
from kvmdecl.solver import CellDemand, Group, Place, PlaceRequest, Shape, VmToPlace
from kvmdecl.state import HostSnapshot, HostState
from tests.placement.exact import exact
from tests.placement.numa import ROOM
from tests.placement.support import facts, published


def bound(name: str, host: str, cpus: int = 4) -> VmToPlace:
    shape = Shape((CellDemand(tuple(range(cpus)), (), 1024),))
    return VmToPlace(name, cpus, 0, name, (), shape, place=Place(host, ()))


def ordinary(name: str, host: str, memory: int) -> VmToPlace:
    return VmToPlace(name, 1, memory * GIB, name, (), None, place=Place(host, ()))


def standing(hosts: int, *vms: VmToPlace, groups: tuple[Group, ...] = ()) -> Standing:
    """Hosts of two cells of 6 CPUs each and 64 GiB. Vms may be on any, and bound ones get cells on their hosts."""
    bare = tuple(replace(ROOM, name=f"k{n}") for n in range(hosts))
    names = tuple(room.name for room in bare)
    asked = tuple(
        replace(vm, place=None, candidates=(vm.place.host,))
        for vm in vms
        if vm.shape is not None and vm.place
    )
    places = numa(PlaceRequest(asked, bare)).places
    used = {
        name: sum(vm.memory for vm in vms if vm.place and vm.place.host == name and vm.shape is None)
        for name in names
    }
    full = tuple(replace(room, used_memory=used[room.name]) for room in bare)
    there = tuple(
        replace(vm, candidates=vm.candidates or names, place=places.get(vm.name, vm.place)) for vm in vms
    )
    return Standing(full, bare, there, groups)


def test_vms_of_a_lost_host_find_another() -> None:
    found = survival(standing(2, bound("a", "k0"), bound("b", "k0"), bound("c", "k1")), 1, numa)
    assert not found.survives
    found = survival(standing(2, bound("a", "k0"), bound("c", "k1")), 1, numa)
    assert (found.survives, found.exact, found.combinations) == (True, True, 2)
    assert [(loss.hosts, loss.homes, loss.moved) for loss in found.losses] == [
        (("k0",), {"a": "k1"}, {}),
        (("k1",), {"c": "k0"}, {}),
    ]


def test_who_does_not_fit_is_told_in_the_smallest_set() -> None:
    vms = [bound("a", "k0"), bound("b", "k0"), bound("c", "k1"), bound("tiny", "k1", 1)]
    (loss,) = survival(standing(2, *vms), 1, numa).losses
    assert (loss.hosts, loss.unfit, loss.smallest) == (("k0",), ("a", "b", "c"), True)


def test_others_make_room_only_where_they_have_to() -> None:
    # k1 has 40 of 64 GiB free; big fits there only after small has gone to k2, which is too small for big.
    cluster = standing(3, ordinary("big", "k0", 60), ordinary("small", "k1", 24))
    k2 = {"memory": 32 * GIB}
    rooms = [
        tuple(replace(room, **k2) if room.name == "k2" else room for room in rooms)
        for rooms in (cluster.hosts, cluster.bare)
    ]
    found = survival(replace(cluster, hosts=rooms[0], bare=rooms[1]), 1, numa)
    first = next(loss for loss in found.losses if loss.hosts == ("k0",))
    assert (first.homes, first.moved) == ({"big": "k1"}, {"small": "k2"})
    other = next(loss for loss in found.losses if loss.hosts == ("k1",))
    assert (other.homes, other.moved) == ({"small": "k2"}, {})


def test_groups_hold_after_a_loss() -> None:
    vms = [bound("a", "k0", 1), bound("b", "k1", 1)]
    apart = Group(frozenset("ab"), "host", apart=True)
    assert survival(standing(2, *vms), 1, numa).survives
    assert survival(standing(2, *vms, groups=(apart,)), 1, numa).losses[0].unfit == ("a", "b")
    assert survival(standing(3, *vms, groups=(apart,)), 1, numa).survives


def test_a_vm_that_nobody_else_can_have_is_lost() -> None:
    only = replace(bound("a", "k0"), candidates=("k0",))
    (loss,) = survival(standing(2, only), 1, numa).losses
    assert (loss.hosts, loss.unfit) == (("k0",), ("a",))


def test_of_too_many_combinations_the_fullest_hosts_are_tried() -> None:
    found = survival(standing(30, ordinary("a", "k7", 1)), 2, numa)
    assert (found.combinations, len(found.losses)) == (435, MOST_LOSSES)
    assert (found.survives, found.exact) == (True, False)
    assert all("k7" in loss.hosts for loss in found.losses[:29])


@pytest.mark.parametrize("seed", range(15))
def test_a_witness_is_legal_and_who_does_not_fit_really_does_not(seed: int) -> None:
    dice = random.Random(seed)
    vms = [bound(f"v{n}", f"k{n % 3}", dice.randint(1, 6)) for n in range(dice.randint(3, 7))]
    cluster = standing(3, *vms)
    if any(not vm.place or not vm.place.cells for vm in cluster.vms):
        return
    found = survival(cluster, 1, numa)
    for loss in found.losses:
        left = tuple(room for room in cluster.bare if room.name not in loss.hosts)
        names = tuple(room.name for room in left)
        asked = tuple(replace(vm, place=None, candidates=names) for vm in cluster.vms)
        if loss.unfit:
            assert exact(PlaceRequest(asked, left)).refused
            some = tuple(vm for vm in asked if vm.name in loss.unfit)
            assert exact(PlaceRequest(some, left)).refused
            assert all(
                not exact(PlaceRequest(part, left)).refused for part in combinations(some, len(some) - 1)
            )
        else:
            where = (
                {vm.name: vm.place.host for vm in cluster.vms if vm.place}
                | dict(loss.homes)
                | dict(loss.moved)
            )
            there = tuple(replace(vm, candidates=(where[vm.name],)) for vm in asked)
            assert not exact(PlaceRequest(there, left)).refused


MANIFEST = """\
apiVersion: kvmdecl/v1
cluster: demo
hosts: {kvm-1: "qemu+tcp://a/system", kvm-2: "qemu+tcp://b/system"}
vms:
  web: {count: 2, memory: 10GiB}
  db: {memory: SIZE, host: kvm-2}
"""


@pytest.mark.parametrize(
    ("size", "code", "told"),
    [
        (
            "8GiB",
            0,
            [
                "All vms have a home after the loss of any host.",
                "    without kvm-2: db to kvm-1, web-2 to kvm-1",
                "    without kvm-1: web-1 to kvm-2",
            ],
        ),
        (
            "16GiB",
            1,
            [
                "Not all vms have a home after the loss of kvm-2.",
                "    these do not fit together, and without any one of them the others do: db, web-1, web-2",
            ],
        ),
    ],
)
def test_the_command_tells_who_goes_where(tmp_path: Path, size: str, code: int, told: list[str]) -> None:
    (tmp_path / "cluster.yaml").write_text(MANIFEST.replace("SIZE", size))
    seen = [
        HostSnapshot(f"kvm-{n}", replace(facts(memory=32 * GIB), uuid=str(n)), HostState()) for n in (1, 2)
    ]
    write_snapshots(tmp_path / "facts", seen)

    def answer(*args: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name("kvmdecl")
        command = [program, "capacity", "cluster.yaml", "--facts", "facts", "--lose", "1", *args]
        return subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)

    text = answer()
    assert (text.returncode, text.stdout.splitlines()) == (code, told)
    document = json.loads(answer("--format", "json").stdout)
    published("survival").validate(document)
    assert (document["survives"], document["exact"]) == (code == 0, True)


def test_more_hosts_than_there_are_cannot_be_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(MANIFEST.replace("SIZE", "1GiB"))

    assert run(["capacity", str(path), "--facts", str(tmp_path), "--lose", "5"]) == 1

    assert (
        "error[failover.too-few-hosts]: 5 hosts cannot be lost: the cluster has 2" in capsys.readouterr().err
    )
