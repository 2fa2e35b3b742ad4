"""Hosts and guests made of numbers, and the rules that every answer has to obey."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmdecl.names import MIB
from kvmdecl.solver import CellDemand, CellRoom, HostRoom, PlaceAnswer, PlaceRequest, Shape, VmToPlace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.solver import CellPlace, DeviceDemand, Group, PciDevice, Place

HUGE = 2048
GIANT = 1024**2


def cell(
    number: int = 0,
    *,
    cores: int = 4,
    threads: int = 2,
    shared: int = 0,
    reserved: int = 0,
    pools: Mapping[int, int] | None = None,
    socket: int | None = 0,
) -> CellRoom:
    """A cell whose CPUs are numbered core by core; the last `shared` are, and the first `reserved` nobody's."""
    first = number * 100
    cpus = range(first, first + cores * threads)
    return CellRoom(
        number,
        socket,
        tuple(
            tuple(range(start, start + threads)) for start in range(first, first + cores * threads, threads)
        ),
        frozenset(cpus[reserved : len(cpus) - shared]),
        frozenset(cpus[len(cpus) - shared :]),
        {4: 8192} if pools is None else pools,
    )


def host(
    name: str,
    *cells: CellRoom,
    memory: int | None = None,
    overcommit: float = 1.0,
    labels: Mapping[str, str] | None = None,
    devices: Iterable[PciDevice] = (),
    far: int = 20,
) -> HostRoom:
    """A host; its ordinary memory (MiB) is that of its cells unless said otherwise."""
    ordinary = sum(each.pools.get(4, 0) for each in cells) if memory is None else memory
    return HostRoom(
        name,
        cpus=sum(len(core) for each in cells for core in each.cores) or 8,
        memory=ordinary * MIB,
        cells=cells,
        distances=tuple(tuple(10 if a is b else far for b in cells) for a in cells),
        overcommit=overcommit,
        labels=labels or {},
        devices=tuple(devices),
    )


def shape(
    *cells: tuple[int, int, int],
    threads: str = "prefer",
    emulator: str = "float",
    io_threads: int = 0,
    pages: int | str = "small",
    overhead: int = 0,
    spills: bool = False,
    reach: int | None = None,
    devices: tuple[DeviceDemand, ...] = (),
    labels: tuple[tuple[str, str], ...] = (),
    memory: int = 0,
) -> Shape:
    """A shape of cells, each (vCPUs with a CPU of their own, vCPUs that float, MiB)."""
    demands = []
    first = 0
    for pinned, floating, amount in cells:
        middle, last = first + pinned, first + pinned + floating
        demands.append(CellDemand(tuple(range(first, middle)), tuple(range(middle, last)), amount))
        first = last
    return Shape(
        tuple(demands), threads, emulator, io_threads, pages, overhead, spills, reach, devices, labels, memory
    )  # type: ignore[arg-type]


def vm(
    name: str,
    wants: Shape | None,
    *hosts: str,
    memory: int = 0,
    place: Place | None = None,
    fixed: bool = False,
) -> VmToPlace:
    """A vm; its memory in MiB is that of its cells unless said otherwise."""
    amount = memory or sum(each.memory for each in wants.cells) if wants else memory
    return VmToPlace(
        name, 1, amount * MIB, name.rsplit("-", 1)[0], hosts or ("kvm-1",), wants, place=place, fixed=fixed
    )


def broken_rules(request: PlaceRequest, answer: PlaceAnswer) -> Iterator[str]:
    """What is wrong with an answer, written down from the meaning of the words and not from the solver."""
    rooms = {room.name: room for room in request.hosts}
    for each in request.vms:
        if (each.name in answer.hosts) == (each.name in answer.refused):
            yield f"{each.name} is not answered once"
        if each.name in answer.hosts and answer.hosts[each.name] not in each.candidates:
            yield f"{each.name} is on no candidate"
        if each.name in answer.refused and set(answer.refused[each.name]) != set(each.candidates):
            yield f"{each.name} is refused without a reason for each candidate"
        host_name = answer.hosts.get(each.name)
        if each.shape is not None and host_name and answer.places[each.name].host != host_name:
            yield f"{each.name} has two hosts"
    placed = {
        each.name: (each, answer.places[each.name])
        for each in (*request.residents, *request.vms)
        if each.name in answer.places
    }
    for each in request.residents:
        if each.name not in placed:
            yield f"{each.name} was thrown out"
        elif each.fixed and answer.places[each.name] != each.place:
            yield f"{each.name} was moved"
    for name, room in rooms.items():
        here = [(each, place) for each, place in placed.values() if place.host == name]
        yield from _on_host(room, here)
        ordinary = sum(v.memory for v in request.vms if v.shape is None and answer.hosts.get(v.name) == name)
        small = sum(
            amount for _, place in here for c in place.cells for _, page, amount in c.memory if page == 4
        )
        small += sum(each.shape.overhead + each.shape.memory for each, _ in here if each.shape)
        if (small or ordinary) and room.used_memory + ordinary + small * MIB > room.memory:
            yield f"{name} promises its memory twice"
    for group in (each for each in request.groups if not each.soft):
        yield from _in_group(group, rooms, {name: place for name, (_, place) in placed.items()})
    yield from _over_budget(request, answer)


def _on_host(room: HostRoom, here: list[tuple[VmToPlace, Place]]) -> Iterator[str]:
    used: Counter[int] = Counter()
    isolated: list[int] = []
    memory: Counter[tuple[int, int]] = Counter()
    floats: Counter[int] = Counter()
    owners: dict[int, set[str]] = {}
    given: Counter[str] = Counter()
    cells = {each.id: each for each in room.cells}
    cores = [core for each in room.cells for core in each.cores]
    dedicated = frozenset[int]().union(*(each.dedicated for each in room.cells))
    for each, place in here:
        wants = each.shape
        assert wants is not None
        yield from (f"{each.name}: {text}" for text in _of_guest(room, wants, place))
        mine = [cpu for c in place.cells for _, cpu in c.pins]
        used.update([*mine, *place.emulator, *place.io_threads])
        isolated += mine if wants.threads == "isolate" else []
        for c in place.cells:
            for id_, page, amount in c.memory:
                memory[id_, page] += amount
            for id_, number in c.floating:
                floats[id_] += number
        if wants.overhead:
            smallest = min((size for cell in room.cells for size in cell.pools), default=4)
            memory[place.cells[0].home, smallest] += wants.overhead
        for addresses in place.devices:
            given.update(addresses)
            for device in room.devices:
                if device.address in addresses:
                    owners.setdefault(device.iommu_group, set()).add(each.name)
    if any(number > 1 for number in used.values()) or not dedicated.issuperset(used):
        yield f"{room.name}: a CPU has two owners, or was not to be had"
    for cpu in isolated:
        core = next(core for core in cores if cpu in core)
        if any(other not in dedicated or (other != cpu and other in used) for other in core):
            yield f"{room.name}: CPU {cpu} is not isolated"
    for (id_, page), amount in memory.items():
        if amount > cells[id_].pools.get(page, 0):
            yield f"{room.name}: too much memory in pages of {page} KiB of cell {id_}"
    for id_, number in floats.items():
        if number > room.overcommit * len(cells[id_].shared):
            yield f"{room.name}: too many vCPUs share the CPUs of cell {id_}"
    if any(number > 1 for number in given.values()) or any(len(names) > 1 for names in owners.values()):
        yield f"{room.name}: a device or an IOMMU group has two owners"
    if any(device.excludes.intersection(given) for device in room.devices if device.address in given):
        yield f"{room.name}: a device is given beside one that it excludes"


def _of_guest(room: HostRoom, wants: Shape, place: Place) -> Iterator[str]:
    homes = [each.home for each in place.cells]
    ids = [each.id for each in room.cells]
    if len(set(homes)) != len(wants.cells):
        yield "two cells share a home"
    if wants.reach is not None and any(
        room.distances[ids.index(a)][ids.index(b)] > wants.reach for a in homes for b in homes if a != b
    ):
        yield "its cells are too far from each other"
    if any(room.labels.get(key) != value for key, value in wants.labels):
        yield "its host lacks a label"
    if len(place.emulator) != (wants.emulator == "isolate") or len(place.io_threads) != wants.io_threads:
        yield "QEMU's threads lack CPUs"
    if wants.emulator == "share" and not any(each.shared for each in room.cells):
        yield "nothing to share for QEMU's threads"
    cpu_home = {cpu: each.id for each in room.cells for core in each.cores for cpu in core}
    if not wants.spills and any(cpu_home[cpu] not in homes for cpu in (*place.emulator, *place.io_threads)):
        yield "QEMU's threads are far away"
    for demand, there in zip(wants.cells, place.cells, strict=True):
        if [vcpu for vcpu, _ in there.pins] != list(demand.pinned):
            yield "vCPUs lack CPUs"
        if sum(number for _, number in there.floating) != len(demand.floating):
            yield "vCPUs do not float"
        if sum(amount for _, _, amount in there.memory) != demand.memory:
            yield "memory is missing"
        near = {cpu_home[cpu] for _, cpu in there.pins} | {
            id_ for id_, *_ in (*there.memory, *there.floating)
        }
        if not wants.spills and near - {there.home}:
            yield "it spills"
        yield from _of_cell(room, wants, there)
    yield from _of_devices(room, wants, place, homes)


def _of_cell(room: HostRoom, wants: Shape, there: CellPlace) -> Iterator[str]:
    cells = {each.id: each for each in room.cells}
    if len({page for _, page, _ in there.memory}) > 1:
        yield "pages of two sizes"
    for id_, page, amount in there.memory:
        sizes = sorted(size for size, pool in cells[id_].pools.items() if pool > 0)
        allowed = {"small": sizes[:1], "large": sizes[1:], "any": sizes}.get(str(wants.pages), [wants.pages])
        if page not in allowed or amount * 1024 % page:
            yield f"pages of {page} KiB"
    for id_, number in there.floating:
        if number > len(cells[id_].shared):
            yield "its own vCPUs share CPUs with each other"
    if wants.threads == "require":
        mine = {cpu for _, cpu in there.pins}
        for each in room.cells:
            lone = sum(len(mine.intersection(core)) == 1 for core in each.cores)
            pairs = any(len(each.dedicated.intersection(core)) > 1 for core in each.cores)
            here = any(mine.intersection(core) for core in each.cores)
            if lone > 1 or (here and not pairs):
                yield "vCPUs are not on pairs of threads"


def _of_devices(room: HostRoom, wants: Shape, place: Place, homes: list[int]) -> Iterator[str]:
    by_address = {device.address: device for device in room.devices}
    sockets = {each.id: each.socket for each in room.cells}
    mine = {sockets[home] for home in homes} - {None}
    for demand, addresses in zip(wants.devices, place.devices, strict=True):
        if len(addresses) != demand.count:
            yield "devices are missing"
        for address in addresses:
            device = by_address[address]
            near = {
                "required": device.cell in homes,
                "socket": device.cell is not None and sockets.get(device.cell) in mine,
                "legacy": device.cell is None or device.cell in homes,
                "preferred": True,
            }[demand.policy]
            if demand.model not in device.models or not (near or not homes):
                yield f"{address} will not do"


def _in_group(group: Group, rooms: Mapping[str, HostRoom], places: Mapping[str, Place]) -> Iterator[str]:
    hosts = [rooms[places[name].host] for name in group.members if name in places]
    under = Counter(room.name if group.scope == "host" else room.labels.get(group.scope) for room in hosts)
    if group.apart and any(number > group.most for number in under.values()):
        yield "a group is not apart"
    if not group.apart and len(under) > 1:
        yield "a group is not together"


def _over_budget(request: PlaceRequest, answer: PlaceAnswer) -> Iterator[str]:
    moves: Counter[str] = Counter()
    for each in request.residents:
        before, after = each.place, answer.places.get(each.name)
        if before is None or after is None or before == after:
            continue
        if before.host != after.host:
            moves["host_moves"] += 1
        elif [c.home for c in before.cells] != [c.home for c in after.cells]:
            moves["cell_moves"] += 1
        else:
            moves["repins"] += 1
    for kind in ("host_moves", "cell_moves", "repins"):
        limit = getattr(request.budget, kind)
        if limit is not None and moves[kind] > limit:
            yield f"too many {kind}"
