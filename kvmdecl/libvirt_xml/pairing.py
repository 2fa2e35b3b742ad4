"""Which of two lists' members belong together, at the least cost in all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ALONE = 1_000_000  # no pair is so unlike that two would rather stay alone


def cheapest(costs: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Pairs of a row and a column, as many as there can be, whose costs have the least sum; sorted.

    The Hungarian method, row by row along shortest paths: cubic in the number of rows.
    """
    if not costs or not costs[0]:
        return []
    if len(costs) > len(costs[0]):
        return sorted((row, column) for column, row in cheapest(list(zip(*costs, strict=True))))
    rows, columns = len(costs), len(costs[0])
    by_row, by_column = [0] * rows, [0] * columns  # prices: no pair costs less than the sum of its two
    holder: list[int | None] = [None] * columns
    for row in range(rows):
        _place(row, costs, holder, by_row, by_column)
    return sorted((row, column) for column, row in enumerate(holder) if row is not None)


def _place(
    row: int,
    costs: Sequence[Sequence[int]],
    holder: list[int | None],
    by_row: list[int],
    by_column: list[int],
) -> None:
    """Give `row` a column, moving those that hold one where that is cheapest in all."""
    distance: dict[int, int] = {}
    came_from: dict[int, int | None] = {}
    done: set[int] = set()
    column: int | None = None
    walked, current = 0, row
    while True:
        for other in range(len(holder)):
            if other in done:
                continue
            length = walked + costs[current][other] - by_row[current] - by_column[other]
            if other not in distance or length < distance[other]:
                distance[other], came_from[other] = length, column
        column = min((other for other in distance if other not in done), key=lambda c: (distance[c], c))
        walked = distance[column]
        next_row = holder[column]
        if next_row is None:
            break
        done.add(column)
        current = next_row
    by_row[row] += walked
    for other in done:
        by_row[holder[other]] += walked - distance[other]  # type: ignore[index]  # it is held, so the walk went on
        by_column[other] -= walked - distance[other]
    while column is not None:
        before = came_from[column]
        holder[column] = row if before is None else holder[before]
        column = before


def in_order(rows: int, columns: int, cost: Callable[[int, int], int]) -> dict[int, int]:
    """The column of each row: as many pairs as there can be, in the order of both, with the least sum of costs."""
    # best[r][c]: what the first r rows and c columns cost, and who took the last of them
    best = [[0] * (columns + 1) for _ in range(rows + 1)]
    for r in range(rows + 1):
        for c in range(1, columns + 1):
            choices = [best[r][c - 1] + _ALONE]
            if r:
                choices += [best[r - 1][c], best[r - 1][c - 1] + cost(r - 1, c - 1)]
            best[r][c] = min(choices)
    pairs: dict[int, int] = {}
    r, c = rows, columns
    while r and c:
        if best[r][c] == best[r - 1][c - 1] + cost(r - 1, c - 1):
            pairs[r - 1] = c - 1
            r, c = r - 1, c - 1
        elif best[r][c] == best[r - 1][c]:
            r -= 1
        else:
            c -= 1
    return pairs
