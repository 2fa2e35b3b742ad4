"""The same question has the same answer everywhere, and a longer one takes no more than it must."""

from __future__ import annotations

import os
import random
import subprocess
import sys

from kvmdecl_numa.search import Effort
from kvmdecl_numa.solver import numa, pack

from kvmdecl.solver import Group, PlaceRequest
from tests.numa.support import HUGE, cell, host, shape, vm

KINDS = (
    shape((2, 0, 512)),
    shape((4, 0, 1024), threads="require"),
    shape((1, 0, 512), threads="isolate"),
    shape((0, 2, 512)),
    shape((2, 0, 1024), pages=HUGE),
    shape((2, 0, 512), (2, 0, 512)),
)


def cluster(number: int) -> PlaceRequest:
    """So many hosts, well filled but not full."""
    dice = random.Random(7)
    rooms = tuple(
        host(f"kvm-{n:04}", *(cell(c, cores=8, shared=2, pools={4: 8192, HUGE: 8192}) for c in (0, 1)))
        for n in range(number)
    )
    names = tuple(room.name for room in rooms)
    vms = tuple(vm(f"vm-{n:05}", dice.choice(KINDS), *names) for n in range(8 * number))
    groups = (Group(frozenset(each.name for each in vms[:number]), "host", apart=True),)
    return PlaceRequest(vms, rooms, groups=groups)


def test_the_answer_is_the_same_whatever_python_hashes_to():
    program = "from tests.numa.test_steady import cluster, numa; print(numa(cluster(6)))"
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1


def test_neither_numpy_nor_a_solver_from_elsewhere_is_loaded():
    program = "import sys, kvmdecl_numa.solver; print({'numpy', 'ortools'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"


def test_edits_of_other_vms_move_nobody():
    request = cluster(6)
    first = numa(request)
    there = [vm(v.name, v.shape, *v.candidates, place=first.places[v.name]) for v in request.vms]
    dice = random.Random(3)
    for edit in range(25):
        stay = tuple(each for each in there if dice.random() < 0.9)
        new = tuple(
            vm(f"new-{edit}-{n}", dice.choice(KINDS), *there[0].candidates) for n in range(dice.randint(0, 3))
        )
        answer = numa(PlaceRequest(new, request.hosts, stay, request.groups), Effort(steps=0))
        assert all(answer.places[each.name] == each.place for each in stay)


def test_work_grows_as_the_cluster_does():
    steps = {}
    for number in (10, 40):
        packing = pack(cluster(number), Effort(steps=0))
        assert len(packing.fits) == 8 * number
        steps[number] = packing.steps
    assert steps[40] < 6 * steps[10]


def test_a_search_that_is_told_to_stop_does():
    sizes = (5, 5, 6, 9, 9, 7, 5, 5, 12, 9, 5, 6, 15, 8, 5, 15, 14, 7, 13)  # 4 x 40
    names = ("kvm-1", "kvm-2", "kvm-3", "kvm-4")
    rooms = tuple(host(name, cell(0, cores=40, threads=1)) for name in names)
    vms = tuple(vm(f"vm-{n:02}", shape((cpus, 0, 1)), *names) for n, cpus in enumerate(sizes))
    request = PlaceRequest(vms, rooms)
    assert pack(request, Effort(20_000, lambda: True)).steps < pack(request, Effort(20_000)).steps / 2
