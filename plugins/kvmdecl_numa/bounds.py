"""What no packing can surpass, by sums over the whole cluster: a search that reached it need not go on."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmdecl_numa.packing import Packing
    from kvmdecl_numa.wants import Want

    # Amounts by resource: `threads`, `cores`, `floating`, `memory`, memory by the size of pages that it has to be in,
    # and `MODEL groups` of the IOMMU.
    Amounts = Mapping[str | int, int]


_SHARES = (0.25, 0.4, 0.5, 0.6, 0.75)


class Bounds:
    """The sums of what is left of a cluster, and of what each guest takes.

    While guests are moved that have a place, only those sums are looked at that it does not change.
    """

    def __init__(self, packing: Packing, wanted: Sequence[int], *, moving: bool) -> None:
        self._left: Amounts = _left(packing)
        if moving:
            self._left = {resource: self._left[resource] for resource in ("threads", "floating", "memory")}
        lefts = [left for host in packing.hosts for left in host.cells]
        # Where a CPU may be a core, an isolated vCPU need not cost more than any other.
        beside = (
            0 if any(left.sole for left in lefts) else min((left.per_core for left in lefts), default=1) - 1
        )
        smallest = {pages[0] for left in lefts if (pages := left.pages("small"))}
        by_want = {id(want): _taken(want, beside, smallest) for want in set(packing.wants)}
        if moving:
            by_want = {id_: {r: taken[r] for r in self._left} for id_, taken in by_want.items()}
        self._taken = {number: by_want[id(packing.wants[number])] for number in wanted}

    def prefix(self, wanted: Sequence[int]) -> int:
        """How many of the first guests have sums that do not exceed what is left."""
        left = dict(self._left)
        for count, number in enumerate(wanted):
            _subtract(left, self._taken[number])
            if min(left.values()) < 0:
                return count
        return len(wanted)

    def value(self, values: Mapping[int, int], held: Iterable[int]) -> int:
        """The most that guests with these values can be worth together, were they divisible, beside those held."""
        left = dict(self._left)
        for number in held:
            _subtract(left, self._taken[number])
        classes = Counter((id(self._taken[number]), value) for number, value in values.items())
        amounts = {id(self._taken[number]): self._taken[number] for number in values}
        scarce = [r for r in sorted(left, key=str) if sum(amounts[id_].get(r, 0) for id_, _ in classes)]
        mixes = [{resource: 1.0} for resource in scarce]
        mixes += [{a: share, b: 1 - share} for a, b in combinations(scarce, 2) for share in _SHARES]
        wanted = [(amounts[id_], value, count) for (id_, value), count in classes.items()]
        # A hair more, lest a rounded sum falls below the whole number that is meant.
        return int(min((_knapsack(left, wanted, mix) for mix in mixes), default=sum(values.values())) + 1e-6)


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


def _subtract(left: dict[str | int, int], taken: Amounts) -> None:
    for resource, amount in taken.items():
        if amount:
            left[resource] = left.get(resource, 0) - amount


def _left(packing: Packing) -> Amounts:
    left: dict[str | int, int] = {"threads": 0, "cores": 0, "floating": 0, "memory": 0}
    for host in packing.hosts:
        for cell in host.cells:
            left["threads"] += cell.cpus
            left["cores"] += cell.most_pairs + cell.sole
            left["floating"] += max(0, cell.most_floating - cell.floating)
            for size, amount in cell.pools.items():
                left["memory"] += max(0, amount)
                left[size] = left.get(size, 0) + max(0, amount)
        for model, devices in host.devices.items():
            groups = {device.iommu_group for device in devices} - host.owners.keys()
            left[f"{model} groups"] = left.get(f"{model} groups", 0) + len(groups)
    return left


def _taken(want: Want, beside: int, smallest: set[int]) -> Amounts:
    cells = want.cells
    isolated, pairs = sum(cell.isolated for cell in cells), sum(cell.pairs for cell in cells)
    taken: dict[str | int, int] = {
        "threads": sum(cell.threads for cell in cells) + want.extras + beside * isolated,
        "cores": isolated + pairs,
        "floating": sum(cell.floating for cell in cells),
        "memory": want.memory + want.shape.overhead,
    }
    pages = want.shape.pages
    if pages == "small" and len(smallest) == 1:
        pages = next(iter(smallest))
    if isinstance(pages, int):
        taken[pages] = want.memory
    # Each guest takes one IOMMU group at least, and all that is in it.
    taken.update({f"{demand.model} groups": 1 for demand in want.shape.devices if demand.count})
    return taken
