"""What is said to be out of reach is: held against trying everything, and against another solver."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from kvmdecl_numa.layers import best
from kvmdecl_numa.relaxed import Relaxed
from kvmdecl_numa.search import Effort
from kvmdecl_numa.simplex import Column, prices
from kvmdecl_numa.solver import first_placed, numa, pack, packing_of

from kvmdecl.solver import PlaceAnswer, PlaceRequest
from tests.numa.support import HUGE, cell, host, shape, vm
from tests.numa.test_rules import requests
from tests.placement.exact import exact as by_trying
from tests.placement.test_conflict_set import a_cluster

BRIEF = Effort(steps=100)


def test_prices_are_such_that_the_best_amounts_cost_what_they_are_worth():
    # 3x + 5y where x <= 4, 2y <= 12, 3x + 2y <= 18: 36, with x = 2 and y = 6.
    room = (4, 12, 18)
    columns = (Column(3, ((0, 1), (2, 3))), Column(5, ((1, 2), (2, 2))))
    found = prices(columns, room)
    assert found == pytest.approx([0, 1.5, 1])
    assert sum(price * amount for price, amount in zip(found, room, strict=True)) == pytest.approx(36)


def test_of_tiny_clusters_no_more_is_ruled_out_than_trying_everything_rules_out():
    dice = random.Random(41)
    sharp = 0
    for _ in range(120):
        request = a_cluster(dice).request
        # Trying everything puts the emulator of a guest beside its first cell.
        wants = [each.shape for each in request.vms if each.shape]
        if any(len(each.cells) > 1 and each.emulator == "isolate" for each in wants):
            continue
        shaped = PlaceRequest(
            tuple(each for each in request.vms if each.shape), request.hosts, groups=request.groups
        )
        most = first_placed(shaped, by_trying(shaped))
        packing = packing_of(shaped, shaped.vms, {})
        wanted = range(len(packing.guests))
        bound = Relaxed(packing, wanted).prefix(wanted, len(wanted))
        assert bound >= most
        assert first_placed(shaped, numa(shaped)) == most  # a host or two: nothing is left out
        sharp += most < len(wanted) and bound == most
    assert sharp > 20


@given(requests())
@settings(max_examples=20, deadline=None)
def test_no_placement_is_worth_more_than_what_is_proved(request):
    pytest.importorskip("ortools")
    from kvmdecl_numa.exact import improved

    shaped = PlaceRequest(
        tuple(each for each in request.vms if each.shape), request.hosts, groups=request.groups
    )
    other = improved(shaped, PlaceAnswer({}, {}, {}), "count", 5.0)
    packing = packing_of(shaped, shaped.vms, {})
    values = dict.fromkeys(range(len(packing.guests)), 1)
    assert Relaxed(packing, list(values)).value(values, (), len(values)) >= len(other.hosts)
    found = best(packing, values, (), 0, 50_000)
    if found is not None and found.proved:
        placed = len(found.fits or ())
        assert placed >= len(other.hosts)
        assert other.bound is None or placed <= other.bound
        packing.restore(found.fits or {})
        assert all(left.holds() for left in packing.hosts)


def test_cells_of_different_sizes_are_exchanged_for_each_other_and_back():
    """What is left of a large cell may be like a small one: the guest is in the cell that it was counted in."""
    room = host(
        "kvm-1", cell(0, cores=2, threads=1), cell(1, cores=7, threads=1), cell(2, cores=5, threads=1)
    )
    vms = [vm(f"vm-{n}", shape((cpus, 0, 1))) for n, cpus in enumerate((5, 3, 2, 2, 2))]
    packing = packing_of(PlaceRequest(tuple(vms), (room,)), vms, {})
    found = best(packing, dict.fromkeys(range(5), 1), (), 4, 10_000)
    assert found is not None
    assert found.fits is not None
    packing.restore(found.fits)
    assert [left.free_cpus for left in packing.hosts[0].cells] == [0, 0, 0]


def test_alike_hosts_cost_no_more_than_one():
    """The last guest has no room: sums over the cluster do not show it, how often 4 goes into 7 does."""
    names = tuple(f"kvm-{n:03}" for n in range(200))
    rooms = tuple(
        host(name, *(cell(c, cores=7, threads=1, pools={4: 1, HUGE: 8}) for c in (0, 1))) for name in names
    )
    vms = [vm(f"vm-{n:03}", shape((4, 0, 2), pages=HUGE), *names) for n in range(401)]
    packing = packing_of(PlaceRequest(tuple(vms), rooms), vms, {})
    relaxed = Relaxed(packing, range(401))
    assert relaxed.value(dict.fromkeys(range(401), 1), (), 400) == 400


def test_what_may_be_moved_does_not_hold_a_bound_down():
    room = host("kvm-1", cell(0, cores=4, threads=1), cell(1, cores=4, threads=1))
    small = vm("old-1", shape((2, 0, 1)))
    place = numa(PlaceRequest((small,), (room,))).places["old-1"]
    there = vm("old-1", shape((2, 0, 1)), place=place)
    wanted = [vm(f"new-{n}", shape((3, 0, 1))) for n in (1, 2)]
    request = PlaceRequest(tuple(wanted), (room,), (there,))
    packing = packing_of(request, request.vms, {})
    assert Relaxed(packing, [1, 2]).prefix([1, 2], 2) == 1
    packing.release(0)
    assert Relaxed(packing, [1, 2], [0]).prefix([1, 2], 2) == 2


def test_weight_is_found_where_a_hasty_search_misses_it():
    """The pages of two sizes and CPUs of one cell: which of the guests go together is a puzzle."""
    dice = random.Random(5)
    wants = [
        shape((dice.randint(2, 9), 0, 256 * dice.randint(1, 9)), pages=dice.choice((4, HUGE, "any")))
        for _ in range(18)
    ]
    room = host("kvm-1", cell(0, cores=20, pools={4: 6144, HUGE: 5120}))
    vms = tuple(vm(f"vm-{n:02}", each) for n, each in enumerate(wants))
    request = PlaceRequest(vms, (room,))
    packing = pack(request, Effort(), "count")
    values = dict.fromkeys(range(len(vms)), 1)
    bound = packing_of(request, vms, {})
    assert len(packing.fits) == Relaxed(bound, range(len(vms))).value(values, (), len(packing.fits))
