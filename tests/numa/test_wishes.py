"""Soft groups: kept where they can be, and never at the price of a vm that has no host."""

from __future__ import annotations

import pytest
from kvmdecl_numa.exact import exact
from kvmdecl_numa.exhaust import Exhaust
from kvmdecl_numa.packing import Packing
from kvmdecl_numa.search import Effort
from kvmdecl_numa.sizes import Sizes
from kvmdecl_numa.solver import numa

from kvmdecl.groups import broken
from kvmdecl.solver import Group, PlaceRequest
from kvmdecl.verdict import faults
from tests.numa.support import cell, host, shape, vm

BRIEF = Effort(steps=100)
SOLVERS = [pytest.param(numa, id="numa"), pytest.param(exact, id="exact")]
KINDS = [pytest.param(shape((2, 0, 1024)), id="bound"), pytest.param(None, id="ordinary")]


def asked(wants, number, *, apart, room=8, scope="host", there=()):
    """So many vms on three hosts in two racks, each host with room for so many of them."""
    names = ("kvm-1", "kvm-2", "kvm-3")
    rooms = tuple(
        host(name, cell(0, cores=room, pools={4: room * 1024}), labels={"rack": f"r{n // 2}"})
        for n, name in enumerate(names)
    )
    vms = tuple(vm(f"vm-{n}", wants, *names, memory=1024) for n in range(number))
    members = frozenset(each.name for each in (*vms, *there))
    return PlaceRequest(vms, rooms, there, (Group(members, scope, apart, soft=True),))


def told(request, answer):
    assert list(faults(request, answer)) == []
    assert not answer.refused
    where = dict(answer.hosts) | {name: place.host for name, place in answer.places.items()}
    labels = {room.name: room.labels for room in request.hosts}
    return [text for group in request.groups for text in broken(group, where, labels)]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("wants", KINDS)
@pytest.mark.parametrize(
    ("number", "apart", "scope"),
    [(3, True, "host"), (2, True, "rack"), (6, False, "host"), (12, False, "rack")],
)
def test_a_wish_is_kept_where_it_can_be(solver, wants, number, apart, scope):
    request = asked(wants, number, apart=apart, scope=scope)
    assert told(request, solver(request, BRIEF)) == []


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("wants", KINDS)
@pytest.mark.parametrize(("number", "apart"), [(4, True), (5, False)])
def test_a_vm_that_could_not_run_otherwise_is_put_elsewhere(solver, wants, number, apart):
    request = asked(wants, number, apart=apart, room=2)
    assert len(told(request, solver(request, BRIEF))) == 1


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_rule_comes_before_a_wish(solver):
    request = asked(shape((2, 0, 1024)), 3, apart=False)
    (wish,) = request.groups
    rule = Group(wish.members, "host", apart=True)
    both = PlaceRequest(request.vms, request.hosts, groups=(wish, rule))
    assert len(told(both, solver(both, BRIEF))) == 1


def test_exact_keeps_what_only_a_better_packing_can():
    # Two large ones would have to make room: whoever comes first takes the host that both others want.
    names = ("kvm-1", "kvm-2")
    rooms = tuple(host(name, cell(0, cores=6, threads=1)) for name in names)
    vms = tuple(vm(f"vm-{n}", shape((cpus, 0, 1)), *names) for n, cpus in enumerate((3, 3, 2, 2, 1, 1)))
    wishes = (
        Group(frozenset({"vm-0", "vm-1"}), "host", apart=True, soft=True),
        Group(frozenset({"vm-2", "vm-3"}), "host", apart=True, soft=True),
        Group(frozenset({"vm-4", "vm-5"}), "host", apart=True, soft=True),
    )
    request = PlaceRequest(vms, rooms, groups=wishes)
    assert told(request, exact(request, BRIEF)) == []


MANIFEST = """
apiVersion: kvmdecl/v1
cluster: demo
hosts: {kvm-1: "qemu:///system"}
vms:
  web: {count: 2, apart: {soft: true}}
"""


def test_who_is_not_where_a_wish_would_have_them_is_told(try_manifest):
    trial = try_manifest(MANIFEST)
    assert trial.placed
    (found,) = trial.diagnostics
    assert (found.code, found.severity, found.at.line) == ("placement.not-kept", "warning", 6)
    assert found.summary == "web-1, web-2 on kvm-1, which are to be apart, at most 1 together"


def test_those_that_stay_together_go_where_all_their_wishes_are_kept():
    """None of them could be moved there alone, once they are somewhere else."""
    names = ("kvm-1", "kvm-2")
    rooms = tuple(host(name, cell(0, cores=8)) for name in names)
    wants = shape((2, 0, 64))
    there = vm(
        "old-1", wants, *names, place=numa(PlaceRequest((vm("old-1", wants),), rooms[:1])).places["old-1"]
    )
    vms = (vm("vm-1", wants, *names), vm("vm-2", wants, *names))
    groups = (
        Group(frozenset({"vm-1", "vm-2"}), "host", apart=False),
        Group(frozenset({"vm-2", "old-1"}), "host", apart=True, soft=True),
    )
    request = PlaceRequest(vms, rooms, (there,), groups)
    assert told(request, numa(request, BRIEF)) == []


def test_where_all_ways_are_tried_those_that_keep_a_wish_come_first():
    names = ("kvm-1", "kvm-2")
    rooms = tuple(host(name, cell(0, cores=8)) for name in names)
    vms = [vm(f"vm-{n}", shape((2, 0, 64)), *names) for n in (1, 2)]
    groups = (Group(frozenset({"vm-1", "vm-2"}), "host", apart=True, soft=True),)
    packing = Packing([(each, each.shape) for each in vms], rooms, groups, {})
    assert Exhaust(packing, Sizes(packing), range(2), 1_000).fits()
    assert {fit.host for fit in packing.fits.values()} == {0, 1}
