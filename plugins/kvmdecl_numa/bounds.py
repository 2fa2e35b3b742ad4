"""What no packing can surpass, by sums over the whole cluster: a search that reached it need not go on."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmdecl_numa.packing import Packing
    from kvmdecl_numa.rooms import CellLeft
    from kvmdecl_numa.wants import CellWant, Want

    # Amounts by resource, see `_left`.
    Amounts = Mapping[str | int, int]

_UNMOVED = ("threads", "floating", "memory")
_CPUS = "threads and what isolated ones leave idle"
_SHARES = (0.25, 0.4, 0.5, 0.6, 0.75)
_MOST_PARTS = 12


class Bounds:
    """The sums of what is left of a cluster, and of what each guest takes.

    While guests are moved that have a place, only those sums are looked at that it does not change.
    """

    def __init__(self, packing: Packing, wanted: Sequence[int], *, moving: bool) -> None:
        counted = _Counted(packing)
        wants = {id(packing.wants[number]): packing.wants[number] for number in wanted}
        self._left = counted.left(packing)
        by_want = {id_: counted.taken(want) for id_, want in wants.items()}
        self._sums = _UNMOVED if moving else sorted(self._left, key=str)
        if moving:
            self._left = {resource: self._left[resource] for resource in _UNMOVED}
            by_want = {id_: {r: taken[r] for r in _UNMOVED} for id_, taken in by_want.items()}
        else:
            self._add_parts(packing, counted, wants, by_want)
        self._taken = {number: by_want[id(packing.wants[number])] for number in wanted}

    def prefix(self, wanted: Sequence[int]) -> int:
        """How many of the first guests have sums that do not exceed what is left."""
        left = dict(self._left)
        for count, number in enumerate(wanted):
            if not _subtract(left, self._taken[number]):
                return count
        return len(wanted)

    def value(self, values: Mapping[int, int], held: Iterable[int]) -> int:
        """The most that guests with these values can be worth together, were they divisible, beside those held."""
        left = dict(self._left)
        for number in held:
            _subtract(left, self._taken[number])
        classes = Counter((id(self._taken[number]), value) for number, value in values.items())
        amounts = {id(self._taken[number]): self._taken[number] for number in values}
        scarce = [r for r in left if any(amounts[id_].get(r, 0) for id_, _ in classes)]
        mixes = [{resource: 1.0} for resource in scarce]
        sums = [resource for resource in self._sums if resource in scarce]
        mixes += [{a: share, b: 1 - share} for a, b in combinations(sums, 2) for share in _SHARES]
        wanted = [(amounts[id_], value, count) for (id_, value), count in classes.items()]
        # A hair more, lest a rounded sum falls below the whole number that is meant.
        return int(min((_knapsack(left, wanted, mix) for mix in mixes), default=sum(values.values())) + 1e-6)

    def _add_parts(
        self,
        packing: Packing,
        counted: _Counted,
        wants: Mapping[int, Want],
        by_want: Mapping[int, dict[str | int, int]],
    ) -> None:
        """Count how often a size goes into cells, too: three cells of 8 CPUs have no room for four times 5."""
        whole = {id_: want for id_, want in wants.items() if not want.shape.spills}
        lefts = [left for host in packing.hosts for left in host.cells]
        sized: list[str | int] = [_CPUS, *(size for size in self._left if isinstance(size, int))]
        for resource in sized:
            taken = {
                id_: [counted.of_want(resource, want, cell) for cell in want.cells]
                for id_, want in whole.items()
            }
            sizes = {amount for amounts in taken.values() for amount in amounts if amount > 1}
            there = [counted.of_cell(resource, left) for left in lefts]
            for size in sorted(sizes)[-_MOST_PARTS:]:
                part = f"{resource} in parts of {size}"
                self._left[part] = sum(amount // size for amount in there)
                for id_, amounts in taken.items():
                    by_want[id_][part] = sum(amount // size for amount in amounts)


class _Counted:
    """What counts of a cluster.

    `threads` and `cores` that guests have for themselves, `floating` vCPUs, MiB of `memory`, and of pages by their size
    in KiB where a guest has to have these, `MODEL groups` of the IOMMU.
    """

    def __init__(self, packing: Packing) -> None:
        lefts = [left for host in packing.hosts for left in host.cells]
        self._beside = min((left.per_core for left in lefts if left.whole), default=1) - 1
        smallest = {pages[0] for left in lefts if (pages := left.pages("small"))}
        self._small: int | str = next(iter(smallest)) if len(smallest) == 1 else "small"

    def of_cell(self, resource: str | int, left: CellLeft) -> int:
        """What a cell of a host has of CPUs or pages."""
        if isinstance(resource, int):
            return max(0, left.pools.get(resource, 0))
        # An isolated vCPU costs no more than any other where it has a CPU that is a core.
        return left.cpus + self._beside * left.sole

    def of_want(self, resource: str | int, want: Want, cell: CellWant) -> int:
        """What a cell of a guest takes of them."""
        if isinstance(resource, int):
            return cell.memory if self._pages(want) == resource else 0
        return cell.threads + self._beside * cell.isolated

    def left(self, packing: Packing) -> dict[str | int, int]:
        """What is left of all."""
        left: dict[str | int, int] = {"threads": 0, "cores": 0, "floating": 0, "memory": 0, _CPUS: 0}
        for host in packing.hosts:
            for cell in host.cells:
                left["threads"] += cell.cpus
                left[_CPUS] += self.of_cell(_CPUS, cell)
                left["cores"] += cell.most_pairs + cell.sole
                left["floating"] += max(0, cell.most_floating - cell.floating)
                for size, amount in cell.pools.items():
                    left["memory"] += max(0, amount)
                    left[size] = left.get(size, 0) + max(0, amount)
            for model, devices in host.devices.items():
                groups = {device.iommu_group for device in devices} - host.owners.keys()
                left[f"{model} groups"] = left.get(f"{model} groups", 0) + len(groups)
        return left

    def taken(self, want: Want) -> dict[str | int, int]:
        """What a guest takes."""
        cells = want.cells
        isolated, pairs = sum(cell.isolated for cell in cells), sum(cell.pairs for cell in cells)
        threads = sum(cell.threads for cell in cells) + want.extras
        taken: dict[str | int, int] = {
            "threads": threads,
            _CPUS: threads + self._beside * isolated,
            "cores": isolated + pairs,
            "floating": sum(cell.floating for cell in cells),
            "memory": want.memory + want.shape.overhead,
        }
        pages = self._pages(want)
        if isinstance(pages, int):
            taken[pages] = want.memory
        # Each guest takes one IOMMU group at least, and all that is in it.
        taken.update({f"{demand.model} groups": 1 for demand in want.shape.devices if demand.count})
        return taken

    def _pages(self, want: Want) -> int | str:
        return self._small if want.shape.pages == "small" else want.shape.pages


def _knapsack(
    left: Amounts, wanted: Sequence[tuple[Amounts, int, int]], mix: Mapping[str | int, float]
) -> float:
    """Fill one sack that is as large as the resources of a mix are together."""
    scale = {resource: part / left[resource] for resource, part in mix.items() if left[resource] > 0}
    room = sum(mix[resource] for resource in scale)
    none = [resource for resource in mix if resource not in scale]
    sized = []
    for amounts, value, count in wanted:
        if any(amounts.get(resource, 0) for resource in none):
            continue
        size = sum(amounts.get(resource, 0) * by for resource, by in scale.items())
        sized.append((size / value if value else inf, size, value, count))
    total = 0.0
    for ratio, size, value, count in sorted(sized):
        if size * count > room:
            return total + room / ratio
        room -= size * count
        total += value * count
    return total


def _subtract(left: dict[str | int, int], taken: Amounts) -> bool:
    """Take an amount, and say whether it was there."""
    there = True
    for resource, amount in taken.items():
        if amount:
            left[resource] = left.get(resource, 0) - amount
            there &= left[resource] >= 0
    return there
