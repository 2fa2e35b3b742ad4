"""What other schedulers are known to get wrong, one case each, and what is said where a guest does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kvmdecl_numa.exhaust import Exhaust
from kvmdecl_numa.packing import Packing
from kvmdecl_numa.search import Effort
from kvmdecl_numa.sizes import Sizes
from kvmdecl_numa.solver import numa, pack

from kvmdecl.solver import Budget, CellRoom, DeviceDemand, Group, PciDevice, PlaceAnswer, PlaceRequest
from kvmdecl.verdict import faults
from tests.numa.support import GIANT, HUGE, broken_rules, cell, host, shape, vm

BRIEF = Effort(steps=1_000)
ISOLATE = {"threads": "isolate"}


def answer_to(*vms, hosts, residents=(), groups=(), budget=None):
    request = PlaceRequest(vms, tuple(hosts), tuple(residents), tuple(groups), budget or Budget())
    answer = numa(request, BRIEF)
    assert list(broken_rules(request, answer)) == []
    return answer


def why_not(wants, room, **more):
    answer = answer_to(vm("db-1", wants, room.name), hosts=[room], **more)
    return answer.refused["db-1"][room.name]


def cpus(place):
    return {cpu for each in place.cells for _, cpu in each.pins}


# -- cores and threads -----------------------------------------------------------------------------------------


def test_a_core_whose_sibling_is_offline_is_a_core_alone():
    room = CellRoom(0, 0, ((0, 1), (2,)), frozenset((1, 2)), frozenset(), {4: 1024})
    answer = answer_to(vm("db-1", shape((1, 0, 512), **ISOLATE)), hosts=[host("kvm-1", room)])
    assert cpus(answer.places["db-1"]) == {2}


def test_a_cpu_whose_sibling_is_the_hosts_is_not_isolated():
    room = CellRoom(0, 0, ((0, 1), (2, 3)), frozenset((1, 3)), frozenset(), {4: 1024})
    assert why_not(shape((1, 0, 512), **ISOLATE), host("kvm-1", room)) == "no core is free as a whole"


def test_odd_threads_of_some_guests_leave_the_pairs_of_others_whole():
    pair, odd = shape((2, 0, 64), threads="require"), shape((3, 0, 64), threads="require")
    wanted = [vm("a-1", odd), vm("b-1", odd), vm("c-1", pair)]
    assert len(answer_to(*wanted, hosts=[host("kvm-1", cell(cores=4))]).hosts) == 3


def test_qemus_own_thread_keeps_off_isolated_cores():
    wants = shape((2, 0, 64), threads="isolate", emulator="isolate")
    answer = answer_to(vm("db-1", wants), hosts=[host("kvm-1", cell(cores=3))])
    assert len(answer.places["db-1"].emulator) == 1


def test_eight_threads_per_core():
    wants = [vm(f"db-{n}", shape((3, 0, 64), threads="require")) for n in range(4)]
    wants.append(vm("rt-1", shape((1, 0, 64), **ISOLATE)))
    assert len(answer_to(*wants, hosts=[host("kvm-1", cell(cores=3, threads=8))]).hosts) == 5


# -- cells and memory ------------------------------------------------------------------------------------------


def test_cells_of_different_sizes_are_told_apart():
    rooms = [cell(number, cores=cores, threads=1) for number, cores in enumerate((2, 8, 2))]
    wants = shape((1, 0, 64), (8, 0, 64))
    answer = answer_to(vm("db-1", wants), hosts=[host("kvm-1", *rooms)])
    assert answer.places["db-1"].cells[1].home == 1


def test_ids_of_cells_are_labels():
    rooms = [cell(number, cores=2, threads=1) for number in (8, 3)]
    answer = answer_to(vm("db-1", shape((2, 0, 64), (2, 0, 64), reach=20)), hosts=[host("kvm-1", *rooms)])
    assert {each.home for each in answer.places["db-1"].cells} == {3, 8}


def test_cells_without_cpus_or_without_memory_are_passed_over():
    rooms = [cell(0, cores=0), cell(1, pools={}), cell(2)]
    answer = answer_to(vm("db-1", shape((2, 0, 64))), hosts=[host("kvm-1", *rooms)])
    assert answer.places["db-1"].cells[0].home == 2


def test_each_cell_of_a_guest_may_have_pages_of_its_own_size():
    rooms = [cell(0, pools={4: 1024, GIANT: 4096}), cell(1, pools={4: 1024, HUGE: 4096})]
    answer = answer_to(
        vm("db-1", shape((1, 0, 2048), (1, 0, 2048), pages="large")), hosts=[host("kvm-1", *rooms)]
    )
    assert {page for each in answer.places["db-1"].cells for _, page, _ in each.memory} == {HUGE, GIANT}


def test_ordinary_vms_and_small_pages_share_one_memory():
    room = host("kvm-1", cell(pools={4: 4096}), memory=3072)
    shaped, plain = vm("db-1", shape((1, 0, 2048))), vm("web-1", None, memory=2048)
    assert answer_to(shaped, plain, hosts=[room]).hosts == {"db-1": "kvm-1"}
    assert answer_to(vm("a-1", None, memory=2048), shaped, hosts=[room]).hosts == {"a-1": "kvm-1"}


def test_a_host_without_cells_is_good_for_ordinary_vms():
    room = host("kvm-1", memory=2048)
    assert answer_to(vm("web-1", None, memory=1024), hosts=[room]).hosts == {"web-1": "kvm-1"}


# -- devices ---------------------------------------------------------------------------------------------------

NICS = (PciDevice("a", ("nic",), 0, 1), PciDevice("b", ("nic",), 0, 1), PciDevice("c", ("nic",), None, 2))


@pytest.mark.parametrize(
    ("policy", "guests"), [("required", 1), ("socket", 1), ("legacy", 2), ("preferred", 2)]
)
def test_an_iommu_group_is_one_guests(policy, guests):
    wants = shape((1, 0, 64), devices=(DeviceDemand("nic", 1, policy),))
    vms = [vm(f"net-{number}", wants) for number in range(3)]
    assert len(answer_to(*vms, hosts=[host("kvm-1", cell(), devices=NICS)]).hosts) == guests


PCIE = (
    PciDevice("gpu-a", ("gpu",), 0, 1, switch="s1"),
    PciDevice("gpu-b", ("gpu",), 0, 2, switch="s2"),
    PciDevice("gpu-c", ("gpu",), 0, 3, switch="s2"),
    PciDevice("nic-b", ("nic", "fast"), 0, 4, switch="s2"),
    PciDevice("nic-c", ("nic",), 0, 5, frozenset({"vf-c"}), "s3"),
    PciDevice("vf-c", ("vf",), 0, 6, frozenset({"nic-c"}), "s3"),
)


def given(*demands, memory=64, devices=PCIE):
    """What a guest without cells gets of these devices, by demand."""
    wants = shape(
        devices=tuple(DeviceDemand(model, count, "required", near) for model, count, near in demands)
    )
    answer = answer_to(
        vm("one", replace(wants, memory=memory)), hosts=[host("kvm-1", cell(), devices=devices)]
    )
    return answer.places["one"].devices if "one" in answer.places else answer.refused["one"]["kvm-1"]


@pytest.mark.parametrize(
    ("demands", "devices"),
    [
        ([("gpu", 2, "same_switch")], [("gpu-b", "gpu-c")]),
        ([("gpu", 2, "distinct")], [("gpu-a", "gpu-b")]),
        ([("gpu", 1, "same_switch"), ("nic", 1, "same_switch")], [("gpu-b",), ("nic-b",)]),
        ([("gpu", 3, "same_switch")], [("gpu-a", "gpu-b", "gpu-c")]),  # it is liked, not required
        ([("nic", 1, ""), ("fast", 1, "")], [("nic-c",), ("nic-b",)]),  # what another needs is left to it
        (
            [("nic", 1, ""), ("vf", 1, "")],
            [("nic-b",), ("vf-c",)],
        ),  # never a function beside its virtual ones
    ],
)
def test_devices_are_those_that_are_liked_and_that_go_together(demands, devices):
    assert given(*demands) == tuple(devices)


@pytest.mark.parametrize(
    ("demands", "reason"),
    [
        ([("gpu", 4, "")], "3 of 4 devices gpu free"),
        ([("fast", 1, ""), ("nic", 2, "")], "its devices are not to be had together"),
        ([("nic", 2, ""), ("vf", 1, "")], "its devices are not to be had together"),
    ],
)
def test_why_a_guest_does_not_get_its_devices(demands, reason):
    assert given(*demands) == reason


def test_what_one_guest_has_excludes_the_rest_of_it_for_others():
    first = vm("net-1", shape((0, 1, 64), devices=(DeviceDemand("vf", 1, "required"),)))
    second = vm("net-2", shape(devices=(DeviceDemand("nic", 2, "preferred"),), memory=64))
    room = host("kvm-1", cell(shared=1), devices=PCIE)
    assert answer_to(first, second, hosts=[room]).refused == {"net-2": {"kvm-1": "1 of 2 devices nic free"}}


def test_a_guest_that_only_wants_devices_takes_memory_of_its_host():
    assert given(("gpu", 1, ""), memory=16 * 1024) == "8GiB of the host's ordinary memory free, 16GiB wanted"


def test_guests_without_devices_leave_the_cells_with_devices_to_others():
    rooms = [cell(0), cell(1)]
    answer = answer_to(vm("web-1", shape((1, 0, 64))), hosts=[host("kvm-1", *rooms, devices=NICS)])
    assert answer.places["web-1"].cells[0].home == 1


# -- guests that have a place ----------------------------------------------------------------------------------


def settled(wants, *names, hosts):
    """Vms that have the places which they got on their own."""
    first = answer_to(*(vm(name, wants, *(room.name for room in hosts)) for name in names), hosts=hosts)
    rooms = [room.name for room in hosts]
    return [vm(name, wants, *rooms, place=first.places[name]) for name in names]


def test_a_guest_that_comes_moves_nobody():
    rooms = [host("kvm-1", cell(0), cell(1)), host("kvm-2", cell(0))]
    there = settled(shape((2, 0, 512)), "a-1", "b-1", "c-1", hosts=rooms)
    late = vm("late-1", shape((4, 0, 512)), "kvm-1", "kvm-2")
    answer = answer_to(late, hosts=rooms, residents=there)
    assert {each.name: answer.places[each.name] for each in there} == {
        each.name: each.place for each in there
    }


def test_a_guest_that_is_moved_is_moved_as_little_as_will_do():
    rooms = [host("kvm-1", cell(0, cores=2)), host("kvm-2", cell(0, cores=2))]
    scattered = settled(shape((1, 0, 64), **ISOLATE), "a-1", "b-1", hosts=rooms[:1])
    there = [vm(each.name, shape((1, 0, 64)), "kvm-1", "kvm-2", place=each.place) for each in scattered]
    late = vm("late-1", shape((1, 0, 64), **ISOLATE), "kvm-1")
    assert "late-1" in answer_to(late, hosts=rooms, residents=there).refused
    answer = answer_to(late, hosts=rooms, residents=there, budget=Budget(None, None, None))
    moved = [each for each in there if answer.places[each.name] != each.place]
    assert [answer.places[each.name].host for each in moved] == ["kvm-1"]


def test_a_fixed_guest_is_moved_by_no_budget():
    rooms = [host("kvm-1", cell(0, cores=2)), host("kvm-2", cell(0, cores=2))]
    (there,) = settled(shape((1, 0, 64)), "a-1", hosts=rooms[:1])
    fixed = vm("a-1", there.shape, "kvm-1", "kvm-2", place=there.place, fixed=True)
    late = vm("late-1", shape((2, 0, 64), **ISOLATE), "kvm-1")
    answer = answer_to(late, hosts=rooms, residents=[fixed], budget=Budget(None, None, None))
    assert "late-1" in answer.refused


# -- many guests -----------------------------------------------------------------------------------------------


def test_those_that_stay_together_go_where_all_of_them_can_be():
    rooms = [host("kvm-1", cell(0, cores=2)), host("kvm-2", cell(0, cores=4))]
    wants = shape((2, 0, 64))
    vms = [vm(f"{name}-1", wants, "kvm-1", "kvm-2") for name in ("a", "x", "y", "b", "c")]
    together = Group(frozenset({"a-1", "b-1", "c-1"}), "host", apart=False)
    answer = answer_to(*vms, hosts=rooms, groups=[together])
    assert [answer.hosts[name] for name in ("a-1", "b-1", "c-1")] == ["kvm-2"] * 3


@pytest.mark.parametrize(
    ("wants", "number"),
    [
        (shape((1, 0, 64), **ISOLATE), 8),
        (shape((5, 0, 64)), 2),
        (shape((1, 0, 3000)), 4),
        (shape((3, 0, 64), (3, 0, 64)), 2),
    ],
)
def test_what_sums_or_all_ways_show_to_be_too_much_is_not_searched_for(wants, number):
    rooms = [cell(0, cores=4), cell(1, cores=4)]
    vms = [vm(f"db-{n}", wants) for n in range(20)]
    packing = pack(PlaceRequest(tuple(vms), (host("kvm-1", *rooms),)), Effort())
    assert len(packing.fits) == number
    assert packing.steps < 20_000


def test_all_ways_are_tried_where_orders_do_not_do():
    """Sizes that fill both cells only as 6 + 4 + 3 and 5 + 5 + 3."""
    rooms = [cell(0, cores=13, threads=1), cell(1, cores=13, threads=1)]
    vms = [vm(f"db-{n}", shape((size, 0, 64))) for n, size in enumerate((6, 5, 5, 4, 3, 3))]
    packing = Packing([(each, each.shape) for each in vms], (host("kvm-1", *rooms),), (), {})
    assert Exhaust(packing, Sizes(packing), range(6), 10_000).fits()
    assert len(packing.fits) == 6
    packing.restore({})
    assert Exhaust(packing, Sizes(packing), range(6), 10).fits() is None
    assert not packing.fits


# -- why not ---------------------------------------------------------------------------------------------------

TWO = host("kvm-1", cell(0, cores=4), cell(1, cores=2, shared=2), labels={"rack": "r1"})


@pytest.mark.parametrize(
    ("wants", "reason"),
    [
        (
            shape((16, 0, 512)),
            "cell 0: 8 of 8 dedicated CPUs free, 16 wanted; cell 1: 2 of 2 dedicated CPUs free, 16 wanted",
        ),
        (shape((1, 0, 1024), pages=GIANT), "cell 0: no pages of 1GiB; cell 1: no pages of 1GiB"),
        (
            shape((1, 0, 9216)),
            "cell 0: 8GiB of 8GiB free, 9GiB wanted; cell 1: 8GiB of 8GiB free, 9GiB wanted",
        ),
        (shape((1, 0, 64), (1, 0, 64), (1, 0, 64)), "2 NUMA cells, 3 wanted"),
        (shape((1, 0, 64), labels=(("rack", "r2"),)), "rack is r1, r2 wanted"),
        (shape((1, 0, 64), labels=(("zone", "z1"),)), "no label zone, z1 wanted"),
        (shape((1, 0, 64), devices=(DeviceDemand("gpu", 1, "legacy"),)), "no device gpu free"),
    ],
)
def test_why_a_guest_does_not_fit(wants, reason):
    assert why_not(wants, TWO) == reason


def test_why_a_page_does_not_fit():
    room = host("kvm-1", cell(pools={4: 512, GIANT: 8192}))
    assert why_not(shape((1, 0, 5632), pages=GIANT), room) == "5.5GiB is not a whole number of pages of 1GiB"


def test_why_a_group_keeps_a_guest_out():
    wants = shape((1, 0, 64))
    apart = Group(frozenset({"web-1", "web-2"}), "host", apart=True)
    answer = answer_to(vm("web-1", wants), vm("web-2", wants), hosts=[TWO], groups=[apart])
    assert answer.refused == {"web-2": {"kvm-1": "apart from web-1, which is there"}}


@pytest.mark.parametrize("amount", [0, None], ids=["an empty pool", "no pool"])
def test_huge_pages_of_a_cell_that_has_no_others_are_no_ordinary_memory(amount):
    """The judge and the packing agree: 6 GiB of pages of 2 MiB do not have to be among 1 GiB of ordinary memory."""
    pools = {HUGE: 8192} if amount is None else {4: amount, HUGE: 8192}
    room = host("kvm-1", cell(0, pools={4: 1024}), cell(1, pools=pools))
    request = PlaceRequest(
        (vm("vm-1", shape((2, 0, 6144), pages=HUGE)), vm("vm-2", None, memory=1024)), (room,)
    )
    answer = numa(request)
    assert not answer.refused
    assert list(faults(request, answer)) == []


def test_what_qemu_takes_itself_is_ordinary_memory_of_its_first_home():
    """A cell that has none of that is no home for the first cell of a guest, and the judge says so, too."""
    room = host("kvm-1", cell(0, pools={4: 1024}), cell(1, pools={HUGE: 8192}))
    request = PlaceRequest((vm("vm-1", shape((2, 0, 2048), pages=HUGE, overhead=64)),), (room,))
    assert numa(request).refused
    (other,) = numa(replace(request, vms=(vm("vm-1", shape((2, 0, 2048), pages=HUGE)),))).places.values()
    wrong = PlaceAnswer({"vm-1": "kvm-1"}, {}, {"vm-1": other})
    assert "it takes 64 MiB of pages of 4 KiB in cell 1 of kvm-1, which has 0 MiB" in list(
        faults(request, wrong)
    )
