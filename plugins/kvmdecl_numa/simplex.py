"""The most that divisible amounts can be worth where everything is limited, by the simplex method on a tableau.

Meant for tens of limits and some hundreds of columns: nothing beyond Python is needed for that, and the same numbers
come out on any machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_TINY = 1e-9
_MOST_WORK = 20_000_000  # numbers that are changed, roughly a second
_STALLED = 30  # pivots that gained nothing, after which a rule is followed that cannot go in circles


class Column(NamedTuple):
    """Something of which any amount may be had: what one is worth, and how much it takes by row."""

    worth: float
    takes: tuple[tuple[int, int], ...]


def prices(columns: Sequence[Column], room: Sequence[int]) -> list[float]:
    """What one more of each row would be worth: at the best amounts, what they take costs as much as they are worth.

    If the search is cut short they are no worse as prices: any that are not negative bound what can be had.
    """
    tableau = _Tableau(columns, room)
    while tableau.work < _MOST_WORK and tableau.pivot():
        pass
    return tableau.prices()


class _Tableau:
    """Rows are scaled such that there is 1 of each; unused room is a column, too; the last one is what is had."""

    def __init__(self, columns: Sequence[Column], room: Sequence[int]) -> None:
        self._columns = len(columns)
        self._all = len(columns) + len(room)
        self._scale = [1.0 / (amount or 1) for amount in room]
        self._rows = [[0.0] * (self._all + 1) for _ in room]
        for number, column in enumerate(columns):
            for row, amount in column.takes:
                self._rows[row][number] = amount * self._scale[row]
        for number, row_ in enumerate(self._rows):
            row_[self._columns + number] = 1.0
            row_[-1] = 1.0 if room[number] else 0.0
        self._gains = [float(column.worth) for column in columns] + [0.0] * (len(room) + 1)
        self._basis = list(range(self._columns, self._all))
        self._stalled = 0
        self.work = 0

    def pivot(self) -> bool:
        """Have more of what gains most, as much as there is room for; False if nothing gains."""
        entering = self._entering()
        if entering is None:
            return False
        leaving = self._leaving(entering)
        if leaving is None:
            return False  # it takes nothing that is limited
        pivot = self._rows[leaving][entering]
        row = [value / pivot for value in self._rows[leaving]]
        for number, other in enumerate(self._rows):
            factor = other[entering]
            if factor and number != leaving:
                self.work += len(row)
                self._rows[number] = [a - factor * b for a, b in zip(other, row, strict=True)]
        self._rows[leaving] = row
        self.work += len(row)
        factor = self._gains[entering]
        self._gains = [a - factor * b for a, b in zip(self._gains, row, strict=True)]
        self._basis[leaving] = entering
        self._stalled = 0 if factor * row[-1] > _TINY else self._stalled + 1
        return True

    def prices(self) -> list[float]:
        """By row."""
        slack = self._gains[self._columns : self._all]
        return [max(0.0, -gain) * scale for gain, scale in zip(slack, self._scale, strict=True)]

    def _entering(self) -> int | None:
        gains = self._gains
        if self._stalled > _STALLED:
            return next((n for n in range(self._all) if gains[n] > _TINY), None)
        best = max(gains[: self._all], default=0.0)
        return gains.index(best) if best > _TINY else None

    def _leaving(self, entering: int) -> int | None:
        best: tuple[float, int, int] | None = None
        for number, row in enumerate(self._rows):
            if row[entering] > _TINY:
                ratio = row[-1] / row[entering], self._basis[number], number
                if best is None or ratio < best:
                    best = ratio
        return None if best is None else best[2]
