"""Pairs at the least cost: checked against all that there could be."""

from __future__ import annotations

from itertools import combinations, permutations

from hypothesis import given
from hypothesis import strategies as st

from kvmdecl.libvirt_xml.pairing import cheapest, in_order

TABLES = st.tuples(st.integers(0, 5), st.integers(0, 5)).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, 9), min_size=size[1], max_size=size[1]), min_size=size[0], max_size=size[0]
    )
)


def all_pairings(rows: int, columns: int, *, ordered: bool):
    choose = combinations if ordered else permutations
    if rows <= columns:
        return [list(zip(range(rows), chosen, strict=True)) for chosen in choose(range(columns), rows)]
    return [list(zip(chosen, range(columns), strict=True)) for chosen in choose(range(rows), columns)]


def total(costs: list[list[int]], pairs) -> int:
    return sum(costs[row][column] for row, column in pairs)


@given(TABLES)
def test_no_other_pairs_cost_less(costs):
    pairs = cheapest(costs)

    possible = all_pairings(len(costs), len(costs[0]) if costs else 0, ordered=False)
    assert total(costs, pairs) == min(total(costs, one) for one in possible)
    assert len(pairs) == len({row for row, _ in pairs}) == len({column for _, column in pairs})
    assert len(pairs) == max(len(one) for one in possible)


@given(TABLES)
def test_no_other_pairs_in_order_cost_less(costs):
    columns = len(costs[0]) if costs else 0
    pairs = sorted(in_order(len(costs), columns, lambda row, column: costs[row][column]).items())

    possible = all_pairings(len(costs), columns, ordered=True)
    assert total(costs, pairs) == min(total(costs, one) for one in possible)
    assert pairs == sorted(pairs, key=lambda pair: pair[1])
    assert len(pairs) == max(len(one) for one in possible)
