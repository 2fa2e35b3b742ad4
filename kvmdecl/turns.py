"""In which turn guests move, so that there is room for each at every moment: on both of its hosts while it goes.

Pure. Room is counted in kinds, each for itself: ordinary memory, and huge pages of each size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kvmdecl.state import Leg

Amount = Mapping[int, int]
"""Bytes by kind: 0 for ordinary memory, else the size of a huge page."""

_MOST_TRIES = 2_000
"""Dead ends after which no other order is tried. A plan without rings seldom meets one."""


@dataclass(frozen=True, slots=True)
class Mover:
    """A guest that goes from `source` to `target`. `via` are hosts that it could stay on for a while."""

    vm: str
    source: str
    target: str
    takes: Amount
    via: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turns:
    """The legs in an order in which there is room for each, and who cannot move at all, with the reason."""

    legs: tuple[Leg, ...] = ()
    stuck: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Hosts:
    """Room that is free on each host; a host that is not known has any."""

    free: dict[str, dict[int, int]]

    def fits(self, takes: Amount, host: str) -> bool:
        free = self.free.get(host)
        return free is None or all(free.get(kind, 0) >= amount for kind, amount in takes.items() if amount)

    def take(self, takes: Amount, host: str, sign: int = 1) -> None:
        if (free := self.free.get(host)) is not None:
            for kind, amount in takes.items():
                free[kind] = free.get(kind, 0) - sign * amount

    def move(self, takes: Amount, source: str, target: str) -> None:
        self.take(takes, target)
        self.take(takes, source, -1)


def turns(movers: Iterable[Mover], free: Mapping[str, Amount]) -> Turns:
    """Find an order in which all can move; where guests stand in each other's way, one steps aside to a third host.

    Args:
        movers: no two of one name.
        free: room on each host before anybody moves.
    """
    hosts = _Hosts({name: dict(amount) for name, amount in free.items()})
    left, done = sorted(movers, key=lambda mover: mover.vm), list[Mover]()
    while left:
        went = _as_many_as_can(left, hosts)
        done += went
        gone = {mover.vm for mover in went}
        left = [mover for mover in left if mover.vm not in gone]
        aside = _step_aside(left, hosts)
        if aside is None:
            break
        first, rest = aside
        hosts.move(first.takes, first.source, first.target)
        done.append(first)
        left = [rest if mover.vm == rest.vm else mover for mover in left]
    return Turns(_legs(done, free), {mover.vm: _why(mover, left) for mover in left})


def _as_many_as_can(left: Sequence[Mover], hosts: _Hosts) -> list[Mover]:
    """Movers in an order that gets all of them to their hosts if one is found, else as many as the first way did."""
    path, tried = list[Mover](), set[frozenset[str]]()
    best: list[Mover] = []
    choices = [iter(_next(left, path, hosts))]
    while True:
        mover = next(choices[-1], None)
        if mover is not None:
            hosts.move(mover.takes, mover.source, mover.target)
            path.append(mover)
            if len(path) > len(best):
                best = list(path)
            if len(path) == len(left):
                return path
            seen = frozenset(m.vm for m in path) if tried else None
            choices.append(iter(() if seen in tried else _next(left, path, hosts)))
            continue
        choices.pop()
        if not path or len(tried) >= _MOST_TRIES:
            break
        tried.add(frozenset(m.vm for m in path))
        back = path.pop()
        hosts.move(back.takes, back.target, back.source)
    for mover in reversed(path):
        hosts.move(mover.takes, mover.target, mover.source)
    for mover in best:
        hosts.move(mover.takes, mover.source, mover.target)
    return best


def _next(left: Sequence[Mover], path: Sequence[Mover], hosts: _Hosts) -> list[Mover]:
    """Who can go now; first those who make room that somebody waits for."""
    gone = {mover.vm for mover in path}
    waiting = [mover for mover in left if mover.vm not in gone]
    can = [mover for mover in waiting if hosts.fits(mover.takes, mover.target)]
    free = {mover.vm for mover in can}
    wanted = {mover.target for mover in waiting if mover.vm not in free}
    return sorted(can, key=lambda mover: mover.source not in wanted)


def _step_aside(left: Sequence[Mover], hosts: _Hosts) -> tuple[Mover, Mover] | None:
    """The way of a guest to a third host, and its way on from there: the smallest that makes room for another one."""
    for mover in sorted(left, key=lambda mover: (sum(mover.takes.values()), mover.vm)):
        for host in mover.via:
            if host in {mover.source, mover.target} or not hosts.fits(mover.takes, host):
                continue
            hosts.move(mover.takes, mover.source, host)
            helps = any(
                hosts.fits(o.takes, o.target) for o in left if o is not mover and o.target == mover.source
            )
            hosts.move(mover.takes, host, mover.source)
            if helps:
                aside = Mover(mover.vm, mover.source, host, mover.takes)
                return aside, Mover(mover.vm, host, mover.target, mover.takes)
    return None


def _legs(done: Sequence[Mover], free: Mapping[str, Amount]) -> tuple[Leg, ...]:
    """Each with those that have to be over before: its own leg before, and who makes room if that is needed.

    Who waits for anybody that leaves its host waits for all that leave it before its turn. So whatever runs at once, no
    more is on a host than when one goes after the other.
    """
    arrived: defaultdict[str, _Sum] = defaultdict(_Sum)
    left: defaultdict[str, list[Leg]] = defaultdict(list)
    last, legs = dict[str, Leg](), list[Leg]()
    for mover in done:
        arrived[mover.target].add(mover.takes)
        known = free.get(mover.target)
        room = known is None or arrived[mover.target].within(known)
        before = [] if room else left[mover.target]
        own = [last[mover.vm]] if mover.vm in last else []
        waits = tuple(dict.fromkeys((each.vm, each.target) for each in (*own, *before)))
        leg = Leg(mover.vm, mover.source, mover.target, waits)
        left[mover.source].append(leg)
        last[mover.vm] = leg
        legs.append(leg)
    return tuple(legs)


class _Sum:
    def __init__(self) -> None:
        self._of: defaultdict[int, int] = defaultdict(int)

    def add(self, takes: Amount) -> None:
        for kind, amount in takes.items():
            self._of[kind] += amount

    def within(self, free: Amount) -> bool:
        return all(amount <= free.get(kind, 0) for kind, amount in self._of.items() if amount)


def _why(mover: Mover, left: Sequence[Mover]) -> str:
    """Why a guest is stuck: its host has no room for it, and those that would make some are stuck, too."""
    others = sorted(other.vm for other in left if other.source == mover.target)
    ring = _ring(mover, left)
    if ring:
        return f"{mover.target} has room for it only when {' and '.join(others)} left, which waits for room itself"
    if others:
        return f"{mover.target} has no room for it before {' and '.join(others)} left, and they cannot"
    return f"{mover.target} has no room for it while it moves"


def _ring(mover: Mover, left: Iterable[Mover]) -> bool:
    """Whether it is one of those that wait for each other."""
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph(list(_waits(left)))
    return mover.vm in graph and any(
        mover.vm in part for part in nx.strongly_connected_components(graph) if len(part) > 1
    )


def _waits(left: Iterable[Mover]) -> Iterator[tuple[str, str]]:
    left = list(left)
    leaving: defaultdict[str, list[str]] = defaultdict(list)
    for mover in left:
        leaving[mover.source].append(mover.vm)
    return ((mover.vm, other) for mover in left for other in leaving[mover.target])
