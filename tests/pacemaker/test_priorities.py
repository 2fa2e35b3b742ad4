"""The order in which vms get their rooms: the largest first, and another one where that strands somebody."""

from __future__ import annotations

import pytest
from kvmdecl_pacemaker.priorities import CLASS, Kind, Packing, search

HOSTS = ("a", "b", "c")


def kind(
    memory: int, cpu: int = 1, homes: tuple[str, ...] = HOSTS, level: int = 0, *, wanted: bool = True
) -> Kind:
    return Kind(level, wanted, (("cpu", cpu), ("hv_memory", memory)), homes)


def packing(
    *kinds: Kind, memory: int = 64, cpu: int = 32, lose: int = 1, apart: tuple[set[str], ...] = ()
) -> Packing:
    rooms = {host: {"cpu": cpu, "hv_memory": memory} for host in HOSTS}
    return Packing(rooms, {f"v{number}": kind for number, kind in enumerate(kinds)}, apart, lose)


def usual(of: Packing) -> dict[str, int]:
    """By class and memory."""
    return {vm: kind.level * CLASS + dict(kind.needs)["hv_memory"] for vm, kind in of.kinds.items()}


def first(found: dict[str, int]) -> list[str]:
    return sorted(found, key=lambda vm: (-found[vm], vm))


def test_the_usual_order_stays_where_it_strands_nobody():
    of = packing(kind(16), kind(32), kind(8))

    assert search(of, usual(of)) == usual(of)


@pytest.mark.parametrize(
    ("of", "comes_first"),
    [
        # Two hosts are left, and the two that want most of a host's CPUs must not find them half taken.
        pytest.param(
            packing(
                kind(20, 2),
                kind(20, 2),
                kind(20, 12),
                kind(20, 12),
                kind(16, 28),
                kind(16, 28),
                cpu=44,
                memory=100,
            ),
            {"v4", "v5"},
            id="CPUs are short",
        ),
        pytest.param(
            packing(kind(40, wanted=False), kind(40, wanted=False), kind(30), kind(30), kind(30)),
            {"v2", "v3", "v4"},
            id="others may stay down",
        ),
    ],
)
def test_another_order_is_found_where_the_usual_one_strands_somebody(of: Packing, comes_first: set[str]):
    found = dict(search(of, usual(of)))

    assert found != usual(of)
    assert set(first(found)[: len(comes_first)]) == comes_first


def test_the_classes_of_the_manifest_are_kept():
    of = packing(
        kind(30, level=2), kind(40, level=1), kind(40, level=1, wanted=False), kind(60), kind(8, level=2)
    )
    found = search(of, usual(of))

    assert {vm: priority // CLASS for vm, priority in found.items()} == {
        vm: k.level for vm, k in of.kinds.items()
    }


def test_who_is_kept_apart_is_counted_so():
    """Three that are apart need all three hosts: with one lost nothing helps, and the usual order stays."""
    of = packing(kind(8), kind(8), kind(8), apart=({"v0", "v1", "v2"},))

    assert search(of, usual(of)) == usual(of)


def test_the_same_question_has_the_same_answer():
    of = packing(*(kind(5 * n % 23 + 1, n % 7 + 1) for n in range(12)))

    assert search(of, usual(of)) == search(of, usual(of))
