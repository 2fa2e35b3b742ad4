"""What each CPU and each pool of pages is for, and who has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmdecl.hostmap import (
    MappedDevice,
    MappedGuest,
    MappedHost,
    MappedPages,
    News,
    Portion,
    Role,
    Seat,
    Use,
    map_of,
)
from kvmdecl.names import GIB, KIB, MIB
from kvmdecl.solver import CellPlace, PciDevice, Place
from tests.hostmap.support import DB, DB_PLACE, TRAIN, TRAIN_PLACE, defined, host, mapped, stranger
from tests.placement.numa import ROOM
from tests.placement.support import silent
from tests.resolve.support import only_vm, resolved


def uses(host: MappedHost) -> dict[int, Use]:
    return {cpu.id: cpu.use for cell in host.cells for core in cell.cores for cpu in core}


def seats(host: MappedHost) -> dict[int, tuple[Seat, ...]]:
    return {cpu.id: cpu.seats for cell in host.cells for core in cell.cores for cpu in core if cpu.seats}


def pages(host: MappedHost, cell: int, size: int) -> MappedPages:
    (found,) = (pages for pages in host.cells[cell].pages if pages.page == size)
    return found


def guest(host: MappedHost, name: str) -> MappedGuest:
    (found,) = (guest for guest in host.guests if guest.name == name)
    return found


def test_a_cpu_is_the_hosts_shared_or_free():
    (seen,) = mapped().hosts
    assert {
        use: sorted(cpu for cpu in uses(seen) if uses(seen)[cpu] is use) for use in set(uses(seen).values())
    } == {
        Use.HOST: [0],
        Use.SHARED: [4, 8, 12],
        Use.FREE: [1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15],
    }


def test_threads_of_a_core_stand_side_by_side():
    (seen,) = mapped().hosts
    assert [[[cpu.id for cpu in core] for core in cell.cores] for cell in seen.cells] == [
        [[0, 8], [1, 9], [2, 10], [3, 11]],
        [[4, 12], [5, 13], [6, 14], [7, 15]],
    ]


def test_a_vcpu_sits_on_the_cpu_that_it_was_given():
    (seen,) = mapped(TRAIN, places={"train": TRAIN_PLACE}).hosts
    assert seats(seen) == {
        cpu: (Seat("vm/train", Role.VCPU, vcpu),) for vcpu, cpu in enumerate((1, 9, 2, 10))
    }
    assert {uses(seen)[cpu] for cpu in (1, 9, 2, 10)} == {Use.TAKEN}


def test_threads_of_qemu_have_seats_and_a_core_that_is_somebodys_alone_stays_empty():
    (seen,) = mapped(DB, places={"db": DB_PLACE}).hosts
    assert seats(seen) == {
        5: (Seat("vm/db", Role.VCPU, 2),),
        6: (Seat("vm/db", Role.VCPU, 3),),
        7: (Seat("vm/db", Role.EMULATOR),),
        15: (Seat("vm/db", Role.IO_THREAD, 1),),
        13: (Seat("vm/db", Role.SIBLING),),
        14: (Seat("vm/db", Role.SIBLING),),
    }
    assert (uses(seen)[13], uses(seen)[14]) == (Use.KEPT, Use.KEPT)
    assert [cell.floating for cell in seen.cells] == [(), (Portion("vm/db", 2),)]


def test_pages_are_somebodys_kept_or_free():
    (seen,) = mapped(TRAIN, places={"train": TRAIN_PLACE}).hosts
    huge, small = pages(seen, 0, 2 * MIB), pages(seen, 0, 4 * KIB)
    assert huge == MappedPages(2 * MIB, 8 * GIB, (Portion("vm/train", 4 * GIB),), 0, 4 * GIB)
    assert (small.size, small.others) == (16 * GIB, 2 * GIB)
    assert small.taken == (Portion("vm/train", 104 * MIB),)  # what QEMU needs besides
    assert small.free == small.size - small.others - 104 * MIB
    assert seen.free == seen.room - 104 * MIB


def test_guests_that_are_bound_to_no_cell_take_memory_of_the_host_and_no_cpu():
    (seen,) = mapped("web: {count: 2, memory: 3GiB}", where={"web-1": "kvm-1", "web-2": "kvm-1"}).hosts
    assert (seen.room, seen.free) == (30 * GIB, 24 * GIB)
    assert sum(pages(seen, cell, 4 * KIB).others for cell in (0, 1)) == pytest.approx(8 * GIB, abs=MIB)
    assert seats(seen) == {}


def test_who_was_pinned_by_hand_sits_where_he_was_put():
    keys = 'web: {cpus: {count: 2, pins: {0: "8", 1: "4,12"}}, numa: "1", memory: 1GiB}'
    (seen,) = mapped(keys, where={"web": "kvm-1"}).hosts
    assert seats(seen) == {
        8: (Seat("vm/web", Role.VCPU, 0),),
        4: (Seat("vm/web", Role.ANY),),
        12: (Seat("vm/web", Role.ANY),),
    }
    assert uses(seen)[8] is Use.SHARED
    assert pages(seen, 1, 4 * KIB).taken == (Portion("vm/web", GIB),)


def test_a_running_guest_of_nobody_is_seen_where_it_is_pinned():
    (seen,) = mapped(kvm_1=host("kvm-1", stranger("old", "3,11"))).hosts
    assert seats(seen) == {cpu: (Seat("domain/old", Role.ANY),) for cpu in (3, 11)}
    assert uses(seen)[3] is Use.TAKEN
    assert guest(seen, "old") == MappedGuest("domain/old", "old", 2, 2 * GIB, managed=False)


@pytest.mark.parametrize(
    ("there", "news"),
    [
        ([], News.NEW),
        ([TRAIN_PLACE], News.NONE),
        (
            [Place("kvm-1", (CellPlace(1, ((1, 2048, 4096),), ((0, 5), (1, 13), (2, 6), (3, 14)), ()),))],
            News.MOVED,
        ),
    ],
)
def test_who_is_new_or_gets_other_cpus_is_marked(there: list[Place], news: News):
    vm = only_vm(f"vms:\n  {TRAIN}\n")
    seen = host("kvm-1", *(defined(vm, place) for place in there))
    (found,) = mapped(TRAIN, places={"train": TRAIN_PLACE}, kvm_1=seen).hosts
    assert guest(found, "train").news is news


def test_a_device_is_whose_place_has_it():
    room = replace(
        ROOM,
        devices=(PciDevice("0000:41:00.0", ("10de:2330",), 1, 7), PciDevice("0000:42:00.0", ("x",), None, 8)),
    )
    vm = only_vm(f"vms:\n  {TRAIN}\n").on("kvm-1")
    place = replace(TRAIN_PLACE, devices=(("0000:41:00.0",),))
    (entry, *_) = resolved("vms: {}").hosts
    found = map_of(entry, host("kvm-1"), room, [vm], {"train": place}, frozenset({vm.uuid}))
    assert found.devices == (
        MappedDevice("0000:41:00.0", "10de:2330", 1, "vm/train"),
        MappedDevice("0000:42:00.0", "x", None),
    )


def test_a_host_that_was_not_read_says_why_and_keeps_the_guests_that_name_it():
    found = mapped("web: {}", where={"web": "kvm-2"}, hosts=2, kvm_2=silent("kvm-2"))
    assert not found.complete
    assert found.hosts[1] == MappedHost(
        "kvm-2", guests=(MappedGuest("vm/web", "web", 1, GIB),), reason="kvm-2 does not answer"
    )
