"""In which turn guests move: at every moment there is room for all, on both hosts of those that are on their way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdecl.state import Leg
from kvmdecl.turns import Mover, Turns, turns

A, B, C = "kvm-1", "kvm-2", "kvm-3"


def mover(vm: str, source: str, target: str, size: int = 4, via: tuple[str, ...] = ()) -> Mover:
    return Mover(vm, source, target, {0: size}, via)


def room(**free: int) -> dict[str, Mapping[int, int]]:
    return {name.replace("_", "-"): {0: amount} for name, amount in free.items()}


def ways(found: Turns) -> list[str]:
    return [f"{leg.vm} {leg.target}" + "".join(f" <{vm}" for vm, _ in leg.after) for leg in found.legs]


@pytest.mark.parametrize(
    ("movers", "free", "wanted"),
    [
        pytest.param([mover("a", A, B)], room(kvm_2=4), ["a kvm-2"], id="room"),
        pytest.param(
            [mover("a", A, B), mover("b", B, A)], room(kvm_1=4, kvm_2=4), ["a kvm-2", "b kvm-1"], id="both at once"
        ),
        pytest.param(
            [mover("a", A, B), mover("b", B, A)], room(kvm_1=4, kvm_2=0), ["b kvm-1", "a kvm-2 <b"], id="one first"
        ),
        pytest.param(
            [mover("a", A, B), mover("b", B, C), mover("c", C, A)],
            room(kvm_1=4, kvm_2=0, kvm_3=0),
            ["c kvm-1", "b kvm-3 <c", "a kvm-2 <b"],
            id="around",
        ),
        pytest.param(
            [mover("a", A, B, via=(C,)), mover("b", B, A, 8)],
            room(kvm_1=4, kvm_2=0, kvm_3=4),
            ["a kvm-3", "b kvm-1 <a", "a kvm-2 <a <b"],
            id="one steps aside",
        ),
        pytest.param(
            # the first that fits would take the room that the others need
            [mover("a", A, C), mover("b", B, C), mover("c", C, B)],
            room(kvm_2=0, kvm_3=4),
            ["b kvm-3", "c kvm-2 <b", "a kvm-3 <c"],
            id="not the first that fits",
        ),
    ],
)  # fmt: skip
def test_guests_wait_for_those_that_make_room(
    movers: Sequence[Mover], free: Mapping[str, Mapping[int, int]], wanted: list[str]
):
    found = turns(movers, free)

    assert ways(found) == wanted
    assert not found.stuck


@pytest.mark.parametrize(
    ("movers", "stuck"),
    [
        (
            [mover("a", A, B), mover("b", B, A)],
            {
                "a": "kvm-2 has room for it only when b left, which waits for room itself",
                "b": "kvm-1 has room for it only when a left, which waits for room itself",
            },
        ),
        ([mover("a", C, B)], {"a": "kvm-2 has no room for it while it moves"}),
    ],
)
def test_a_ring_without_any_room_cannot_move_and_says_so(movers: Sequence[Mover], stuck: dict[str, str]):
    assert turns(movers, room(kvm_1=0, kvm_2=0)).stuck == stuck


def test_kinds_of_memory_do_not_stand_in_for_each_other():
    free = {B: {0: 100, 2048: 0}}
    assert turns([Mover("a", A, B, {0: 1, 2048: 2})], free).stuck
    assert not turns([Mover("a", A, B, {0: 1})], free).stuck


HOSTS = st.sampled_from([A, B, C, "kvm-4"])


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Mover], dict[str, Mapping[int, int]]]:
    """Guests that move, with their final places and room for these."""
    ways = draw(st.lists(st.tuples(HOSTS, HOSTS, st.integers(1, 8)), max_size=7))
    found = [
        mover(f"vm-{n}", source, target, size, (A, B, C, "kvm-4"))
        for n, (source, target, size) in enumerate(ways)
        if source != target
    ]
    hosts = {A, B, C, "kvm-4"}
    slack = {host: draw(st.integers(0, 6)) for host in hosts}
    grows = {h: sum(m.takes[0] * ((m.target == h) - (m.source == h)) for m in found) for h in hosts}
    return found, {host: {0: max(0, grows[host]) + slack[host]} for host in hosts}


@given(fleets(), st.randoms())
def test_every_moment_fits_whatever_runs_at_once(
    fleet: tuple[list[Mover], dict[str, Mapping[int, int]]], dice
):
    movers, free = fleet
    found = turns(movers, free)

    sizes = {each.vm: each.takes[0] for each in movers}
    left = {host: amount[0] for host, amount in free.items()}
    ends = _run(found.legs, sizes, left, dice)

    wanted = {each.vm: each.target for each in movers}
    assert {vm: ends[vm] for vm in ends} == {vm: wanted[vm] for vm in wanted if vm not in found.stuck}


def _run(legs: Sequence[Leg], sizes: Mapping[str, int], left: dict[str, int], dice) -> dict[str, str]:
    """Begin and end legs in any way that their order allows; no host is ever too full. Where each guest ends."""
    waiting, going, done, ends = list(legs), list[Leg](), set[tuple[str, str]](), dict[str, str]()
    while waiting or going:
        can = [leg for leg in waiting if done.issuperset(leg.after)]
        assert can or going
        if can and (not going or dice.random() < 0.6):
            leg = dice.choice(can)
            waiting.remove(leg)
            going.append(leg)
            left[leg.target] -= sizes[leg.vm]
            assert left[leg.target] >= 0
        else:
            leg = dice.choice(going)
            going.remove(leg)
            left[leg.source] += sizes[leg.vm]
            done.add((leg.vm, leg.target))
            ends[leg.vm] = leg.target
    return ends
