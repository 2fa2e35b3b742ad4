"""A host's NUMA cells as a solver sees them: what is there, less what the host keeps and what others have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdecl.facts import Cell, HostCpu, HostFacts, PagePool
from kvmdecl.names import GIB, KIB, MIB
from kvmdecl.numa_rooms import ORDINARY, Taken, cell_rooms, distances
from kvmdecl.rooms import taken_by
from kvmdecl.solver import CellDemand, CellPlace, HostRoom, Place, PlaceAnswer, PlaceRequest, Shape, VmToPlace
from kvmdecl.state import ObservedDomain
from kvmdecl.verdict import faults
from tests.placement.support import facts as any_facts

if TYPE_CHECKING:
    from kvmdecl.solver import CellRoom

SIZES = (4 * KIB, 2 * MIB, GIB)


def cell(
    number: int,
    *cores: tuple[int, ...],
    memory: int = 8 * GIB,
    socket: int = 0,
    sizes: tuple[int, ...] = SIZES,
    distances: tuple[tuple[int, int], ...] = (),
) -> Cell:
    """A cell with such cores. A negative number is a thread that is offline: its siblings name it, and it is absent."""
    cpus = tuple(
        HostCpu(cpu, socket, 0, core[0], tuple(abs(each) for each in core))
        for core in cores
        for cpu in core
        if cpu >= 0
    )
    return Cell(number, memory, cpus, tuple(PagePool(size, 0) for size in sizes), distances)


def host(*cells: Cell) -> HostFacts:
    return replace(any_facts(), cells=cells, memory=sum(each.memory for each in cells))


def rooms(facts: HostFacts, **told: Any) -> tuple[CellRoom, ...]:
    usual: dict[str, Any] = {
        "dedicated": frozenset(), "reserved_cpus": 0, "reserved_memory": 0, "pages": {}, "taken": (),
    }  # fmt: skip
    return cell_rooms(facts, **(usual | told))


# -- CPUs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "there", "cores"),
    [
        ("siblings by gaps", cell(0, (0, 4), (1, 5)), ((0, 4), (1, 5))),
        ("siblings side by side", cell(0, (0, 1), (2, 3)), ((0, 1), (2, 3))),
        ("four threads", cell(0, (0, 1, 2, 3), (4, 5, 6, 7)), ((0, 1, 2, 3), (4, 5, 6, 7))),
        ("a sibling is offline", cell(0, (0, -4), (1, 5), (-2, 6)), ((0,), (1, 5), (6,))),
        ("no CPUs", cell(0), ()),
    ],
)
def test_what_belongs_to_a_core_is_what_siblings_say(
    why: str, there: Cell, cores: tuple[tuple[int, ...], ...]
) -> None:
    (room,) = rooms(host(there))
    assert room.cores == cores, why
    assert room.shared == {cpu for core in cores for cpu in core}


def test_ids_of_cells_are_labels_and_cpus_may_alternate_between_cells() -> None:
    odd, even = rooms(
        host(cell(8, (1, 9), (3, 11)), cell(0, (0, 8), (2, 10))), dedicated=frozenset({3, 11, 2, 40})
    )
    assert (odd.id, odd.dedicated, odd.shared) == (8, {3, 11}, {1, 9})
    assert (even.id, even.dedicated, even.shared) == (0, {2}, {0, 8, 10})


@pytest.mark.parametrize(
    ("dedicated", "reserved", "shared"),
    [
        (set(), 0, {0, 4, 1, 5, 2, 6, 3, 7}),
        (set(), 2, {1, 5, 2, 6, 3, 7}),
        (set(), 3, {5, 2, 6, 3, 7}),
        (set(), 1, {4, 1, 5, 2, 6, 3, 7}),
        ({0, 4}, 2, {2, 6, 3, 7}),
        ({0}, 2, {4, 2, 6, 3, 7}),
        ({0}, 7, set()),
        ({0, 4, 1, 5, 2, 6}, 1, {7}),
        ({0, 4, 1, 5, 2, 6, 3, 7}, 4, set()),
        (set(), 100, set()),
    ],
)
def test_the_host_keeps_whole_cores_with_the_lowest_ids_of_what_is_not_dedicated(
    dedicated: set[int], reserved: int, shared: set[int]
) -> None:
    seen = host(cell(1, (2, 6), (3, 7)), cell(0, (0, 4), (1, 5)))
    found = rooms(seen, dedicated=frozenset(dedicated), reserved_cpus=reserved)
    assert {cpu for room in found for cpu in room.shared} == shared
    assert {cpu for room in found for cpu in room.dedicated} == dedicated


def test_a_cpu_that_somebody_else_is_pinned_to_is_nobodys() -> None:
    (room,) = rooms(
        host(cell(0, (0, 4), (1, 5))), dedicated=frozenset({1, 5}), taken=[Taken(frozenset({5, 0}))]
    )
    assert (room.dedicated, room.shared) == ({1}, {0, 4})


def test_a_cpu_is_of_one_core_whatever_siblings_say() -> None:
    told = {0: (0, 1), 1: (1,), 2: (1, 2, 3), 3: ()}
    cpus = tuple(HostCpu(number, 0, 0, number, siblings) for number, siblings in told.items())
    (room,) = rooms(host(replace(cell(0), cpus=cpus)))
    assert room.cores == ((0, 1), (2, 3))


@pytest.mark.parametrize(
    ("sockets", "of"),
    [((0,), 0), ((3, 3), 3), ((0, 1), None), ((), None)],
    ids=["one", "again", "two", "no CPUs"],
)
def test_the_socket_of_a_cell_is_that_of_its_cpus(sockets: tuple[int, ...], of: int | None) -> None:
    cpus = tuple(HostCpu(number, socket, 0, number, (number,)) for number, socket in enumerate(sockets))
    (room,) = rooms(host(replace(cell(0), cpus=cpus)))
    assert room.socket == of


def test_distances_are_by_places_and_those_that_are_not_told_are_usual() -> None:
    near = cell(4, distances=((4, 10), (9, 12), (1, 32)))
    far = cell(9, distances=((4, 12), (9, 10)))
    assert distances(host(near, far, cell(1))) == ((10, 12, 32), (12, 10, 20), (20, 20, 10))


# -- memory ----------------------------------------------------------------------------------------------------

TWO = (cell(0, (0,)), cell(1, (1,), memory=4 * GIB))
UNEVEN = (cell(2, memory=2 * GIB), cell(3, (0,), memory=GIB), cell(5, (1,), memory=4 * GIB))


@pytest.mark.parametrize(
    ("cells", "told", "pools"),
    [
        (TWO, {}, [{4: 8192}, {4: 4096}]),
        (
            TWO,
            {"pages": {2 * MIB: {0: 512, 1: 0}, GIB: {0: 2}}},
            [{4: 5120, 2048: 1024, 1048576: 2048}, {4: 4096}],
        ),
        (TWO, {"pages": {GIB: {1: 9}}}, [{4: 8192}, {4: 0, 1048576: 9216}]),
        (TWO, {"reserved_memory": GIB + 1}, [{4: 7167}, {4: 4096}]),
        (TWO, {"reserved_memory": 9 * GIB}, [{4: 0}, {4: 3072}]),
        (TWO, {"reserved_memory": 4 * GIB, "pages": {GIB: {0: 6}}}, [{4: 0, 1048576: 6144}, {4: 2048}]),
        (UNEVEN, {"reserved_memory": 3 * GIB}, [{4: 2048}, {4: 0}, {4: 2048}]),
        (UNEVEN, {"reserved_memory": 6 * GIB}, [{4: 1024}, {4: 0}, {4: 0}]),
        ((cell(0, (0,), memory=0), cell(1, memory=GIB)), {}, [{4: 0}, {4: 1024}]),
        ((cell(0, (0,), sizes=(64 * KIB, 2 * MIB)),), {"pages": {2 * MIB: {0: 1}}}, [{64: 8190, 2048: 2}]),
        ((cell(0, (0,), sizes=()),), {}, [{4: 8192}]),
    ],
    ids=[
        "all", "huge pages", "more huge pages than memory", "a reserve", "a reserve of two cells",
        "a reserve is of no huge page", "cells without CPUs are last", "of them, too", "a cell without memory",
        "pages of 64 KiB", "no pages told",
    ],
)  # fmt: skip
def test_memory_is_counted_by_cell_and_size_of_pages(
    cells: tuple[Cell, ...], told: dict[str, Any], pools: list[dict[int, int]]
) -> None:
    assert [dict(room.pools) for room in rooms(host(*cells), **told)] == pools


def of(nodes: set[int] | None, amount: int, size: int = ORDINARY) -> Taken:
    return Taken(memory=((None if nodes is None else frozenset(nodes), size, amount),))


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        ([of({1}, 1000)], [{4: 6144, 1048576: 2048}, {4: 3096}]),
        ([of({0}, 1024, 1048576)], [{4: 6144, 1048576: 1024}, {4: 4096}]),
        ([of(None, 1024, 1048576)], [{4: 6144, 1048576: 1024}, {4: 4096}]),
        ([of(None, 5120)], [{4: 3072, 1048576: 2048}, {4: 2048}]),
        ([of(None, 1)], [{4: 6143, 1048576: 2048}, {4: 4095}]),
        ([of({0, 1}, 5120)], [{4: 3072, 1048576: 2048}, {4: 2048}]),
        ([of(None, 2048), of({1}, 4096)], [{4: 4096, 1048576: 2048}, {4: 0}]),
        ([of(None, 99999)], [{4: 0, 1048576: 2048}, {4: 0}]),
        ([of({7}, 5120)], [{4: 3072, 1048576: 2048}, {4: 2048}]),
        ([of(None, 64, 2048)], [{4: 6144, 1048576: 2048}, {4: 4096}]),
    ],
    ids=[
        "in a cell", "huge pages", "huge pages anywhere", "in proportion", "rounded up", "in two cells",
        "what is bound first", "too much", "in a cell that is not there", "pages that are not there",
    ],
)  # fmt: skip
def test_what_others_have_is_taken(taken: list[Taken], left: list[dict[int, int]]) -> None:
    found = rooms(host(*TWO), pages={GIB: {0: 2}}, taken=taken)
    assert [dict(room.pools) for room in found] == left


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=5), st.integers(0, 20000))
def test_memory_that_may_be_anywhere_is_never_promised_again(sizes: list[int], amount: int) -> None:
    cells = (cell(number, memory=size * MIB) for number, size in enumerate(sizes))
    left = sum(room.pools[4] for room in rooms(host(*cells), taken=[of(None, amount)]))
    free = max(0, sum(sizes) - amount)
    assert free - len(sizes) < left <= free


# -- guests that nobody asked for ------------------------------------------------------------------------------

FACTS = host(cell(0, (0, 4), (1, 5)), cell(1, (2, 6), (3, 7)))


def guest(body: str) -> ObservedDomain:
    xml = f"<domain><memory unit='KiB'>4194304</memory><currentMemory unit='KiB'>1048577</currentMemory>{body}</domain>"
    return ObservedDomain("guest", "", "<domain/>", xml, True, True, False, False)


@pytest.mark.parametrize(
    ("body", "cpus"),
    [
        ("<vcpu>2</vcpu>", set()),
        ("<vcpu cpuset='2-3,6'>2</vcpu>", {2, 3, 6}),
        ("<vcpu cpuset='0-7'>2</vcpu><cputune><vcpupin vcpu='0' cpuset='5'/></cputune>", {5}),
        ("<cputune><vcpupin vcpu='0' cpuset='0-3,^2,9'/></cputune>", {0, 1, 3}),
        ("<cputune><emulatorpin cpuset='4'/><iothreadpin iothread='1' cpuset='7'/></cputune>", {4, 7}),
        ("<cputune><vcpupin vcpu='0' cpuset='0-9999999999,x,-1, 6'/></cputune>", {6}),
    ],
)
def test_its_pins_are_read(body: str, cpus: set[int]) -> None:
    assert taken_by(guest(body), FACTS).cpus == cpus


HUGE = "<memoryBacking><hugepages>{}</hugepages></memoryBacking>"
CELLS = (
    "<cpu><numa><cell id='0' cpus='0' memory='1048576' unit='KiB'/>"
    "<cell id='1' cpus='1' memory='2097152' unit='KiB'/></numa></cpu>"
)


@pytest.mark.parametrize(
    ("body", "memory"),
    [
        ("", [(None, ORDINARY, 1025)]),
        ("<numatune><memory mode='strict' nodeset='1'/></numatune>", [({1}, ORDINARY, 1025)]),
        ("<numatune><memory mode='interleave' nodeset='0-1'/></numatune>", [({0, 1}, ORDINARY, 1025)]),
        ("<numatune><memory mode='preferred' nodeset='1'/></numatune>", [(None, ORDINARY, 1025)]),
        ("<numatune><memory mode='strict' placement='auto'/></numatune>", [(None, ORDINARY, 1025)]),
        ("<numatune><memory mode='strict' nodeset='5'/></numatune>", [(None, ORDINARY, 1025)]),
        (HUGE.format("<page size='1048576' unit='KiB'/>"), [(None, 1048576, 4096)]),
        (HUGE.format(""), [(None, 2048, 4096)]),
        (CELLS, [(None, ORDINARY, 1024), (None, ORDINARY, 2048), (None, ORDINARY, 1024)]),
        (
            CELLS
            + HUGE.format("<page size='2048' unit='KiB' nodeset='1'/>")
            + "<numatune><memory mode='strict' nodeset='0-1'/>"
            + "<memnode cellid='1' mode='strict' nodeset='0'/></numatune>",
            [({0, 1}, ORDINARY, 1024), ({0}, 2048, 2048), ({0, 1}, ORDINARY, 1024)],
        ),
        (
            CELLS
            + HUGE.format("<page size='2048' unit='KiB'/><page size='1048576' unit='KiB' nodeset='0'/>"),
            [(None, 1048576, 1024), (None, 2048, 2048), (None, 2048, 1024)],
        ),
    ],
)
def test_its_memory_is_where_its_definition_says(
    body: str, memory: list[tuple[set[int] | None, int, int]]
) -> None:
    assert list(taken_by(guest(body), FACTS).memory) == memory


@pytest.mark.parametrize(
    ("sizes", "usual"), [(SIZES, 2048), ((64 * KIB, 512 * MIB), 524288), ((4 * KIB,), 2048), ((), 2048)]
)
def test_huge_pages_of_no_size_are_those_that_kernels_have_by_default(
    sizes: tuple[int, ...], usual: int
) -> None:
    facts = host(cell(0, (0,), sizes=sizes))
    assert list(taken_by(guest(HUGE.format("")), facts).memory) == [(None, usual, 4096)]


def test_a_guest_that_cannot_be_read_has_nothing() -> None:
    assert taken_by(replace(guest(""), live_xml="<"), FACTS) == Taken()


def test_what_runs_already_is_in_the_way_of_a_new_guest() -> None:
    there = guest(
        "<cputune><vcpupin vcpu='0' cpuset='2'/></cputune><numatune><memory mode='strict' nodeset='1'/></numatune>"
    )
    cells = rooms(FACTS, dedicated=frozenset({2, 3, 6}), taken=[taken_by(there, FACTS)])
    request = PlaceRequest(
        (VmToPlace("a", 1, 0, "", ("kvm-1",), Shape((CellDemand((0,), (), 7168),))),),
        (HostRoom("kvm-1", 8, 16 * GIB, cells=cells, distances=distances(FACTS)),),
    )
    place = Place("kvm-1", (CellPlace(1, ((1, 4, 7168),), ((0, 2),), ()),))
    assert list(faults(request, PlaceAnswer({"a": "kvm-1"}, places={"a": place}))) == [
        "it gives vCPU 0 of a CPU 2 of kvm-1, which is not one that guests may have for themselves",
        "it takes 7168 MiB of pages of 4 KiB in cell 1 of kvm-1, which has 7167 MiB",
    ]
