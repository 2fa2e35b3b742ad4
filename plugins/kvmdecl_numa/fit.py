"""Where on one host a guest fits: homes for its cells, pages, CPUs for QEMU's own threads, devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl_numa.devices import choose
from kvmdecl_numa.rooms import MIB
from kvmdecl_numa.wants import CellWant, cpus_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal

    from kvmdecl_numa.devices import Chosen
    from kvmdecl_numa.rooms import CellLeft, HostLeft
    from kvmdecl_numa.wants import Want

    # For each cell of a guest: host's cell -> how good a home it is, and with which pages.
    Options = Sequence[dict[int, tuple[float, int]]]

_MOST_HOMES = 2_000  # ways to give the cells of one guest homes on one host that are compared


class Part(NamedTuple):
    """What a cell of a guest takes of a cell of the host: pinned and floating vCPUs, and MiB."""

    cell: int
    pinned: int
    floating: int
    memory: int


class Fit(NamedTuple):
    """A place for a guest, its CPUs still to be named.

    Attributes:
        host: number of the host.
        homes: number of the host's cell for each of the guest's.
        pages: size of the pages of each.
        parts: what each takes of which cell: one part at home, unless it spills.
        extras: how many CPUs for QEMU's own threads, by cell.
        devices: for each demand.
    """

    host: int
    homes: tuple[int, ...]
    pages: tuple[int, ...]
    parts: tuple[tuple[Part, ...], ...]
    extras: tuple[tuple[int, int], ...]
    devices: Chosen


@dataclass(frozen=True, slots=True)
class Taste:
    """How places are told from each other where several would do.

    Attributes:
        cells: `tight`: where least is left; `even`: where as much of CPUs is left as of memory; `loose`: where most
            is left; `first`: the first that will do.
        pages: `free`: those of which most are left; `full`: of which least are; `small`: the smallest.
    """

    cells: Literal["tight", "even", "loose", "first"]
    pages: Literal["free", "full", "small"]


def find(host: HostLeft, want: Want, taste: Taste, unlike: tuple[int, ...] = ()) -> tuple[float, Fit] | None:
    """The best place on a host for a guest none of whose cells spills, and how good it is: less is better.

    `unlike` are homes that it must not have.
    """
    if len(want.cells) == 1:
        return _one_home(host, want, taste, unlike)
    if not want.cells:
        fit = fit_of(host, want, (), (), 0)
        return None if fit is None else (_fullness(host, taste), fit)
    for bearer in range(len(want.cells) if want.extras else 1):
        options = _options(host, want, bearer, taste)
        found = _Homes(host, want, bearer, options, unlike).best() if all(options) else None
        if found is not None:
            return found
    return None


def find_at(host: HostLeft, want: Want, homes: tuple[int, ...]) -> Fit | None:
    """A place for a guest in certain cells."""
    taste = Taste("first", "free")
    for bearer in range(len(want.cells) if want.extras else 1):
        options = _options(host, want, bearer, taste)
        if all(home in options[number] for number, home in enumerate(homes)):
            pages = tuple(options[number][home][1] for number, home in enumerate(homes))
            return fit_of(host, want, homes, pages, bearer)
    return None


def take(host: HostLeft, want: Want, fit: Fit, owner: int, sign: int) -> None:
    """Count a guest that has this place, or with sign -1 give it back."""
    shape = want.shape
    if len(want.cells) == 1 and _is_whole(want, fit):
        _take_home(host, host.cells[fit.homes[0]], want.bearing[0], fit.pages[0], sign)
        if fit.devices:
            _hand_over(host, fit, owner, sign)
        return
    for parts, page in zip(fit.parts, fit.pages, strict=True):
        for number, pinned, floating, memory in parts:
            left = host.cells[number]
            left.take(cpus_of(shape, pinned, floating), sign)
            if memory:
                left.pools[page] -= sign * memory
                if page == host.page:
                    host.memory -= sign * memory
    for number, count in fit.extras:
        host.cells[number].take(CellWant(0, 0, count, 0), sign)
    if shape.overhead:
        host.cells[fit.homes[0]].pools[host.page] -= sign * shape.overhead
        host.memory -= sign * shape.overhead
    host.memory -= sign * shape.memory
    _hand_over(host, fit, owner, sign)


def _is_whole(want: Want, fit: Fit) -> bool:
    """Whether a guest of one cell has all of it at home, as it is meant to be; one that spills is tried in parts."""
    parts = fit.parts[0]
    return len(parts) == 1 and parts[0].cell == fit.homes[0] and bool(fit.extras) == bool(want.extras)


def _take_home(host: HostLeft, left: CellLeft, cell: CellWant, page: int, sign: int) -> None:
    """Most guests have one cell in one cell of the host, and are put and removed a thousand times."""
    left.take(cell, sign)
    memory, overhead = sign * cell.memory, sign * cell.overhead
    if memory:
        left.pools[page] -= memory
        if page == host.page:
            host.memory -= memory
    if overhead:
        left.pools[host.page] -= overhead
        host.memory -= overhead


def _hand_over(host: HostLeft, fit: Fit, owner: int, sign: int) -> None:
    for devices in fit.devices:
        for device in devices:
            host.hand_over(device, owner, sign)


def _one_home(host: HostLeft, want: Want, taste: Taste, unlike: tuple[int, ...]) -> tuple[float, Fit] | None:
    cell = want.bearing[0]
    best: tuple[float, int, int] | None = None
    for left in host.cells:
        option = option_of(host, left, want, cell, taste)
        if option is None or (left.number,) == unlike or (best is not None and option[0] >= best[0]):
            continue
        if want.shape.devices and choose(host, want.shape, (left.number,)) is None:
            continue
        best = *option, left.number
        if taste.cells == "first":
            break
    if best is None:
        return None
    cost, page, home = best
    fit = fit_of(host, want, (home,), (page,), 0)
    return None if fit is None else (cost, fit)


def _fullness(host: HostLeft, taste: Taste) -> float:
    """How good a host is for a guest that only wants devices."""
    left = host.memory * MIB / (host.room.memory or 1)
    return -left if taste.cells == "loose" else left


def _options(host: HostLeft, want: Want, bearer: int, taste: Taste) -> Options:
    options: list[dict[int, tuple[float, int]]] = []
    last: CellWant | None = None
    for number, plain in enumerate(want.cells):
        cell = want.bearing[number] if number == bearer else plain
        if cell != last:
            found = {}
            for left in host.cells:
                option = option_of(host, left, want, cell, taste)
                if option is not None:
                    found[left.number] = option
            last = cell
        options.append(found)
    return options


class _Homes:
    """Ways to give each cell of a guest a home of its own, near enough to the others: the best of not too many.

    Good homes are looked at first, and none that cannot be better than what was found; cells that are alike have
    theirs in one order only.
    """

    def __init__(
        self, host: HostLeft, want: Want, bearer: int, options: Options, unlike: tuple[int, ...]
    ) -> None:
        self._host, self._want, self._bearer = host, want, bearer
        self._options, self._unlike = options, unlike
        self._ranked = [sorted((cost, home) for home, (cost, _) in each.items()) for each in options]
        least = [ranked[0][0] for ranked in self._ranked]
        self._rest = [sum(least[number:]) for number in range(len(least) + 1)]
        cells = [want.bearing[number] if number == bearer else cell for number, cell in enumerate(want.cells)]
        self._like_last = [number > 0 and cells[number] == cells[number - 1] for number in range(len(cells))]
        self._tried = 0
        self._best: tuple[float, Fit] | None = None

    def best(self) -> tuple[float, Fit] | None:
        """The best way."""
        self._extend((), 0.0, 0)
        return self._best

    def _extend(self, homes: tuple[int, ...], cost: float, start: int) -> None:
        number = len(homes)
        if number == len(self._ranked):
            self._take(homes, cost)
            return
        ranked = self._ranked[number]
        for index in range(start if self._like_last[number] else 0, len(ranked)):
            more, home = ranked[index]
            total = cost + more
            if self._tried > _MOST_HOMES or (
                self._best is not None and total + self._rest[number + 1] >= self._best[0]
            ):
                return
            self._tried += 1
            if home not in homes and near_enough(self._host, self._want, home, homes):
                self._extend((*homes, home), total, index + 1)

    def _take(self, homes: tuple[int, ...], cost: float) -> None:
        if homes == self._unlike:
            return
        pages = tuple(self._options[number][home][1] for number, home in enumerate(homes))
        fit = fit_of(self._host, self._want, homes, pages, self._bearer)
        if fit is not None:
            self._best = cost, fit


def near_enough(host: HostLeft, want: Want, home: int, homes: Iterable[int]) -> bool:
    """Whether a home is within a guest's reach of the homes of its other cells."""
    reach = want.shape.reach
    return reach is None or all(host.room.distances[home][other] <= reach for other in homes)


def option_of(
    host: HostLeft, left: CellLeft, want: Want, cell: CellWant, taste: Taste
) -> tuple[float, int] | None:
    """How good a home a cell of the host is for a cell of a guest, and with which pages; None if it is none."""
    if not left.has(cell):
        return None
    pages = pages_for(host, left, want, cell)
    if not pages:
        return None
    page = pages[0] if len(pages) == 1 else _page(host, left, cell, pages, taste)
    return rank(left, want, cell, page, taste), page


def pages_for(host: HostLeft, left: CellLeft, want: Want, cell: CellWant) -> list[int]:
    """The sizes of pages of which enough are left in a cell of the host for a cell of a guest, smallest first."""
    pools, memory, overhead = left.pools, cell.memory, cell.overhead
    if overhead and min(pools.get(host.page, 0), host.memory) < overhead:
        return []
    found = []
    for page in left.pages(want.shape.pages):
        if page == host.page:
            needed = memory + overhead
            if host.memory >= needed and pools[page] >= needed and memory * 1024 % page == 0:
                found.append(page)
        elif pools[page] >= memory and memory * 1024 % page == 0:
            found.append(page)
    return found


def _page(host: HostLeft, left: CellLeft, cell: CellWant, pages: list[int], taste: Taste) -> int:
    if taste.pages == "small":
        return pages[0]
    sign = -1 if taste.pages == "free" else 1
    shares = []
    for page in pages:
        needed = cell.memory + (cell.overhead if page == host.page else 0)
        shares.append((sign * (left.pools[page] - needed) / left.cell.pools[page], page))
    return min(shares)[1]


def rank(left: CellLeft, want: Want, cell: CellWant, page: int, taste: Taste) -> float:
    """How good a home a cell of the host is: less is better."""
    # Cells with devices are kept for guests that want some.
    cost = 4.0 if left.devices and not want.shape.devices else 0.0
    if taste.cells == "first":
        return cost
    cpus = (left.free_cpus - cell.threads - cell.isolated) / (left.cpus or 1)
    memory = (left.pools[page] - cell.memory) / left.cell.pools[page]
    if taste.cells == "even":
        return cost + abs(cpus - memory) + 0.1 * (cpus + memory)
    rest = cpus + memory
    if cell.floating:
        rest += (left.most_floating - left.floating - cell.floating) / left.most_floating
    return cost + (rest if taste.cells == "tight" else -rest)


def fit_of(
    host: HostLeft, want: Want, homes: tuple[int, ...], pages: tuple[int, ...], bearer: int
) -> Fit | None:
    """A guest with these homes, if there are devices near to them and memory on the host for all cells together."""
    if want.shape.memory > host.memory:
        return None
    if len(homes) > 1:
        cells = zip(want.cells, pages, strict=True)
        ordinary = sum(cell.memory for cell, page in cells if page == host.page) + want.cells[0].overhead
        if ordinary > host.memory:
            return None
    devices = choose(host, want.shape, homes)
    if devices is None:
        return None
    parts = tuple(
        (Part(home, len(cell.pinned), len(cell.floating), cell.memory),)
        for home, cell in zip(homes, want.shape.cells, strict=True)
    )
    extras = ((homes[bearer], want.extras),) if want.extras else ()
    return Fit(host.number, homes, pages, parts, extras, devices)
