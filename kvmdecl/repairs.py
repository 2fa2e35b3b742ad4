"""What would make a refused vm fit: small changes of the manifest or of a host, each tried on the solver."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from kvmdecl.conflict_set import Question
from kvmdecl.names import GIB, KIB, MIB, format_size
from kvmdecl.solver import CellDemand, DeviceDemand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from kvmdecl.conflict_set import Asking, Bar, Conflict
    from kvmdecl.shortfall import Short
    from kvmdecl.solver import Group, HostRoom, Shape, VmToPlace

MOST_SHOWN = 3
_MOST_ENTRIES = 3
_CHEAP = 2
"""A vm that becomes smaller loses more than this: that is not tried where there is enough that loses less."""
_LEAST_SHARE = 4
"""No vm is made smaller than this part of what it is: it would not be the same any more."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A change after which a refused vm, and those like it, have a place beside all that had one.

    Attributes:
        words: what is changed ("`cpus.threads: prefer` for db-1").
        subject: whose key it is (`vm/db-1`, `host/kvm-2`), empty for a new host.
        key: that is changed (`cpus.threads`).
        cost: how much is lost by it, in no unit; the least is the best.
        question: that the solver was asked and found a place for everybody.
    """

    words: str
    subject: str
    key: str
    cost: float
    question: Question


def repairs(conflict: Conflict, short: Sequence[Short], asking: Asking) -> tuple[Repair, ...]:
    """Up to three repairs of a conflict, the cheapest first. `short` is what hosts are short of for its first vm."""
    tried = [*_of_rules(conflict, asking), *_of_hosts(conflict, short)]
    for entry in _entries(conflict):
        tried += _of_wishes(conflict, entry)
    found: list[Repair] = []
    for repair in sorted(tried, key=_order):
        if len(found) < MOST_SHOWN and asking.fits(repair.question):
            found.append(repair)
    if sum(repair.cost <= _CHEAP for repair in found) < MOST_SHOWN:
        found += _smaller(conflict, _entries(conflict)[0], asking)
    return tuple(sorted(found, key=_order)[:MOST_SHOWN])


def _order(repair: Repair) -> tuple[float, str]:
    return repair.cost, repair.words


def _entries(conflict: Conflict) -> list[tuple[VmToPlace, ...]]:
    """Of the conflict's vms some that come from one entry of the manifest, with all others of theirs; refused first."""
    by_name = {vm.name: vm for vm in conflict.scope.request.vms}
    entries = dict.fromkeys(by_name[name].group for name in (conflict.refused[0], *conflict.vms))
    return [
        tuple(vm for vm in conflict.scope.request.vms if vm.group == entry)
        for entry in list(entries)[:_MOST_ENTRIES]
    ]


def _names(vms: Sequence[VmToPlace]) -> str:
    shown = ", ".join(vm.name for vm in vms[:3])
    return shown if len(vms) <= 3 else f"{shown} and {len(vms) - 3} more"


# -- of what vms want ------------------------------------------------------------------------------------------


def _of_wishes(conflict: Conflict, entry: tuple[VmToPlace, ...]) -> Iterator[Repair]:
    """Wishes about NUMA cells that an entry could do without."""
    shape = entry[0].shape
    if shape is None:
        return
    who = f"for {_names(entry)}"
    changes: list[tuple[bool, float, str, str, dict[str, Any]]] = [
        (shape.threads != "prefer", 1, "cpus.threads", "`cpus.threads: prefer`", {"threads": "prefer"}),
        (shape.emulator == "isolate", 1, "cpus.emulator", "`cpus.emulator: float`", {"emulator": "float"}),
        (
            shape.io_threads > 0,
            1.5,
            "cpus.iothreads_dedicated",
            "no `cpus.iothreads_dedicated`",
            {"io_threads": 0},
        ),
        (not shape.spills, 2, "numa.spill", "`numa.spill: true`", {"spills": True}),
        (shape.reach is not None, 2, "numa.max_distance", "no `numa.max_distance`", {"reach": None}),
    ]
    changes += [
        (True, 2, "memory.pages", words, {"pages": page}) for page, words in _other_pages(conflict, shape)
    ]
    for there, cost, key, words, update in changes if shape.cells else ():
        if there:
            yield _changed(conflict, entry, f"{words} {who}", key, cost, partial(_with, update=update))
    for cost, words, devices in _other_devices(shape):
        yield _changed(
            conflict, entry, f"{words} {who}", "devices", cost, partial(_with, update={"devices": devices})
        )


def _other_devices(shape: Shape) -> Iterator[tuple[float, str, tuple[DeviceDemand, ...]]]:
    """Devices that may be farther away, or fewer: cost, words, and what is wanted then."""
    for number, demand in enumerate(shape.devices):
        before, after = shape.devices[:number], shape.devices[number + 1 :]
        if demand.policy != "preferred" and shape.cells:
            yield (
                1,
                f"`numa: preferred` of {demand.model}",
                (*before, replace(demand, policy="preferred"), *after),
            )
        for count in range(demand.count - 1, 0, -1):
            cost = 2 + 8 * (1 - count / demand.count)
            words = f"{count} of {demand.model} instead of {demand.count}"
            yield cost, words, (*before, replace(demand, count=count), *after)


def _other_pages(conflict: Conflict, shape: Shape) -> Iterator[tuple[int | str, str]]:
    cells = [cell for room in conflict.scope.request.hosts for cell in room.cells]
    smallest = min((page for cell in cells for page in cell.pools), default=4)
    if shape.pages not in {"small", smallest}:
        yield "small", "no `memory.pages`"
    for page in sorted({page for cell in cells for page, size in cell.pools.items() if size}):
        whole = all(cell.memory * KIB % page == 0 for cell in shape.cells)
        if page not in {smallest, shape.pages} and whole:
            yield page, f"`memory.pages: {format_size(page * KIB)}`"


def _with(vm: VmToPlace, update: Mapping[str, Any]) -> VmToPlace:
    shape = vm.shape
    return vm if shape is None else replace(vm, shape=replace(shape, **update))


def _changed(
    conflict: Conflict,
    entry: Sequence[VmToPlace],
    words: str,
    key: str,
    cost: float,
    change: Callable[[VmToPlace], VmToPlace],
) -> Repair:
    names = {vm.name for vm in entry}
    request = conflict.scope.request
    vms = tuple(change(vm) if vm.name in names else vm for vm in request.vms)
    question = replace(conflict.scope, request=replace(request, vms=vms))
    return Repair(words, f"vm/{entry[0].name}", key, cost, question)


# -- of how big they are ---------------------------------------------------------------------------------------


def _smaller(conflict: Conflict, entry: tuple[VmToPlace, ...], asking: Asking) -> Iterator[Repair]:
    """As many vCPUs, and as much memory, as there is room for."""
    first, who = entry[0], f"for {_names(entry)}"
    alike = [vm for vm in entry if replace(vm, name=first.name, place=first.place) == first]
    if len(alike) < len(entry):
        return
    cpus = _cpus(first)
    if cpus:
        cells = max(1, len(first.shape.cells)) if first.shape else 1

        def with_cpus(count: int) -> Repair:
            words = f"{count * cells} vCPUs instead of {cpus * cells} {who}"
            return _changed(
                conflict, entry, words, "cpus", 2 + 8 * (1 - count / cpus), lambda vm: _cut(vm, count)
            )

        yield from _nearest(with_cpus, cpus, max(1, cpus // _LEAST_SHARE), asking)
    memory, unit = _memory(first)
    if memory:
        cells = max(1, len(first.shape.cells)) if first.shape else 1

        def with_memory(count: int) -> Repair:
            words = f"{format_size(count * unit * cells)} of memory instead of {format_size(memory * cells)} {who}"
            cost = 2 + 8 * (1 - count * unit / memory)
            return _changed(conflict, entry, words, "memory", cost, lambda vm: _shrunk(vm, count * unit))

        yield from _nearest(with_memory, -(-memory // unit), -(-memory // unit // _LEAST_SHARE), asking)


def _nearest(change: Callable[[int], Repair], now: int, far: int, asking: Asking) -> Iterator[Repair]:
    """The change to the number nearest to `now` that fits, found by halving; nothing if the farthest does not."""
    if far == now or not asking.fits(change(far).question):
        return
    bad, good = now, far
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        if asking.fits(change(middle).question):
            good = middle
        else:
            bad = middle
    yield change(good)


def _cpus(vm: VmToPlace) -> int:
    """How many vCPUs each of its cells has, 0 if they differ, are of two kinds, or do not matter."""
    if vm.shape is None or not vm.shape.cells:
        return 0
    sizes = {(len(cell.pinned), len(cell.floating)) for cell in vm.shape.cells}
    pinned, floating = next(iter(sizes))
    return pinned + floating if len(sizes) == 1 and not (pinned and floating) else 0


def _cut(vm: VmToPlace, count: int) -> VmToPlace:
    """The vm with so many vCPUs in each of its cells, numbered from 0."""
    if vm.shape is None:
        return vm
    cells = tuple(
        CellDemand(numbers if cell.pinned else (), () if cell.pinned else numbers, cell.memory)
        for n, cell in enumerate(vm.shape.cells)
        for numbers in [tuple(range(n * count, (n + 1) * count))]
    )
    return replace(vm, cpus=count * len(cells), shape=replace(vm.shape, cells=cells))


def _memory(vm: VmToPlace) -> tuple[int, int]:
    """Bytes of memory of each of its cells, 0 if they differ, and the step in which it can become less."""
    if vm.shape is None:
        return vm.memory, 256 * MIB if vm.memory < 8 * GIB else GIB
    if not vm.shape.cells:
        memory = vm.shape.memory * MIB
        return memory, 256 * MIB if memory < 8 * GIB else GIB
    sizes = {cell.memory for cell in vm.shape.cells}
    page = vm.shape.pages * KIB if isinstance(vm.shape.pages, int) else 0
    memory = sizes.pop() * MIB
    return (0 if sizes else memory), max(page, 256 * MIB if memory < 8 * GIB else GIB)


def _shrunk(vm: VmToPlace, memory: int) -> VmToPlace:
    if vm.shape is None:
        return replace(vm, memory=memory)
    if not vm.shape.cells:
        return replace(vm, memory=min(vm.memory, memory), shape=replace(vm.shape, memory=memory // MIB))
    cells = tuple(replace(cell, memory=memory // MIB) for cell in vm.shape.cells)
    whole = memory * len(cells)
    return replace(vm, memory=min(vm.memory, whole), shape=replace(vm.shape, cells=cells))


# -- of who is kept apart, together, or off a host -------------------------------------------------------------


def _of_rules(conflict: Conflict, asking: Asking) -> Iterator[Repair]:
    scope = conflict.scope
    for bar in conflict.bars:
        question = scope.part(
            (vm.name for vm in scope.request.vms),
            scope.request.groups,
            (each for each in scope.bars if each != bar),
        )
        yield Repair(_lifted(bar), bar.subject, bar.key, 3, question)
    for group in conflict.groups:
        whole = next(each for each in scope.request.groups if _same(each, group))
        yield from _of_group(conflict, whole, asking)


def _lifted(bar: Bar) -> str:
    whose = bar.subject.partition("/")[2]
    return f"no `{bar.key}` for {whose}" if bar.label else f"`{bar.key}: false` for {whose}"


def _same(whole: Group, part: Group) -> bool:
    return part.members <= whole.members and replace(whole, members=part.members) == part


def _of_group(conflict: Conflict, group: Group, asking: Asking) -> Iterator[Repair]:
    """More of its members in one place; or those that were refused are no members."""
    request = conflict.scope.request

    def with_group(changed: Group | None, words: str, key: str, cost: float) -> Repair:
        groups = (changed if each is group else each for each in request.groups)
        question = Question(
            replace(request, groups=tuple(each for each in groups if each is not None)), conflict.scope.bars
        )
        return Repair(words, f"vm/{conflict.refused[0]}", key, cost, question)

    members = len(group.members)
    if group.apart:

        def with_most(most: int) -> Repair:
            words = f"`apart.most: {most}` instead of {group.most}"
            return with_group(replace(group, most=most), words, "apart.most", 1 + (most - group.most))

        yield from _nearest(with_most, group.most, max(group.most, members), asking)
        return
    entry = {vm.name for vm in _entries(conflict)[0]}
    left = group.members - entry
    words = f"no `together` for {_names(_entries(conflict)[0])}"
    yield with_group(replace(group, members=left) if len(left) > 1 else None, words, "together", 3)


# -- of hosts --------------------------------------------------------------------------------------------------


def _of_hosts(conflict: Conflict, short: Iterable[Short]) -> Iterator[Repair]:
    request = conflict.scope.request
    rooms = {room.name: room for room in request.hosts}
    for each in short:
        if each.what == "pages" and each.cell is not None:
            room = _with_pages(rooms[each.host], each.cell, each.page, each.wanted - each.free)
            if room is not None:
                hosts = tuple(room if host.name == each.host else host for host in request.hosts)
                count = -(-(each.wanted - each.free) * KIB // each.page)
                words = (
                    f"{count} more pages of {format_size(each.page * KIB)} in cell {each.cell} of {each.host}"
                )
                question = replace(conflict.scope, request=replace(request, hosts=hosts))
                yield Repair(words, f"host/{each.host}", "huge_pages", 3, question)
    yield from _one_more_host(conflict)


def _with_pages(room: HostRoom, cell: int, page: int, more: int) -> HostRoom | None:
    """More huge pages are less ordinary memory; None if there is not so much of it."""
    wanted = -(-more * KIB // page) * page // KIB
    cells = list(room.cells)
    for number, each in enumerate(cells):
        smallest = min(each.pools)
        if each.id == cell and each.pools[smallest] >= wanted:
            pools = {
                **each.pools,
                smallest: each.pools[smallest] - wanted,
                page: each.pools.get(page, 0) + wanted,
            }
            cells[number] = replace(each, pools=pools)
            return replace(room, cells=tuple(cells))
    return None


def _one_more_host(conflict: Conflict) -> Iterator[Repair]:
    """A host like the largest of those that a refused vm can have."""
    request, bars = conflict.scope.request, conflict.scope.bars
    refused = next(vm for vm in request.vms if vm.name == conflict.refused[0])
    open_ = [room for room in request.hosts if room.name in refused.candidates]
    if not open_:
        return
    like = max(open_, key=lambda room: (room.memory, room.cpus))
    name = next(
        name
        for n in range(len(request.hosts) + 1)
        if (name := f"new-{n}") not in {r.name for r in request.hosts}
    )
    new = replace(like, name=name, used_cpus=0, used_memory=0, groups={})
    vms = tuple(
        replace(vm, candidates=tuple(sorted((*vm.candidates, name)))) if like.name in vm.candidates else vm
        for vm in request.vms
    )
    barred = tuple(
        replace(
            bar,
            hosts={vm: hosts | {name} if like.name in hosts else hosts for vm, hosts in bar.hosts.items()},
        )
        if bar.label is not None
        else bar
        for bar in bars
    )
    hosts = tuple(sorted((*request.hosts, new), key=lambda room: room.name))
    question = Question(replace(request, vms=vms, hosts=hosts), barred)
    yield Repair(f"one more host like {like.name}", "", "hosts", 10, question)
