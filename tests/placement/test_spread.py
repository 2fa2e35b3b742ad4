"""Properties of the spread solver, over clusters that nobody would think of."""

from __future__ import annotations

import random
import time
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from kvmdecl_spread.solver import spread

from kvmdecl.names import GIB
from kvmdecl.solver import HostRoom, PlaceRequest, VmToPlace

NAMES = [f"kvm-{number}" for number in range(6)]


@st.composite
def requests(draw: st.DrawFn) -> PlaceRequest:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(sorted))
    sizes = st.integers(0, 16)
    rooms = tuple(
        HostRoom(
            name,
            cpus=draw(sizes),
            memory=draw(sizes),
            used_cpus=draw(sizes),
            used_memory=draw(sizes),
            groups=draw(st.dictionaries(st.sampled_from("ab"), st.integers(1, 3))),
        )
        for name in names
    )
    candidates = st.lists(st.sampled_from(names), min_size=1, unique=True).map(sorted).map(tuple)
    vm = st.tuples(st.integers(1, 8), st.integers(1, 8), st.sampled_from("abcd"), candidates)
    vms = draw(st.lists(vm, max_size=12))
    return PlaceRequest(
        tuple(VmToPlace(f"vm-{number:02}", *fields) for number, fields in enumerate(vms)), rooms
    )


@given(requests())
def test_every_vm_gets_a_candidate_or_a_reason_for_each(request: PlaceRequest) -> None:
    answer = spread(request)
    for vm in request.vms:
        if vm.name in answer.hosts:
            assert answer.hosts[vm.name] in vm.candidates
            assert vm.name not in answer.refused
        else:
            assert set(answer.refused[vm.name]) == set(vm.candidates)


@given(requests())
def test_memory_is_never_promised_twice(request: PlaceRequest) -> None:
    answer = spread(request)
    for room in request.hosts:
        given_away = sum(vm.memory for vm in request.vms if answer.hosts.get(vm.name) == room.name)
        assert given_away == 0 or room.used_memory + given_away <= room.memory


@given(requests())
def test_a_vm_is_refused_only_where_it_really_does_not_fit(request: PlaceRequest) -> None:
    answer = spread(request)
    free = {room.name: room.memory - room.used_memory for room in request.hosts}
    for vm in request.vms:
        if vm.name in answer.hosts:
            free[answer.hosts[vm.name]] -= vm.memory
    for vm in request.vms:
        assert vm.name in answer.hosts or all(free[name] < vm.memory for name in vm.candidates)


@given(requests(), st.randoms(use_true_random=False))
def test_the_answer_does_not_depend_on_the_order_of_the_question(
    request: PlaceRequest, dice: random.Random
) -> None:
    vms, rooms = list(request.vms), list(request.hosts)
    dice.shuffle(vms)
    dice.shuffle(rooms)
    assert spread(PlaceRequest(tuple(vms), tuple(rooms))) == spread(request)


@given(st.integers(1, 6), st.integers(1, 24))
def test_siblings_are_spread_evenly_where_there_is_room(hosts: int, vms: int) -> None:
    rooms = tuple(HostRoom(name, 8, 1000 * GIB) for name in NAMES[:hosts])
    names = tuple(room.name for room in rooms)
    answer = spread(PlaceRequest(tuple(VmToPlace(f"v{n:02}", 1, GIB, "g", names) for n in range(vms)), rooms))
    counts = Counter(answer.hosts.values())
    assert max(counts.values()) - min(counts.get(name, 0) for name in names) <= 1


def test_the_emptier_host_by_share_is_chosen() -> None:
    rooms = (
        HostRoom("a", 8, 100 * GIB, used_memory=60 * GIB),
        HostRoom("b", 8, 20 * GIB, used_memory=4 * GIB),
    )
    answer = spread(PlaceRequest((VmToPlace("web", 1, GIB, "web", ("a", "b")),), rooms))
    assert answer.hosts == {"web": "b"}


def test_cpus_break_a_tie() -> None:
    rooms = (HostRoom("a", 8, 64 * GIB, used_cpus=7), HostRoom("b", 8, 64 * GIB, used_cpus=1))
    answer = spread(PlaceRequest((VmToPlace("web", 4, GIB, "web", ("a", "b")),), rooms))
    assert answer.hosts == {"web": "b"}


def test_ten_thousand_vms_find_their_place_among_five_hundred_hosts_in_seconds() -> None:
    rooms = tuple(HostRoom(f"k{n:03}", 64, 128 * GIB) for n in range(500))
    names = tuple(room.name for room in rooms)
    vms = tuple(VmToPlace(f"v{n:05}", 2, (1 + n % 7) * GIB, f"g{n // 50}", names) for n in range(10_000))
    began = time.process_time()
    assert len(spread(PlaceRequest(vms, rooms)).hosts) == 10_000
    assert time.process_time() - began < 10
