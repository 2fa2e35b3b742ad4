"""Whatever is asked, what is answered obeys the rules."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st
from kvmdecl_numa.devices import choose
from kvmdecl_numa.rooms import HostLeft
from kvmdecl_numa.search import Effort
from kvmdecl_numa.solver import numa

from kvmdecl.solver import Budget, CellDemand, DeviceDemand, Group, PciDevice, PlaceRequest
from tests.numa.support import GIANT, HUGE, broken_rules, cell, host, shape, vm

# What search there is must not break anything; that it is long enough is another matter.
BRIEF = Effort(steps=100)
NAMES = ("kvm-1", "kvm-2", "kvm-3")


@st.composite
def hosts(draw, name):
    cells = [
        cell(
            number,
            cores=draw(st.integers(0, 4)),
            threads=draw(st.sampled_from((1, 2, 2, 2, 4))),
            shared=draw(st.integers(0, 2)),
            reserved=draw(st.integers(0, 2)),
            pools=draw(
                st.dictionaries(st.sampled_from((4, HUGE, GIANT)), st.integers(0, 4).map(lambda n: n * 1024))
            ),
            socket=draw(st.sampled_from((0, 1, None))),
        )
        for number in draw(st.lists(st.sampled_from((0, 1, 5)), max_size=3, unique=True))
    ]
    devices = draw(st.integers(0, 4).flatmap(some_devices))
    return host(
        name,
        *cells,
        memory=draw(st.one_of(st.none(), st.integers(0, 8192))),
        overcommit=draw(st.sampled_from((1.0, 1.5, 4.0))),
        labels={"rack": draw(st.sampled_from(("r1", "r2")))},
        devices=devices,
        far=draw(st.sampled_from((12, 20))),
    )


def some_devices(number):
    """Devices of which any may be faster than others, below one of two switches, or exclude the first."""
    return st.tuples(
        *(
            st.builds(
                PciDevice,
                st.just(f"0000:0{place}:00.0"),
                st.sampled_from((("nic",), ("nic", "fast"), ("fast",))),
                st.sampled_from((0, 1, None)),
                st.integers(1, 3),
                st.sampled_from((frozenset(), frozenset({"0000:00:00.0"})) if place else (frozenset(),)),
                st.sampled_from(("", "s1", "s2")),
            )
            for place in range(number)
        )
    )


POLICIES = st.sampled_from(("required", "socket", "legacy", "preferred"))
DEMANDS = st.builds(
    DeviceDemand,
    st.sampled_from(("nic", "fast")),
    st.integers(1, 2),
    POLICIES,
    st.sampled_from(("", "same_switch", "distinct")),
)


def shapes():
    cells = st.tuples(st.integers(0, 4), st.integers(0, 2), st.sampled_from((256, 512, 1024, 2048)))
    bare = st.builds(
        shape, devices=st.lists(DEMANDS, min_size=1, max_size=2).map(tuple), memory=st.integers(0, 2048)
    )
    of_cells = st.lists(cells, min_size=1, max_size=2).flatmap(
        lambda cells: st.builds(
            shape,
            *map(st.just, cells),
            threads=st.sampled_from(("prefer", "isolate", "require")),
            emulator=st.sampled_from(("float", "float", "share", "isolate")),
            io_threads=st.sampled_from((0, 0, 1)),
            pages=st.sampled_from(("small", "small", "large", "any", HUGE, GIANT)),
            overhead=st.sampled_from((0, 0, 100)),
            spills=st.booleans(),
            reach=st.sampled_from((None, None, 15)),
            devices=st.lists(DEMANDS, max_size=2).map(tuple),
            labels=st.sampled_from(((), (), (("rack", "r1"),))),
        )
    )
    return st.one_of(of_cells, of_cells, of_cells, bare)


@st.composite
def requests(draw):
    rooms = [draw(hosts(name)) for name in NAMES[: draw(st.integers(1, 3))]]
    names = [room.name for room in rooms]
    candidates = st.lists(st.sampled_from(names), min_size=1, unique=True).map(sorted)
    kinds = draw(st.lists(st.one_of(shapes(), shapes(), st.none()), min_size=1, max_size=4))
    vms = tuple(
        vm(f"vm-{number:02}", draw(st.sampled_from(kinds)), *draw(candidates), memory=512)
        for number in range(draw(st.integers(1, 10)))
    )
    members = st.frozensets(
        st.sampled_from([each.name for each in vms if each.shape] or ["nobody"]), min_size=1
    )
    groups = st.builds(
        Group, members, st.sampled_from(("host", "rack")), st.booleans(), st.integers(1, 2), st.booleans()
    )
    return PlaceRequest(vms, tuple(rooms), groups=tuple(draw(st.lists(groups, max_size=2))))


@given(requests())
@settings(max_examples=60, deadline=None)
def test_an_answer_breaks_no_rule(request):
    assert list(broken_rules(request, numa(request, BRIEF))) == []


@given(requests(), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.data())
@settings(max_examples=40, deadline=None)
def test_residents_stay_or_move_within_the_budget(request, host_moves, cell_moves, repins, data):
    answer = numa(request, BRIEF)
    there = [
        vm(
            each.name,
            each.shape,
            *each.candidates,
            place=answer.places[each.name],
            fixed=data.draw(st.booleans()),
        )
        for each in request.vms
        if each.name in answer.places
    ]
    late = tuple(each for each in request.vms if each.name not in answer.places)
    extra = tuple(
        vm(f"late-{number}", data.draw(shapes()), *(room.name for room in request.hosts))
        for number in range(2)
    )
    second = PlaceRequest(
        (*late, *extra), request.hosts, tuple(there), request.groups, Budget(host_moves, cell_moves, repins)
    )
    assert list(broken_rules(second, numa(second, BRIEF))) == []


@given(requests(), st.data())
@settings(max_examples=20, deadline=None)
def test_without_a_budget_nobody_moves(request, data):
    answer = numa(request, BRIEF)
    there = tuple(
        vm(each.name, each.shape, *each.candidates, place=answer.places[each.name])
        for each in request.vms
        if each.name in answer.places
    )
    late = vm("late-1", data.draw(shapes()), *(room.name for room in request.hosts))
    second = numa(PlaceRequest((late,), request.hosts, there, request.groups), BRIEF)
    assert {each.name: second.places[each.name] for each in there} == {
        each.name: each.place for each in there
    }


@given(
    st.integers(0, 5).flatmap(some_devices),
    st.lists(DEMANDS, min_size=1, max_size=2).map(tuple),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_devices_are_found_exactly_if_there_is_a_way_to_give_them(devices, demands, bound):
    here = HostLeft(0, host("kvm-1", cell(0), cell(1, socket=1), devices=devices))
    homes = (0,) if bound else ()
    wants = replace(shape(devices=demands), cells=(CellDemand((), (), 0),) * bound)

    def is_a_way(given):
        addresses = {device.address for device in given}
        suits = (
            demand.model in device.models
            and (
                not bound
                or device.cell == 0
                or demand.policy == "preferred"
                or (demand.policy == "legacy" and device.cell is None)
            )
            for demand, device in zip(slots, given, strict=True)
        )
        return not any(device.excludes & addresses for device in given) and all(suits)

    slots = [demand for demand in demands for _ in range(demand.count)]
    there = any(map(is_a_way, permutations(devices, len(slots))))
    found = choose(here, wants, homes)
    assert (found is not None) == there
    if found is not None:
        assert is_a_way([device for each in found for device in each])
