"""What is wrong with a solver's answer is told, whatever it is; an answer that keeps to the rules is not blamed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kvmdecl.names import GIB, MIB
from kvmdecl.solver import (
    Budget,
    CellDemand,
    CellPlace,
    CellRoom,
    DeviceDemand,
    Group,
    HostRoom,
    PciDevice,
    Place,
    PlaceAnswer,
    PlaceRequest,
    Shape,
    VmToPlace,
)  # fmt: skip
from kvmdecl.verdict import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Damage = Callable[[PlaceRequest, PlaceAnswer], tuple[PlaceRequest, PlaceAnswer]]

# Two cells with siblings by gaps, one core of a single thread, and CPU 15 for the host; a card whose cell nobody knows.
KVM_1 = HostRoom(
    "kvm-1",
    cpus=15,
    memory=12 * GIB,
    cells=(
        CellRoom(
            0, 0, ((0, 8), (1, 9), (2, 10), (3, 11)), frozenset({0, 8, 1, 9, 2, 10}), frozenset({3, 11}),
            {4: 8192, 2048: 4096, 64: 0},
        ),
        CellRoom(
            4, 1, ((4, 12), (5, 13), (6, 14), (7,), (15,)), frozenset({4, 12, 5, 13, 6, 14}), frozenset({7}),
            {4: 4096, 1048576: 4096},
        ),
    ),
    distances=((10, 21), (21, 10)),
    overcommit=1.5,
    labels={"rack": "a"},
    devices=(
        PciDevice("0000:41:00.0", ("gpu",), 4, 1), PciDevice("0000:41:00.1", ("sound",), 4, 1),
        PciDevice("0000:01:00.0", ("gpu",), 0, 2), PciDevice("0000:81:00.0", ("nic",), None, 3),
    ),
)  # fmt: skip
KVM_2 = HostRoom(
    "kvm-2",
    cpus=4,
    memory=4 * GIB,
    used_memory=GIB,
    cells=(CellRoom(7, None, ((0,), (1,), (2,), (3,)), frozenset({0, 1}), frozenset({2, 3}), {4: 3072}),),
    labels={"rack": "b"},
)

PAIR = Shape((CellDemand((0, 1), (), 1024),), threads="require")
ALONE = Shape((CellDemand((0,), (), 2048),), threads="isolate", pages="large", labels=(("rack", "a"),))
WIDE = Shape(
    (CellDemand((0,), (1,), 512), CellDemand((2,), (3,), 512)),
    emulator="isolate",
    io_threads=1,
    overhead=64,
    reach=21,
    devices=(DeviceDemand("gpu", 1, "required"), DeviceDemand("nic", 1, "legacy")),
)
LOOSE = Shape((CellDemand((), (0, 1), 2048),), spills=True, emulator="share", pages="any")
ONE = Shape((CellDemand((0,), (), 512),))

BOTH = ("kvm-1", "kvm-2")
DB = Place("kvm-2", (CellPlace(7, ((7, 4, 512),), ((0, 0),), ()),))
MAIL = Place("kvm-2", (CellPlace(7, ((7, 4, 512),), ((0, 1),), ()),))
REQUEST = PlaceRequest(
    vms=(
        VmToPlace("pair", 2, GIB, "", BOTH, PAIR),
        VmToPlace("alone", 1, 2 * GIB, "", BOTH, ALONE),
        VmToPlace("wide", 4, GIB, "", BOTH, WIDE),
        VmToPlace("loose", 2, 2 * GIB, "", BOTH, LOOSE),
        VmToPlace("web", 1, 2 * GIB, "", BOTH),
        VmToPlace("big", 1, 64 * GIB, "", BOTH),
        VmToPlace("huge", 1, 64 * GIB, "", BOTH, ONE),
    ),
    hosts=(KVM_1, KVM_2),
    residents=(
        VmToPlace("db", 1, 512 * MIB, "", ("kvm-1",), ONE, place=DB, fixed=True),
        VmToPlace("mail", 1, 512 * MIB, "", BOTH, ONE, place=MAIL),
    ),
    groups=(
        Group(frozenset({"pair", "db", "mail"}), "host", apart=True, most=2),
        Group(frozenset({"alone", "wide", "huge"}), "rack", apart=False),
    ),
)
ANSWER = PlaceAnswer(
    hosts={"pair": "kvm-1", "alone": "kvm-1", "wide": "kvm-1", "loose": "kvm-1", "web": "kvm-2"},
    refused={name: {"kvm-1": "too big", "kvm-2": "too big"} for name in ("big", "huge")},
    places={
        "pair": Place("kvm-1", (CellPlace(0, ((0, 4, 1024),), ((0, 0), (1, 8)), ()),)),
        "alone": Place("kvm-1", (CellPlace(0, ((0, 2048, 2048),), ((0, 1),), ()),)),
        "wide": Place(
            "kvm-1",
            (
                CellPlace(0, ((0, 4, 512),), ((0, 2),), ((0, 1),)),
                CellPlace(4, ((4, 4, 512),), ((2, 4),), ((4, 1),)),
            ),
            emulator=(12,),
            io_threads=(5,),
            devices=(("0000:41:00.0",), ("0000:81:00.0",)),
        ),
        "loose": Place("kvm-1", (CellPlace(0, ((0, 4, 1024), (4, 4, 1024)), (), ((0, 2),)),)),
        "db": DB,
        "mail": MAIL,
    },
)


def test_an_answer_that_keeps_to_the_rules_is_not_blamed() -> None:
    assert list(faults(REQUEST, ANSWER)) == []


# -- damage ----------------------------------------------------------------------------------------------------


def answered(**parts: Any) -> Damage:
    return lambda request, answer: (request, replace(answer, **parts))


def put(vm: str, **parts: Any) -> Damage:
    """The place of a vm in another way; `cell=(NUMBER, {...})` is about one of its cells."""

    def damage(request: PlaceRequest, answer: PlaceAnswer) -> tuple[PlaceRequest, PlaceAnswer]:
        place, changes = answer.places[vm], dict(parts)
        if "cell" in changes:
            number, cell = changes.pop("cell")
            cells = list(place.cells)
            cells[number] = replace(cells[number], **cell)
            changes["cells"] = tuple(cells)
        return request, replace(answer, places={**answer.places, vm: replace(place, **changes)})

    return damage


def moved(vm: str, host: str, *cells: CellPlace) -> Damage:
    """A vm on another host."""
    return lambda request, answer: (
        request,
        replace(
            answer,
            hosts={**answer.hosts, vm: host},
            places={**answer.places, vm: Place(host, cells)},
        ),
    )


def wanted(vm: str, **parts: Any) -> Damage:
    """A vm that wants something else."""
    return lambda request, answer: (
        replace(
            request,
            vms=tuple(
                replace(each, shape=replace(each.shape, **parts)) if each.name == vm else each
                for each in request.vms
            ),
        ),
        answer,
    )


def both(*damages: Damage) -> Damage:
    def damage(request: PlaceRequest, answer: PlaceAnswer) -> tuple[PlaceRequest, PlaceAnswer]:
        for each in damages:
            request, answer = each(request, answer)
        return request, answer

    return damage


def budget(**parts: int | None) -> Damage:
    return lambda request, answer: (replace(request, budget=Budget(**parts)), answer)


def without(name: str, *, where: str = "places") -> Damage:
    return lambda request, answer: (
        request,
        replace(
            answer, **{where: {key: value for key, value in getattr(answer, where).items() if key != name}}
        ),
    )


def excluding(address: str, *others: str) -> Damage:
    """A device of kvm-1 that excludes others."""

    def damage(request: PlaceRequest, answer: PlaceAnswer) -> tuple[PlaceRequest, PlaceAnswer]:
        devices = tuple(
            replace(each, excludes=frozenset(others)) if each.address == address else each
            for each in KVM_1.devices
        )
        return replace(request, hosts=(replace(KVM_1, devices=devices), KVM_2)), answer

    return damage


THERE = CellPlace(7, ((7, 4, 512),), ((0, 3),), ())
DAMAGES: list[tuple[str, Damage]] = [
    # a place for each, among the hosts that it may have
    ("it says nothing about big", without("big", where="refused")),
    ("it speaks of x, which it was not asked about", answered(hosts={**ANSWER.hosts, "x": "kvm-1"})),
    ("it puts web on kvm-3, which is not among its candidates", answered(hosts={**ANSWER.hosts, "web": "kvm-3"})),
    ("it puts huge in cells, which it was not asked for", answered(places={**ANSWER.places, "huge": MAIL})),
    ("it puts web in cells, which it was not asked for", answered(places={**ANSWER.places, "web": MAIL})),
    ("it puts pair on kvm-1, and in no cell there", without("pair")),
    ("it puts pair on kvm-1, and in cells of kvm-2", put("pair", host="kvm-2")),
    ("it puts mail on kvm-3, which is not among its candidates", put("mail", host="kvm-3")),
    ("it drops mail, which has a place", without("mail")),
    ("it puts pair in 0 cells of kvm-1, and it has 1", put("pair", cells=())),
    ("it puts cell 0 of pair in cell 1 of kvm-1, which has none of that id", put("pair", cell=(0, {"home": 1}))),
    # cells, distances, labels
    ("it puts cells 0 and 1 of wide in the same cell 0 of kvm-1", put("wide", cell=(1, {"home": 0}))),
    ("it puts wide in cells 0 and 4 of kvm-1, which are 21 apart, and 20 is allowed", wanted("wide", reach=20)),
    ("it puts pair on kvm-1, which has rack a, and rack b is wanted", wanted("pair", labels=(("rack", "b"),))),
    ("it puts pair on kvm-1, which has no zone, and zone b is wanted", wanted("pair", labels=(("zone", "b"),))),
    # CPUs
    ("it pins vCPUs 0 in cell 0 of pair, and 0, 1 are wanted", put("pair", cell=(0, {"pins": ((0, 0),)}))),
    ("it pins vCPUs 0 in cell 0 of loose, and none are wanted", put("loose", cell=(0, {"pins": ((0, 10),)}))),
    ("it pins vCPUs 0, 0 in cell 0 of pair, and 0, 1 are wanted", put("pair", cell=(0, {"pins": ((0, 0), (0, 8))}))),
    ("it gives the emulator of wide 0 CPUs, and 1 are wanted", put("wide", emulator=())),
    ("it gives the emulator of pair 1 CPUs, and 0 are wanted", put("pair", emulator=(10,))),
    ("it gives I/O threads of wide 2 CPUs, and 1 are wanted", put("wide", io_threads=(5, 13))),
    (
        "it puts pair on kvm-1, which has no shared CPU for its emulator",
        both(
            wanted("pair", emulator="share"),
            lambda request, answer: (
                replace(request, hosts=(replace(KVM_1, cells=(replace(KVM_1.cells[0], shared=frozenset()),)), KVM_2)),
                answer,
            ),
            without("wide"),
        ),
    ),
    ("it gives vCPU 0 of alone CPU 16 of kvm-1, which is not online", put("alone", cell=(0, {"pins": ((0, 16),)}))),
    (
        "it gives vCPU 0 of alone CPU 3 of kvm-1, which is not one that guests may have for themselves",
        put("alone", cell=(0, {"pins": ((0, 3),)})),
    ),
    (
        "it gives vCPU 0 of alone CPU 6 of kvm-1, which is in cell 4, and its home is 0",
        put("alone", cell=(0, {"pins": ((0, 6),)})),
    ),
    ("it gives vCPU 0 of wide CPU 8 of kvm-1, which vCPU 1 of pair has", put("wide", cell=(0, {"pins": ((0, 8),)}))),
    ("it gives I/O thread 1 of wide CPU 12 of kvm-1, which the emulator of wide has", put("wide", io_threads=(12,))),
    (
        "it gives the emulator of pair CPU 6 of kvm-1, which is in cell 4, and its home is 0",
        both(wanted("pair", emulator="isolate"), put("pair", emulator=(6,))),
    ),
    (
        "it does not leave vCPU 0 of alone alone on the core of CPU 1 of kvm-1: the emulator of wide may use CPU 9",
        put("wide", emulator=(9,)),
    ),
    (
        ("it does not leave vCPU 0 of alone alone on the core of CPU 1 of kvm-1: "
         "the host or floating vCPUs may use CPU 9"),
        lambda request, answer: (
            replace(
                request,
                hosts=(
                    replace(KVM_1, cells=(replace(KVM_1.cells[0], dedicated=frozenset({0, 8, 1, 2})), KVM_1.cells[1])),
                    KVM_2,
                ),
            ),
            answer,
        ),
    ),
    (
        "it gives cell 0 of pair a single thread of 2 cores in cell 0 of kvm-1, and 1 is allowed",
        put("pair", cell=(0, {"pins": ((0, 0), (1, 10))})),
    ),
    (
        "it pins cell 0 of pair in cell 7 of kvm-2, which has no core of two threads for guests",
        moved("pair", "kvm-2", CellPlace(7, ((7, 4, 1024),), ((0, 0), (1, 1)), ())),
    ),
    # vCPUs that float
    ("it lets 1 vCPUs of cell 0 of loose float, and 2 are wanted", put("loose", cell=(0, {"floating": ((0, 1),)}))),
    (
        "it lets 1 vCPUs of cell 0 of wide float in cell 4 of kvm-1, and its home is 0",
        put("wide", cell=(0, {"floating": ((4, 1),)})),
    ),
    (
        "it lets 2 vCPUs of cell 0 of loose float in cell 9 of kvm-1, which cannot be",
        put("loose", cell=(0, {"floating": ((9, 2),)})),
    ),
    (
        "it lets -1 vCPUs of cell 0 of loose float in cell 0 of kvm-1, which cannot be",
        put("loose", cell=(0, {"floating": ((4, 3), (0, -1))})),
    ),
    (
        "it lets 2 vCPUs of loose float on the 1 shared CPUs of cell 4 of kvm-1",
        put("loose", cell=(0, {"floating": ((4, 2),)})),
    ),
    (
        "it lets 3 vCPUs float in cell 0 of kvm-1, and 2 are allowed",
        lambda request, answer: (replace(request, hosts=(replace(KVM_1, overcommit=1.49), KVM_2)), answer),
    ),
    # memory
    ("it gives cell 0 of pair 1023 MiB, and 1024 MiB are wanted", put("pair", cell=(0, {"memory": ((0, 4, 1023),)}))),
    (
        "it gives cell 0 of pair 1024 MiB of pages of 4 KiB in cell 4 of kvm-1, and its home is 0",
        put("pair", cell=(0, {"memory": ((4, 4, 1024),)})),
    ),
    (
        "it gives cell 0 of pair 0 MiB of pages of 4 KiB in cell 0 of kvm-1, which cannot be",
        put("pair", cell=(0, {"memory": ((0, 4, 1024), (0, 4, 0))})),
    ),
    (
        "it gives cell 0 of pair 1024 MiB of pages of 4 KiB in cell 1 of kvm-1, which cannot be",
        put("pair", cell=(0, {"memory": ((1, 4, 1024),)})),
    ),
    (
        ("it gives cell 0 of pair 1024 MiB of pages of 2048 KiB in cell 0 of kvm-1, "
         "and small pages are wanted of those there: 4 KiB, 2048 KiB"),
        put("pair", cell=(0, {"memory": ((0, 2048, 1024),)})),
    ),
    (
        ("it gives cell 0 of alone 2048 MiB of pages of 4 KiB in cell 0 of kvm-1, "
         "and large pages are wanted of those there: 4 KiB, 2048 KiB"),
        put("alone", cell=(0, {"memory": ((0, 4, 2048),)})),
    ),
    (
        ("it gives cell 0 of alone 2048 MiB of pages of 2048 KiB in cell 0 of kvm-1, "
         "and pages of 1048576 KiB are wanted of those there: 4 KiB, 2048 KiB"),
        wanted("alone", pages=1048576),
    ),
    (
        ("it gives cell 0 of loose 2048 MiB of pages of 64 KiB in cell 0 of kvm-1, "
         "and any pages are wanted of those there: 4 KiB, 2048 KiB"),
        put("loose", cell=(0, {"memory": ((0, 64, 2048),)})),
    ),
    (
        "it gives cell 0 of loose 1023 MiB of pages of 2048 KiB in cell 0 of kvm-1, which is no whole number of pages",
        put("loose", cell=(0, {"memory": ((0, 2048, 1023), (4, 4, 1025))})),
    ),
    (
        "it gives cell 0 of loose pages of 4 KiB and of 2048 KiB",
        put("loose", cell=(0, {"memory": ((0, 2048, 1024), (4, 4, 1024))})),
    ),
    (
        "it takes 5120 MiB of pages of 2048 KiB in cell 0 of kvm-1, which has 4096 MiB",
        both(
            wanted("alone", cells=(CellDemand((0,), (), 5120),)), put("alone", cell=(0, {"memory": ((0, 2048, 5120),)}))
        ),
    ),
    ("it takes 8193 MiB of pages of 4 KiB in cell 0 of kvm-1, which has 8192 MiB", wanted("wide", overhead=5633)),
    (
        "it fills kvm-2 with 5GiB of guests' memory, and there are 4GiB",
        lambda request, answer: (replace(request, hosts=(KVM_1, replace(KVM_2, used_memory=2 * GIB))), answer),
    ),
    # devices
    ("it gives wide devices for 1 demands, and it has 2", put("wide", devices=(("0000:41:00.0",),))),
    ("it gives wide 0 of gpu, and 1 are wanted", put("wide", devices=((), ("0000:81:00.0",)))),
    (
        "it gives wide the device 0000:42:00.0 of kvm-1, which it does not have",
        put("wide", devices=(("0000:42:00.0",), ("0000:81:00.0",))),
    ),
    (
        "it gives wide the device 0000:41:00.1 of kvm-1, which is sound, and gpu is wanted",
        put("wide", devices=(("0000:41:00.1",), ("0000:81:00.0",))),
    ),
    (
        "it gives wide the device 0000:81:00.0 of kvm-1, which is in no known cell, and one in cell 0, 4 is wanted",
        wanted("wide", devices=(DeviceDemand("gpu", 1, "required"), DeviceDemand("nic", 1, "required"))),
    ),
    (
        ("it gives wide the device 0000:81:00.0 of kvm-1, which is in no known cell, "
         "and one in a socket of cell 0, 4 is wanted"),
        wanted("wide", devices=(DeviceDemand("gpu", 1, "required"), DeviceDemand("nic", 1, "socket"))),
    ),
    (
        "it gives pair the device 0000:41:00.1 of kvm-1, which is in cell 4, and one in cell 0 is wanted",
        both(
            wanted("pair", devices=(DeviceDemand("sound", 1, "legacy"),)), put("pair", devices=(("0000:41:00.1",),))
        ),
    ),
    (
        "it gives wide the device 0000:41:00.0 of kvm-1, which pair has",
        both(wanted("pair", devices=(DeviceDemand("gpu", 1, "preferred"),)), put("pair", devices=(("0000:41:00.0",),))),
    ),
    (
        "it gives wide the device 0000:41:00.0 of kvm-1, which is in IOMMU group 1 with one of pair",
        both(
            wanted("pair", devices=(DeviceDemand("sound", 1, "preferred"),)), put("pair", devices=(("0000:41:00.1",),))
        ),
    ),
    (
        "it gives wide the device 0000:41:00.0 of kvm-1, and 0000:81:00.0 to wide, and nobody can have both",
        excluding("0000:41:00.0", "0000:81:00.0"),
    ),
    (
        "it gives wide the device 0000:81:00.0 of kvm-1 more than once",
        both(
            wanted("wide", devices=(DeviceDemand("gpu", 1, "required"), DeviceDemand("nic", 2, "legacy"))),
            put("wide", devices=(("0000:41:00.0",), ("0000:81:00.0", "0000:81:00.0"))),
        ),
    ),
    # groups
    (
        "it puts db, mail, pair on kvm-2, which are to be apart, at most 2 together",
        moved("pair", "kvm-2", CellPlace(7, ((7, 4, 1024),), ((0, 2), (1, 3)), ())),
    ),
    ("it puts alone, wide apart, which are to be together", moved("wide", "kvm-2", THERE, THERE)),
    (
        "it puts db, mail on no zone, which are to be apart, at most 1 together",
        lambda request, answer: (
            replace(request, groups=(Group(frozenset({"db", "mail"}), "zone", apart=True),)),
            answer,
        ),
    ),
    # what has a place
    ("it moves db, which is to stay as it is on kvm-2", put("db", cell=(0, {"pins": ((0, 3),)}))),
    ("it moves 1 vms to other CPUs, pages or devices, and 0 may be: mail", put("mail", cell=(0, {"pins": ((0, 3),)}))),
    ("it moves 1 vms to other cells, and 0 may be: mail", put("mail", cell=(0, {"home": 0}), host="kvm-2")),
    (
        "it moves 1 vms to other hosts, and 0 may be: mail",
        put("mail", host="kvm-1", cells=(CellPlace(4, ((4, 4, 512),), ((0, 6),), ()),)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("told", "damage"), DAMAGES, ids=[told for told, _ in DAMAGES])
def test_a_fault_is_told(told: str, damage: Damage) -> None:
    assert told in list(faults(*damage(REQUEST, ANSWER)))


def test_nothing_of_a_place_can_be_left_out_or_said_twice() -> None:
    for what, place in worse(ANSWER.places["wide"]):
        told = list(faults(REQUEST, replace(ANSWER, places={**ANSWER.places, "wide": place})))
        assert told, what


def worse(place: Place) -> Iterator[tuple[str, Place]]:
    for name in ("cells", "emulator", "io_threads", "devices"):
        for number, members in enumerate(each_worse(getattr(place, name))):
            yield f"{name}: {number}", replace(place, **{name: members})
    for number, cell in enumerate(place.cells):
        for name in ("memory", "pins", "floating"):
            for members in each_worse(getattr(cell, name)):
                cells = [*place.cells[:number], replace(cell, **{name: members}), *place.cells[number + 1 :]]
                yield f"{name} of cell {number}", replace(place, cells=tuple(cells))


def each_worse(members: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for number, member in enumerate(members):
        yield members[:number] + members[number + 1 :]
        yield (*members, member)


@pytest.mark.parametrize("vm", sorted(ANSWER.places))
def test_no_vm_can_be_where_another_is(vm: str) -> None:
    for other, place in ANSWER.places.items():
        hosts = {**ANSWER.hosts, vm: place.host} if vm in ANSWER.hosts else ANSWER.hosts
        told = list(faults(REQUEST, replace(ANSWER, hosts=hosts, places={**ANSWER.places, vm: place})))
        assert bool(told) == (vm != other), other


def turned(place: Place) -> Place:
    cells = (
        replace(cell, memory=cell.memory[::-1], pins=cell.pins[::-1], floating=cell.floating[::-1])
        for cell in place.cells
    )
    return replace(place, cells=tuple(cells))


def test_the_order_of_what_is_in_a_place_says_nothing() -> None:
    """Not even of a vm that is to stay as it is."""
    pair = VmToPlace("pair", 2, GIB, "", BOTH, PAIR, place=ANSWER.places["pair"], fixed=True)
    request = replace(REQUEST, vms=REQUEST.vms[1:], residents=(*REQUEST.residents, pair))
    places = {name: turned(place) for name, place in ANSWER.places.items()}
    assert list(faults(request, replace(ANSWER, places=places))) == []


def test_residents_are_moved_within_the_budget() -> None:
    request = replace(REQUEST, budget=Budget(host_moves=None, cell_moves=0, repins=1))
    for damage in (
        put("mail", cell=(0, {"pins": ((0, 0),)})),
        put("mail", host="kvm-1", cells=(CellPlace(4, ((4, 4, 512),), ((0, 6),), ()),)),
    ):
        assert not any("moves" in fault for fault in faults(*damage(request, ANSWER)))


def test_a_host_that_is_too_full_already_is_not_blamed_on_the_solver() -> None:
    full = replace(REQUEST, hosts=(KVM_1, replace(KVM_2, used_memory=8 * GIB)))
    hosts = {name: host for name, host in ANSWER.hosts.items() if name != "web"}
    refused = {**ANSWER.refused, "web": {"kvm-2": "full"}}
    assert list(faults(full, replace(ANSWER, hosts=hosts, refused=refused))) == []


def test_qemu_takes_the_smallest_pages_that_a_cell_has() -> None:
    big_pages = replace(KVM_2, cells=(replace(KVM_2.cells[0], pools={64: 3072}),), used_memory=0)
    request = PlaceRequest((VmToPlace("a", 1, 0, "", ("kvm-2",), replace(ONE, overhead=2560)),), (big_pages,))
    answer = PlaceAnswer(
        {"a": "kvm-2"}, {}, {"a": Place("kvm-2", (CellPlace(7, ((7, 64, 512),), ((0, 0),), ()),))}
    )
    assert list(faults(request, answer)) == []
    less = replace(
        request, hosts=(replace(big_pages, cells=(replace(big_pages.cells[0], pools={64: 3071}),)),)
    )
    assert list(faults(less, answer)) == [
        "it takes 3072 MiB of pages of 64 KiB in cell 7 of kvm-2, which has 3071 MiB"
    ]


@pytest.mark.parametrize("home", [((0, 0), (1, 8), (2, 10)), ((0, 0), (1, 10), (2, 2))])
def test_an_odd_vcpu_that_wants_whole_cores_may_have_a_single_thread(
    home: tuple[tuple[int, int], ...],
) -> None:
    shape = replace(PAIR, cells=(CellDemand((0, 1, 2), (), 1024),))
    request = PlaceRequest((VmToPlace("a", 3, 0, "", ("kvm-1",), shape),), (KVM_1,))
    place = Place("kvm-1", (CellPlace(0, ((0, 4, 1024),), home, ()),))
    assert list(faults(request, PlaceAnswer({"a": "kvm-1"}, places={"a": place}))) == []


NEAR = HostRoom(
    "kvm-1",
    cpus=3,
    memory=3 * GIB,
    cells=tuple(
        CellRoom(id_, socket, ((id_,),), frozenset({id_}), frozenset(), {4: 1024})
        for id_, socket in ((0, 0), (1, 0), (2, 1), (3, None), (4, None))
    ),
)


@pytest.mark.parametrize(
    ("home", "cell", "policies"),
    [
        (0, 0, "required socket legacy preferred"),
        (0, 1, "socket preferred"),
        (0, 2, "preferred"),
        (0, None, "legacy preferred"),
        (0, 9, "preferred"),
        (3, 3, "required socket legacy preferred"),
        (3, 4, "preferred"),
    ],
    ids=[
        "there",
        "in the socket",
        "elsewhere",
        "unknown",
        "in no cell",
        "in a cell of two sockets",
        "in another",
    ],
)
def test_a_device_is_as_near_as_its_policy_says(home: int, cell: int | None, policies: str) -> None:
    host = replace(NEAR, devices=(PciDevice("0000:01:00.0", ("gpu",), cell, 1),))
    place = Place(
        "kvm-1", (CellPlace(home, ((home, 4, 512),), ((0, home),), ()),), devices=(("0000:01:00.0",),)
    )
    for policy in ("required", "socket", "legacy", "preferred"):
        shape = replace(ONE, devices=(DeviceDemand("gpu", 1, policy),))
        request = PlaceRequest((VmToPlace("a", 1, 0, "", ("kvm-1",), shape),), (host,))
        told = list(faults(request, PlaceAnswer({"a": "kvm-1"}, places={"a": place})))
        assert (told == []) == (policy in policies.split()), policy


@pytest.mark.parametrize(
    ("count", "told"),
    [(5, "a0, a1, a2, a3, a4"), (7, "a0, a1, a2, a3, a4 and 2 more")],
    ids=["five", "seven"],
)
def test_of_many_vms_five_are_named(count: int, told: str) -> None:
    names = [f"a{number}" for number in range(count)]
    vms = tuple(VmToPlace(name, 1, 0, "", ("kvm-1",)) for name in names)
    request = PlaceRequest(vms, (KVM_1,), groups=(Group(frozenset(names), "host", apart=True),))
    assert list(faults(request, PlaceAnswer(dict.fromkeys(names, "kvm-1")))) == [
        f"it puts {told} on kvm-1, which are to be apart, at most 1 together"
    ]
