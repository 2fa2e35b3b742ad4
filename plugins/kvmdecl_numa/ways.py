"""All ways in which a guest can be on a host, in numbers: what an exact solver chooses from."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl_numa.devices import open_to
from kvmdecl_numa.fit import Fit, Part
from kvmdecl_numa.rooms import MIB
from kvmdecl_numa.wants import cpus_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kvmdecl.api import DeviceDemand, PciDevice, Place
    from kvmdecl_numa.rooms import HostLeft
    from kvmdecl_numa.wants import Want

    # A device as far as it matters which: its models, its cell, its address if it excludes others. An IOMMU group: all
    # of its devices.
    Sort = tuple[tuple[str, ...], int | None, str]
    Bundle = tuple[Sort, ...]

    # Cell of a host (`HOST` for what is of no cell) and what it is: `isolated`, `pairs`, `threads`, `floating`, a
    # size of pages in KiB (in MiB), ordinary memory of a host (in bytes), IOMMU groups of a kind, or two devices that
    # exclude each other.
    Resource = tuple[int, str | int | Bundle | frozenset[str]]

HOST = -1
MEMORY = "memory"
_MOST = 4_000  # ways for guests of one kind on one host
_MOST_BUNDLES = 200  # ways to choose devices for a guest whose homes are known


class Way(NamedTuple):
    """A place on a host that any guest of a kind could have.

    Attributes:
        fit: without its devices.
        sorts: of devices for each demand, out of `bundles`.
        takes: amounts by resource.
    """

    fit: Fit
    sorts: tuple[tuple[Sort, ...], ...]
    bundles: tuple[Bundle, ...]
    takes: Mapping[Resource, int]


class Ways(NamedTuple):
    """Ways, none of which takes the same as another, and whether these are all that there are."""

    ways: tuple[Way, ...]
    complete: bool


def ways(host: HostLeft, want: Want) -> Ways:
    """Those in which each cell of a guest has a cell of the host: one that spills has more."""
    found: dict[frozenset[tuple[Resource, int]], Way] = {}
    tried = 0
    complete = not want.shape.spills
    for fit in _fits(host, want):
        if tried >= _MOST:
            return Ways(tuple(found.values()), complete=False)
        chosen = _devices(host, want.shape.devices, fit.homes)
        complete = complete and len(chosen) < _MOST_BUNDLES
        for sorts, bundles in chosen:
            tried += 1
            way = _way(host, want, fit, sorts, bundles)
            found.setdefault(frozenset(way.takes.items()), way)
    return Ways(tuple(found.values()), complete)


def only_memory(host: int, amount: int) -> Way:
    """The one way in which a vm is on a host that any CPUs and any memory will do for: bytes."""
    return Way(Fit(host, (), (), (), (), ()), (), (), {(HOST, MEMORY): amount})


def fit_of(host: HostLeft, place: Place) -> Fit:
    """A place without its CPUs' names."""
    cell_of = {cpu: left.number for left in host.cells for core in left.cell.cores for cpu in core}
    parts = []
    for cell in place.cells:
        pinned = Counter(cell_of[cpu] for _, cpu in cell.pins)
        floating = Counter({host.by_id[id_].number: number for id_, number in cell.floating})
        memory = Counter({host.by_id[id_].number: amount for id_, _, amount in cell.memory})
        numbers = sorted({*pinned, *floating, *memory})
        parts.append(tuple(Part(n, pinned[n], floating[n], memory[n]) for n in numbers))
    extras = Counter(cell_of[cpu] for cpu in (*place.emulator, *place.io_threads))
    devices = {device.address: device for device in host.room.devices}
    return Fit(
        host.number,
        tuple(host.by_id[cell.home].number for cell in place.cells),
        tuple(next((page for _, page, _ in cell.memory), host.page) for cell in place.cells),
        tuple(parts),
        tuple(sorted(extras.items())),
        tuple(tuple(devices[address] for address in addresses) for addresses in place.devices),
    )


def way_of(host: HostLeft, want: Want, fit: Fit, bundle_of: Mapping[int, Bundle]) -> Way:
    """The way in which a guest is somewhere. `bundle_of` tells what is in an IOMMU group."""
    groups = {device.iommu_group for devices in fit.devices for device in devices}
    sorts = tuple(tuple(map(sort_of(host), devices)) for devices in fit.devices)
    return _way(
        host, want, fit._replace(devices=()), sorts, tuple(bundle_of[group] for group in sorted(groups))
    )


def _way(
    host: HostLeft, want: Want, fit: Fit, sorts: tuple[tuple[Sort, ...], ...], bundles: tuple[Bundle, ...]
) -> Way:
    takes = _taken(host, want, fit)
    takes.update((HOST, bundle) for bundle in bundles)
    given = {address for of in sorts for _, _, address in of if address}
    takes.update((HOST, pair) for pair in exclusions(host) if pair & given)
    return Way(fit, sorts, bundles, takes)


def _taken(host: HostLeft, want: Want, fit: Fit) -> Counter[Resource]:
    """What a guest takes of a host, but for devices."""
    shape = want.shape
    found: Counter[Resource] = Counter({(HOST, MEMORY): shape.memory * MIB})
    for parts, page in zip(fit.parts, fit.pages, strict=True):
        for number, pinned, floating, memory in parts:
            cpus = cpus_of(shape, pinned, floating)
            for what in ("isolated", "pairs", "threads", "floating"):
                found[number, what] += getattr(cpus, what)
            found[number, page] += memory
            if page == host.page:
                found[HOST, MEMORY] += memory * MIB
    for number, count in fit.extras:
        found[number, "threads"] += count
    if shape.overhead:
        found[fit.homes[0], host.page] += shape.overhead
        found[HOST, MEMORY] += shape.overhead * MIB
    return +found


def _fits(host: HostLeft, want: Want) -> Iterator[Fit]:
    """Homes, pages, and a home for QEMU's own threads; what does not fit a host that nobody came to is left out."""
    for homes in _homes(host, want, ()):
        for bearer in range(len(homes) if want.extras else 1):
            cells = [want.bearing[n] if n == bearer else cell for n, cell in enumerate(want.cells)]
            if not all(host.cells[home].has(cell) for home, cell in zip(homes, cells, strict=True)):
                continue
            for pages in _pages(host, want, homes, ()):
                yield Fit(
                    host.number,
                    homes,
                    pages,
                    tuple(
                        (Part(home, len(cell.pinned), len(cell.floating), cell.memory),)
                        for home, cell in zip(homes, want.shape.cells, strict=True)
                    ),
                    ((homes[bearer], want.extras),) if want.extras else (),
                    (),
                )


def _homes(host: HostLeft, want: Want, chosen: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    if len(chosen) == len(want.cells):
        yield chosen
        return
    cell, reach, distances = want.cells[len(chosen)], want.shape.reach, host.room.distances
    for left in host.cells:
        home = left.number
        far = reach is not None and any(distances[home][other] > reach for other in chosen)
        if home not in chosen and not far and left.has(cell):
            yield from _homes(host, want, (*chosen, home))


def _pages(
    host: HostLeft, want: Want, homes: tuple[int, ...], chosen: tuple[int, ...]
) -> Iterator[tuple[int, ...]]:
    if len(chosen) == len(homes):
        yield chosen
        return
    cell, left = want.cells[len(chosen)], host.cells[homes[len(chosen)]]
    if cell.overhead > left.pools.get(host.page, 0):
        return
    for page in left.pages(want.shape.pages):
        needed = cell.memory + (cell.overhead if page == host.page else 0)
        if cell.memory * 1024 % page == 0 and needed <= left.pools[page]:
            yield from _pages(host, want, homes, (*chosen, page))


# -- devices ---------------------------------------------------------------------------------------------------


def exclusions(host: HostLeft) -> frozenset[frozenset[str]]:
    """Devices, two by two, of which one may be given at most."""
    return frozenset(
        frozenset({device.address, other}) for device in host.room.devices for other in device.excludes
    )


def sort_of(host: HostLeft) -> Callable[[PciDevice], Sort]:
    """What tells devices of a host apart."""
    single = frozenset[str]().union(*exclusions(host))
    return lambda device: (
        device.models,
        device.cell,
        device.address if device.address in single else "",
    )


def bundles(host: HostLeft) -> dict[int, Bundle]:
    """What is in each IOMMU group of a host that nobody has."""
    found: dict[int, list[Sort]] = {}
    sort = sort_of(host)
    for device in host.room.devices:
        if device.iommu_group not in host.owners:
            found.setdefault(device.iommu_group, []).append(sort(device))
    return {group: tuple(sorted(sorts, key=str)) for group, sorts in found.items()}


def devices_of(host: HostLeft, way: Way, groups: Iterable[int]) -> tuple[tuple[PciDevice, ...], ...]:
    """Devices for each demand out of IOMMU groups that are as those of the way."""
    there: dict[Sort, list[PciDevice]] = {}
    sort, wanted = sort_of(host), set(groups)
    for device in host.room.devices:
        if device.iommu_group in wanted:
            there.setdefault(sort(device), []).append(device)
    return tuple(tuple(there[sort].pop(0) for sort in sorts) for sorts in way.sorts)


def _devices(
    host: HostLeft, demands: Sequence[DeviceDemand], homes: tuple[int, ...]
) -> Sequence[tuple[tuple[tuple[Sort, ...], ...], tuple[Bundle, ...]]]:
    """Sorts for each demand, and the IOMMU groups that have them; one way for each choice of groups."""
    if not demands:
        return [((), ())]
    sort, free = sort_of(host), Counter(bundles(host).values())
    suits = [frozenset(map(sort, open_to(host, demand, homes))) for demand in demands]
    single = [number for number, demand in enumerate(demands) for _ in range(demand.count)]
    found: dict[tuple[Bundle, ...], tuple[Sort, ...]] = {}

    def choose(picked: tuple[Sort, ...], spare: Counter[Sort], taken: tuple[Bundle, ...]) -> None:
        if len(found) >= _MOST_BUNDLES:
            return
        if len(picked) == len(single):
            found.setdefault(tuple(sorted(taken, key=str)), picked)
            return
        fitting = suits[single[len(picked)]]
        for one in sorted(+spare, key=str):
            if one in fitting:
                choose((*picked, one), spare - Counter([one]), taken)
        for bundle in free:
            if taken.count(bundle) < free[bundle]:
                for one in sorted(fitting.intersection(bundle), key=str):
                    choose((*picked, one), spare + Counter(bundle) - Counter([one]), (*taken, bundle))

    choose((), Counter(), ())
    return [
        (
            tuple(
                tuple(s for n, s in zip(single, picked, strict=True) if n == number)
                for number in range(len(demands))
            ),
            of,
        )
        for of, picked in found.items()
    ]
