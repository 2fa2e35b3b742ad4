"""What is said where not all vms fit: the set is irreducible, and every repair was tried."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from kvmdecl_numa.solver import numa
from kvmdecl_spread.solver import spread

from kvmdecl.conflict_set import MOST_WORK, Asking, Bar, Conflict, Question, conflict, conflicts, impossible
from kvmdecl.names import GIB
from kvmdecl.repairs import repairs
from kvmdecl.shortfall import shortfalls
from kvmdecl.solver import (
    CellDemand,
    CellPlace,
    Group,
    HostRoom,
    Place,
    PlaceAnswer,
    PlaceRequest,
    Shape,
    VmToPlace,
)
from tests.placement.exact import exact
from tests.placement.numa import ROOM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmdecl.solver import Solver

PAGES = 2048


def host(number: int) -> HostRoom:
    return replace(ROOM, name=f"kvm-{number}", labels={"rack": f"r{number % 2}"})


def bound(
    name: str, cpus: int = 2, memory: int = 1024, hosts: Iterable[str] = ("kvm-0",), **wishes: Any
) -> VmToPlace:
    """A vm with dedicated CPUs. What comes before the last dash of its name is its entry."""
    shape = Shape((CellDemand(tuple(range(cpus)), (), memory),), **wishes)
    return VmToPlace(name, cpus, 0, name.rpartition("-")[0], tuple(hosts), shape)


def asked(
    *vms: VmToPlace, hosts: int = 1, groups: tuple[Group, ...] = (), bars: tuple[Bar, ...] = ()
) -> Question:
    return Question(PlaceRequest(vms, tuple(map(host, range(hosts))), groups=groups), bars)


def found(question: Question, solver: Solver = exact) -> list[Conflict]:
    """The conflicts of a request; as in a placement, vms that are barred from all hosts are not asked about."""
    narrow = question.narrow()
    asked = replace(narrow, vms=tuple(vm for vm in narrow.vms if vm.candidates))
    return list(conflicts(question, solver(asked), solver))


def all_fit(question: Question, solver: Solver = exact) -> bool:
    return bool(Asking(solver).fits(question))


def without_one(conflict: Conflict) -> list[Question]:
    """The conflict's question without each of its members in turn."""
    scope, vms, groups, bars = conflict.scope, conflict.vms, conflict.groups, conflict.bars
    return [
        *(scope.part([vm for vm in vms if vm != one], groups, bars) for one in vms),
        *(scope.part(vms, [group for group in groups if group is not one], bars) for one in groups),
        *(scope.part(vms, groups, [bar for bar in bars if bar is not one]) for one in bars),
    ]


def a_cluster(dice: random.Random) -> Question:
    """A few small hosts, and more than they can hold."""
    hosts = [host(n) for n in range(dice.randint(1, 2))]
    names = [each.name for each in hosts]
    vms = []
    for entry in range(dice.randint(1, 4)):
        cpus = dice.choice([1, 2, 3, 4, 6])
        cell = CellDemand(tuple(range(cpus)), (), dice.choice([1024, 3072, 6144, 9216]))
        shape = Shape(
            (cell,) if dice.random() < 0.8 else (cell, replace(cell, pinned=(cpus, cpus + 1))),
            threads=dice.choice(["prefer", "prefer", "isolate", "require"]),
            emulator=dice.choice(["float", "float", "isolate"]),
            pages=dice.choice(["small", 2048]),
            overhead=128,
        )
        candidates = tuple(sorted(dice.sample(names, dice.randint(1, len(names)))))
        for number in range(dice.randint(1, 3)):
            bare = dice.random() < 0.1
            vms.append(
                VmToPlace(
                    f"e{entry}-{number}", cpus, 8 * GIB, f"e{entry}", candidates, None if bare else shape
                )
            )
    bars = [
        Bar(
            f"{name} is in maintenance",
            f"host/{name}",
            "maintenance",
            {vm.name: frozenset({name}) for vm in vms},
        )
        for name in names
        if dice.random() < 0.15
    ]
    groups = []
    if dice.random() < 0.4 and len(vms) > 2:
        members = frozenset(vm.name for vm in dice.sample(vms, 3))
        groups.append(Group(members, dice.choice(["host", "rack"]), dice.random() < 0.7))
    return Question(PlaceRequest(tuple(vms), tuple(hosts), groups=tuple(groups)), tuple(bars))


def infeasible(number: int) -> list[Question]:
    dice = random.Random(19)
    made = (a_cluster(dice) for _ in range(100 * number))
    return list(islice((question for question in made if not all_fit(question)), number))


def test_of_200_clusters_each_set_is_irreducible_and_each_repair_works() -> None:
    repaired = 0
    for question in infeasible(200):
        told = found(question)
        assert told
        for one in told:
            assert one.smallest
            assert one.refused[0] in one.vms
            assert not all_fit(one.question)
            assert all(map(all_fit, without_one(one)))
            tried = repairs(one, (), Asking(exact))
            assert all(all_fit(repair.question) for repair in tried)
            repaired += bool(tried)
    assert repaired > 180


BOTH = ("kvm-0", "kvm-1")
WEBS = [bound(f"web-{n}", 4, hosts=BOTH) for n in range(1, 6)]
APART = Group(frozenset({"web-1", "web-2", "web-3"}), "rack", apart=True)
CLOSED = Bar(
    "kvm-1 is in maintenance", "host/kvm-1", "maintenance", {vm.name: frozenset({"kvm-1"}) for vm in WEBS}
)
RACK = Bar("web-1 must be in r2", "vm/web-1", "host_labels.rack", {"web-1": frozenset(BOTH)}, ("rack", "r2"))


@pytest.mark.parametrize(
    ("question", "members"),
    [
        # Each cell has 6 CPUs for guests, of which a web takes 4.
        (asked(bound("small-1", 1), *WEBS[:2], bound("big-1", 4, hosts=BOTH)), "web-1 web-2 big-1"),
        (asked(bound("db-1", 7), *WEBS[:2]), "db-1"),
        (asked(*WEBS, hosts=2), "web-5 web-1 web-2 web-3 web-4"),
        (asked(*WEBS[:3], hosts=2, groups=(APART,)), "web-3 web-1 web-2 apart"),
        (asked(*WEBS[:3], hosts=2, bars=(CLOSED,)), "web-3 web-1 web-2 maintenance"),
        (asked(*WEBS[:1], hosts=2, bars=(CLOSED, RACK)), "web-1 host_labels.rack"),
    ],
)
@pytest.mark.parametrize("solver", [exact, numa])
def test_the_demands_that_conflict(question: Question, members: str, solver: Solver) -> None:
    (told,) = found(question, solver)
    rules = ["apart"] * len(told.groups) + [bar.key for bar in told.bars]
    assert " ".join([*told.vms, *rules]) == members
    assert told.smallest


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (
            asked(bound("db-1", 4, threads="isolate")),
            ["`cpus.threads: prefer` for db-1", "3 vCPUs instead of 4 for db-1"],
        ),
        (asked(bound("db-1", 13)), ["6 vCPUs instead of 13 for db-1"]),
        (
            asked(bound("db-1", memory=9216, pages=PAGES)),
            [
                "8GiB of memory instead of 9GiB for db-1",
                "no `memory.pages` for db-1",
                "512 more pages of 2MiB in cell 0 of kvm-0",
            ],
        ),
        (
            asked(*WEBS[:3], hosts=2, groups=(APART,)),
            ["`apart.most: 2` instead of 1"],
        ),
        (
            asked(*WEBS[:3], hosts=2, bars=(CLOSED,)),
            [
                "`maintenance: false` for kvm-1",
                "3 vCPUs instead of 4 for web-1, web-2, web-3",
                "one more host like kvm-0",
            ],
        ),
        (
            asked(
                bound("a-1", 1),
                bound("b-1", 1, hosts=["kvm-1"]),
                hosts=2,
                groups=(Group(frozenset({"a-1", "b-1"}), "host", apart=False),),
            ),
            ["no `together` for b-1"],
        ),
        (
            asked(VmToPlace("old-1", 1, 100 * GIB, "old", ("kvm-0",))),
            ["64GiB of memory instead of 100GiB for old-1"],
        ),
        (asked(VmToPlace("old-1", 1, 1000 * GIB, "old", ("kvm-0",))), []),
    ],
)
def test_what_would_make_them_fit(question: Question, words: list[str]) -> None:
    told = found(question)[0]
    vm = question.request.vms[0]
    short = shortfalls(vm, question.request.hosts[0], ())
    tried = repairs(told, short, Asking(exact))
    assert len(tried) <= 3
    assert [repair.cost for repair in tried] == sorted(repair.cost for repair in tried)
    said = [repair.words for repair in tried]
    assert [any(text.startswith(word) for text in said) for word in words] == [True] * len(words), said
    assert bool(said) == bool(words)


def test_vms_like_a_refused_one_are_mended_together() -> None:
    (told,) = found(asked(*WEBS[:4]))
    assert told.refused == ("web-3", "web-4")
    assert all_fit(repairs(told, (), Asking(exact))[0].question)
    assert {vm.name for vm in repairs(told, (), Asking(exact))[0].question.request.vms} == {
        vm.name for vm in WEBS[:4]
    }


def test_vms_alike_are_counted_and_not_tried_one_by_one() -> None:
    vms = [VmToPlace(f"v{n:04}", 1, GIB, "v", ("kvm-0",)) for n in range(1000)]
    asking = Asking(spread, solves=30)
    question = asked(*vms)
    told = conflict(question, ["v0999"], spread(question.request), asking)
    assert told is not None
    assert (len(told.vms), told.smallest) == (65, True)


def test_a_solver_is_not_asked_for_ever() -> None:
    vms = [VmToPlace(f"v{n:03}", 1, GIB + n, "v", ("kvm-0",)) for n in range(100)]
    question = asked(*vms)
    told = conflict(question, ["v099"], spread(question.request), Asking(spread, solves=5))
    assert told is not None
    assert not told.smallest
    assert not all_fit(told.question, spread)
    exhausted = Asking(spread, solves=0)
    assert repairs(told, (), exhausted) == ()


def placed(vm: VmToPlace, cell: int, *cpus: int, page: int = 4) -> tuple[VmToPlace, Place]:
    memory = vm.shape.cells[0].memory if vm.shape else 0
    return vm, Place("kvm-0", (CellPlace(cell, ((cell, page, memory),), tuple(enumerate(cpus)), ()),))


@pytest.mark.parametrize(
    ("vm", "there", "told"),
    [
        (bound("a-1", 6), [], []),
        (bound("a-1", 7), [], ["kvm-0 cell 0: 6 dedicated CPUs free, 7 wanted"]),
        (bound("a-1", 6, emulator="isolate"), [], ["kvm-0 cell 0: 6 dedicated CPUs free, 7 wanted"]),
        (bound("a-1", 6), [placed(bound("b-1"), 0, 1, 9)], []),
        (
            bound("a-1", 6),
            [placed(bound("b-1"), 0, 1, 9), placed(bound("c-1", 1), 1, 5)],
            ["kvm-0 cell 1: 5 dedicated CPUs free, 6 wanted"],
        ),
        (
            bound("a-1", 3, threads="isolate"),
            [placed(bound("b-1", 1), 0, 1), placed(bound("c-1", 1, threads="isolate"), 1, 5)],
            ["kvm-0 cell 0: 2 whole cores free, 3 wanted"],
        ),
        (
            bound("a-1", 6, threads="require"),
            [placed(bound("b-1", 1), 0, 1), placed(bound("c-1", 2), 1, 5, 6)],
            [
                "kvm-0 cell 0: 2 pairs of threads free, 3 wanted",
                "kvm-0 cell 0: 5 dedicated CPUs free, 6 wanted",
            ],
        ),
        (bound("a-1", memory=9216, pages=PAGES), [], ["kvm-0 cell 0: 4096 pages of 2MiB free, 4608 wanted"]),
        (
            bound("a-1", memory=16384, overhead=512),
            [],
            ["kvm-0 cell 0: 16GiB of memory free, 16.5GiB wanted"],
        ),
        (bound("a-1", memory=1024, pages=1024 * 1024), [], ["kvm-0 cell 0: 0 pages of 1GiB free, 1 wanted"]),
        (bound("a-1", 13, spills=True), [], ["kvm-0: 12 dedicated CPUs free, 13 wanted"]),
    ],
)
def test_of_what_a_cell_is_short(
    vm: VmToPlace, there: list[tuple[VmToPlace, Place]], told: list[str]
) -> None:
    assert [str(short) for short in shortfalls(vm, host(0), there)] == told


def test_vcpus_that_float_need_shared_cpus() -> None:
    shape = Shape((CellDemand((), (0, 1, 2), 1024),))
    vm = VmToPlace("a", 3, 0, "a", ("kvm-0",), shape)
    assert [str(short) for short in shortfalls(vm, host(0), ())] == [
        "kvm-0 cell 0: 2 shared vCPUs free, 3 wanted"
    ]


def test_a_solver_that_is_not_exact_is_taken_at_its_word() -> None:
    """It refuses a vm and, asked again, places it: then there is nothing to say."""
    question = asked(bound("a-1", 1))
    assert list(conflicts(question, PlaceAnswer({}, {"a-1": {"kvm-0": "no"}}), exact)) == []


def test_what_numbers_rule_out_cannot_be_placed() -> None:
    dice = random.Random(23)
    ruled_out = 0
    for _ in range(150):
        request = a_cluster(dice).narrow()
        request = replace(request, vms=tuple(vm for vm in request.vms if vm.candidates))
        if impossible(request):
            ruled_out += 1
            assert exact(request).refused
    assert ruled_out > 30


def test_a_large_cluster_is_asked_about_a_limited_number_of_times_for_all_sets_together() -> None:
    """What is found by then is told, and that fewer may conflict."""
    hosts = tuple(host(number) for number in range(200))
    names = tuple(each.name for each in hosts)
    shapes = [Shape((CellDemand(tuple(range(cpus)), (), 1024),)) for cpus in (3, 4, 5)]
    vms = tuple(VmToPlace(f"e{n % 3}-{n:04}", 3, GIB, f"e{n % 3}", names, shapes[n % 3]) for n in range(900))
    asked = 0

    def refusing(request: PlaceRequest, /) -> PlaceAnswer:
        nonlocal asked
        asked += len(request.vms) + len(request.hosts)
        kept = {vm.name: vm.candidates[0] for vm in request.vms[:700]}
        return PlaceAnswer(kept, {vm.name: {} for vm in request.vms[700:]})

    request = PlaceRequest(vms, hosts)
    told = list(conflicts(Question(request), refusing(request), refusing))
    assert asked <= MOST_WORK + len(vms) + len(hosts)
    assert told
    assert not told[-1].smallest
