"""The order in which Pacemaker gives rooms to vms, searched so that none is left without one.

Pacemaker places one vm after the other, in order of priority, and moves none again for the sake of a later one. An
order that works for one cluster strands a vm in another: the most memory first where CPUs are short, or the largest
first where a smaller one has few hosts to choose from. Orders are tried on a small model of that.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

from kvmdecl.api import groups_of
from kvmdecl_pacemaker.guests import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from kvmdecl.api import ResolvedVm
    from kvmdecl_pacemaker.configuration import Node, Pairs
    from kvmdecl_pacemaker.site import Site

    Order = Sequence["Kind"]

CLASS = 1000
"""Priorities of a class of the manifest: as many ranks as there can be within it."""
_MOST_ROUNDS = 6
_MOST_LOSSES = 24
_MOST_WORK = 4_000_000
"""Questions whether a vm fits on a host."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Vms that are alike to Pacemaker.

    Attributes:
        level: the manifest's class, the higher before the lower.
        wanted: it has to run; others give way.
        needs: what one takes, by name of a utilization attribute.
        homes: the hosts that it may run on.
    """

    level: int
    wanted: bool
    needs: tuple[tuple[str, int], ...]
    homes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Packing:
    """What is packed.

    Attributes:
        rooms: of each host, by name of a utilization attribute.
        kinds: of each vm.
        apart: groups of which no two are on one host.
        lose: how many hosts may be lost at once.
    """

    rooms: Mapping[str, Mapping[str, int]]
    kinds: Mapping[str, Kind]
    apart: tuple[Collection[str], ...] = ()
    lose: int = 1


def priorities(site: Site, hosts: Sequence[Node]) -> dict[str, int]:
    """The priority of each vm: its class, and within that the larger first unless that strands somebody."""
    usual = _by_memory(site)
    running = [vm for vm in site.vms if vm.state == "running"]
    groups = groups_of(running, {vm.name for vm in running})
    packing = Packing(
        {host.name: _amounts(host.utilization) for host in hosts if ("standby", "on") not in host.attributes},
        {vm.name: _kind(site, vm) for vm in running},
        tuple(
            sorted(group.members)
            for group in groups
            if group.apart and not group.soft and group.most == 1 and group.scope == "host"
        ),
        max(1, site.ha.survive),
    )
    return usual | dict(search(packing, {vm.name: usual[vm.name] for vm in running}))


def _by_memory(site: Site) -> dict[str, int]:
    sizes = sorted({vm.memory for vm in site.vms})
    rank = {size: min(number, CLASS - 1) for number, size in enumerate(sizes, 1)}
    return {vm.name: _level(vm) * CLASS + rank[vm.memory] for vm in site.vms}


def _level(vm: ResolvedVm) -> int:
    return vm.spec.ha.priority if vm.spec.ha is not None else 0


def _kind(site: Site, vm: ResolvedVm) -> Kind:
    wanted = vm.spec.ha is None or not vm.spec.ha.best_effort
    return Kind(_level(vm), wanted, tuple(_amounts(needs(site, vm)).items()), site.homes[vm.name])


def _amounts(pairs: Pairs) -> dict[str, int]:
    return {name: int(value) for name, value in pairs}


def search(packing: Packing, usual: Mapping[str, int]) -> Mapping[str, int]:
    """The priority of each vm: the usual one if that strands nobody, else the best that is found."""
    fewest = _stranded(packing, sorted(usual, key=lambda vm: (-usual[vm], vm))).total()
    best = usual
    for order, stranded in _tries(packing):
        if not fewest:
            break
        if stranded < fewest:
            fewest, best = stranded, _priorities(packing, order)
    return best


def _tries(packing: Packing) -> Iterator[tuple[Order, int]]:
    """Orders and how many each strands: three plain ones, and each again with those in front that it strands."""
    kinds = sorted(set(packing.kinds.values()), key=lambda kind: (kind.needs, kind.homes, kind.wanted))
    work = len(packing.kinds) * len(packing.rooms) * (1 + len(list(_losses(packing))))
    left = max(1, _MOST_WORK // max(1, work))
    for key in _keys(packing):
        order = sorted(kinds, key=lambda kind: (-kind.level, not kind.wanted, key(kind)))
        for _ in range(min(_MOST_ROUNDS, left)):
            left -= 1
            place = {kind: number for number, kind in enumerate(order)}
            vms = sorted(packing.kinds, key=lambda vm: (place[packing.kinds[vm]], vm))
            stranded = _stranded(packing, vms)
            yield order, stranded.total()
            order.sort(key=lambda kind: (-kind.level, not kind.wanted, -stranded[kind]))


def _keys(packing: Packing) -> tuple[Callable[[Kind], tuple[float, ...]], ...]:
    total: Counter[str] = Counter()
    for room in packing.rooms.values():
        total.update(room)

    def memory(kind: Kind) -> float:
        return dict(kind.needs).get("hv_memory", 0)

    def share(kind: Kind) -> float:
        """Of the cluster, in what it takes the most of."""
        return max((amount / total[name] for name, amount in kind.needs if total[name]), default=0.0)

    return (
        lambda kind: (-memory(kind), -share(kind)),
        lambda kind: (-share(kind), -memory(kind)),
        lambda kind: (len(kind.homes), -share(kind)),
    )


def _losses(packing: Packing) -> Iterator[tuple[str, ...]]:
    """Of as many hosts as may be lost; of one each where that would be many combinations."""
    many = comb(len(packing.rooms), packing.lose) > _MOST_LOSSES
    return combinations(packing.rooms, 1 if many else packing.lose)


def _stranded(packing: Packing, vms: Sequence[str]) -> Counter[Kind]:
    """How many of each kind have no room in this order, with all hosts up and after each loss, summed up."""
    start = _packed(packing, vms, {}, ())
    stranded = Counter(packing.kinds[vm] for vm in vms if vm not in start)
    for lost in _losses(packing):
        there = _packed(packing, vms, start, lost)
        stranded.update(packing.kinds[vm] for vm in start if vm not in there)
    return Counter({kind: count for kind, count in stranded.items() if kind.wanted})


def _packed(
    packing: Packing, vms: Sequence[str], now: Mapping[str, str], lost: tuple[str, ...]
) -> dict[str, str]:
    """Where each vm goes: it stays while there is room, else the host that has the most left takes it."""
    left = {host: dict(room) for host, room in packing.rooms.items() if host not in lost}
    there: dict[str, str] = {}
    for vm in vms:
        kind = packing.kinds[vm]
        barred = {there[other] for group in packing.apart if vm in group for other in group if other in there}
        able = [
            host
            for host in kind.homes
            if host in left
            and host not in barred
            and all(left[host].get(name, 0) >= amount for name, amount in kind.needs)
        ]
        if able:
            host = now[vm] if now.get(vm) in able else _freest(able, left)
            there[vm] = host
            for name, amount in kind.needs:
                left[host][name] -= amount
    return there


def _freest(able: Sequence[str], left: Mapping[str, Mapping[str, int]]) -> str:
    """The host that has more than others of more attributes than it has less of (`placement-strategy=balanced`)."""
    best = able[0]
    for host in able[1:]:
        one, other = left[host], left[best]
        if sum((one[name] > other[name]) - (one[name] < other[name]) for name in one) > 0:
            best = host
    return best


def _priorities(packing: Packing, order: Order) -> dict[str, int]:
    ranks: dict[Kind, int] = {}
    for level in {kind.level for kind in order}:
        within = [kind for kind in reversed(order) if kind.level == level]
        ranks |= {kind: level * CLASS + min(number, CLASS - 1) for number, kind in enumerate(within, 1)}
    return {vm: ranks[kind] for vm, kind in packing.kinds.items()}
