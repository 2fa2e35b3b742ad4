"""A place on NUMA cells becomes pins and nodes of a guest, and is read back from its definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kvmdecl.demand import overhead, shape_of
from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.marker import Marker, with_marker
from kvmdecl.manifest import Topology
from kvmdecl.pinning import kept_off, noted, place_of, with_place
from kvmdecl.solver import CellDemand, CellPlace, Place
from tests.placement.numa import ROOM
from tests.resolve.support import only_vm

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedVm


def vm(keys: str) -> ResolvedVm:
    return only_vm(f"vms: {{web: {{{keys}}}}}")


PAIR = "cpus: {count: 4, policy: dedicated, threads: require}, memory: {size: 4GiB, pages: 2MiB}"
PAIR_PLACE = Place("kvm-1", (CellPlace(0, ((0, 2048, 4096),), ((0, 1), (1, 9), (2, 2), (3, 10)), ()),))


def test_a_guest_wants_a_cell_with_all_of_it():
    shape = shape_of(vm(PAIR))
    assert shape is not None
    assert shape.cells == (CellDemand((0, 1, 2, 3), (), 4096),)
    assert (shape.threads, shape.pages, shape.emulator) == ("require", 2048, "float")


def test_each_cell_of_a_guest_is_a_wish_of_its_own_and_takes_what_is_plugged_into_it():
    keys = (
        'cpus: {count: 4, policy: mixed, dedicated: "1-2"}, numa: {cells: [{}, {}]},'
        "memory: {size: 4GiB, hotplug_max: 8GiB, modules: {more: {size: 1GiB, cell: 1}}}"
    )
    shape = shape_of(vm(keys))
    assert shape is not None
    assert shape.cells == (CellDemand((1,), (0,), 2048), CellDemand((2,), (3,), 3072))


@pytest.mark.parametrize(
    "keys", ["memory: 4GiB", 'cpus: {count: 2, pins: "4-5"}', 'numa: "0"', "memory: {pages: 2MiB}"]
)
def test_who_does_not_ask_to_be_bound_is_not(keys: str):
    assert shape_of(vm(keys)) is None


def test_qemu_needs_memory_beside_the_guest():
    small, large = overhead(vm("memory: 1GiB").spec), overhead(vm("memory: 512GiB, cpus: 32, tpm: {}").spec)
    assert 64 < small < 256 < 1024 < large < 2048


def test_a_place_is_pins_nodes_and_what_the_guest_sees_of_them():
    placed = with_place(vm(PAIR), PAIR_PLACE, ROOM).spec
    assert placed.cpus.pinned == {0: "1", 1: "9", 2: "2", 3: "10"}
    assert placed.cpus.emulator_pin == "1-2,9-10"
    assert placed.cpus.topology == Topology(cores=2, threads=2)
    assert placed.numa is not None
    assert (placed.numa.nodeset, placed.numa.mode) == ("0", "strict")


def test_vcpus_that_float_and_the_emulator_stay_on_shared_cpus_of_their_cell():
    guest = vm(
        'cpus: {count: 4, policy: mixed, dedicated: "2-3", emulator: share}, iothreads: 1, memory: 2GiB'
    )
    cell = CellPlace(1, ((1, 4, 2048),), ((2, 5), (3, 6)), ((1, 2),))
    cpus = with_place(guest, Place("kvm-1", (cell,)), ROOM).spec.cpus
    assert cpus.pinned == {0: "4,12", 1: "4,12", 2: "5", 3: "6"}
    assert (cpus.emulator_pin, cpus.iothread_pins) == ("4,12", {"1": "4,12"})


def test_threads_of_qemu_have_cpus_of_their_own_where_that_is_asked_for():
    guest = vm(
        "cpus: {count: 2, policy: dedicated, emulator: isolate, iothreads_dedicated: true}, iothreads: 2, memory: 1GiB"
    )
    cell = CellPlace(0, ((0, 4, 1024),), ((0, 1), (1, 9)), ())
    cpus = with_place(guest, Place("kvm-1", (cell,), (2,), (3, 11)), ROOM).spec.cpus
    assert (cpus.emulator_pin, cpus.iothread_pins) == ("2", {"1": "3", "2": "11"})


def test_each_cell_of_a_guest_has_its_memory_from_its_home():
    guest = vm("cpus: {count: 4, policy: dedicated}, memory: 4GiB, numa: {cells: [{}, {}]}")
    cells = (
        CellPlace(1, ((1, 4, 2048),), ((0, 5), (1, 6)), ()),
        CellPlace(0, ((0, 4, 2048),), ((2, 1), (3, 2)), ()),
    )
    spec = with_place(guest, Place("kvm-1", cells), ROOM).spec
    assert spec.numa is not None
    assert [cell.nodeset for cell in spec.numa.cells] == ["1", "0"]
    assert spec.numa.nodeset == "0-1"
    assert spec.cpus.topology == Topology(sockets=2, cores=2)


def test_other_guests_keep_off_the_cpus_that_are_set_aside():
    assert kept_off(vm("cpus: 2"), ROOM).spec.cpus.pinned == {0: "0,4,8,12", 1: "0,4,8,12"}


def test_who_pins_his_own_cpus_is_left_alone():
    guest = vm('cpus: {count: 2, pins: "4-5"}')
    assert kept_off(guest, ROOM) is guest


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (PAIR, PAIR_PLACE),
        (
            'cpus: {count: 4, policy: mixed, dedicated: "2-3"}, memory: 2GiB',
            Place("kvm-1", (CellPlace(1, ((1, 4, 2048),), ((2, 5), (3, 6)), ((1, 2),)),)),
        ),
        (
            "cpus: {count: 2, policy: dedicated, emulator: isolate, iothreads_dedicated: true}, iothreads: 1",
            Place("kvm-1", (CellPlace(0, ((0, 4, 1024),), ((0, 1), (1, 9)), ()),), (2,), (3,)),
        ),
        ("cpus: 2, numa: {bind: true}", Place("kvm-1", (CellPlace(1, ((1, 4, 1024),), (), ((1, 2),)),))),
    ],
)
def test_a_place_is_read_back_from_the_definition(keys: str, place: Place):
    guest = vm(keys)
    shape = shape_of(guest)
    assert shape is not None
    assert place_of("kvm-1", domain_xml(with_place(guest, place, ROOM), {}), shape) == place


@pytest.mark.parametrize(
    "other", ["cpus: 4", 'cpus: {count: 4, pins: "1-4"}', 'cpus: {count: 4}, numa: "0-1"']
)
def test_a_definition_that_binds_nobody_is_no_place(other: str):
    shape = shape_of(vm(PAIR))
    assert shape is not None
    assert place_of("kvm-1", domain_xml(vm(other), {}), shape) is None


WIDE = 'cpus: {count: 6, policy: mixed, dedicated: "0-1"}, memory: 9GiB, numa: {spill: true}'
WIDE_PLACE = Place(
    "kvm-1",
    (CellPlace(1, ((0, 4, 1024), (1, 4, 8192)), ((0, 5), (1, 1)), ((0, 1), (1, 3))),),
)


def test_how_a_guest_that_spills_is_shared_out_is_noted_when_it_is_applied():
    guest, shape = vm(WIDE), shape_of(vm(WIDE))
    assert shape is not None
    declared = noted(domain_xml(with_place(guest, WIDE_PLACE, ROOM), {}), WIDE_PLACE)
    marker = Marker("demo", guest.uuid, guest.name, "", "", declared)
    assert place_of("kvm-1", with_marker(declared, marker), shape) == WIDE_PLACE


@pytest.mark.parametrize(
    "changed", [("8192", "9000"), ('home="1"', 'home="x"'), ("1:3", "1:9"), ("0:4:1024", "2:4:1024")]
)
def test_a_note_that_is_about_something_else_is_not_followed(changed: tuple[str, str]):
    guest, shape = vm(WIDE), shape_of(vm(WIDE))
    assert shape is not None
    declared = noted(domain_xml(with_place(guest, WIDE_PLACE, ROOM), {}), WIDE_PLACE).replace(*changed)
    found = place_of("kvm-1", with_marker(declared, Marker("demo", guest.uuid, "", "", "", declared)), shape)
    assert found is not None
    assert found.cells[0].memory == ((0, 4, 4608), (1, 4, 4608))


def test_of_a_guest_that_is_whole_nothing_is_noted():
    declared = domain_xml(with_place(vm(PAIR), PAIR_PLACE, ROOM), {})
    assert noted(declared, PAIR_PLACE) == declared
