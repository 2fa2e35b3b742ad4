"""A plan as a map: on which host, and bound to which of its cells, each vm is before and after, and what befalls it.

Pictures are made of this. A plan of many guests is drawn in less detail, so that it can still be looked at.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import Enum, StrEnum
from itertools import count as counter
from typing import TYPE_CHECKING

from kvmdecl.names import about_size
from kvmdecl.plan import Action, HostStatus, Impact, Plan, PlannedGuest
from kvmdecl.state import Kind
from kvmdecl.tasks import LeaveDomain
from kvmdecl.text import listed, safe_text, set_of
from kvmdecl.views.plan_text import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmdecl.plan import Step

    _Cells = tuple[int, ...]

_MOST_CHANGES = 4  # that are told of a guest
MOST_TILES = 1_000
"""Guests that a picture shows one by one."""


class Fate(StrEnum):
    """What befalls a vm, the worst first; the values are what readers see."""

    LOST = "loses data"
    GONE = "gone"
    STOPS = "stops"
    RESTARTS = "restarts"
    MOVES = "moves here"
    BLOCKED = "blocked"
    NEW = "new"
    CHANGES = "changes"
    ADOPTED = "adopted"
    LEAVES = "was here"
    UNKNOWN = "unknown"
    SAME = "as it is"

    @property
    def mark(self) -> str:
        """What tells it without colour; that of the text where it has one."""
        return _MARKS[self]


_MARKS = {
    Fate.LOST: "!!", Fate.GONE: "-", Fate.STOPS: "#", Fate.RESTARTS: "!", Fate.MOVES: ">", Fate.BLOCKED: "x",
    Fate.NEW: "+", Fate.CHANGES: "~", Fate.ADOPTED: "=", Fate.LEAVES: "<", Fate.UNKNOWN: "?", Fate.SAME: "",
}  # fmt: skip


class Detail(Enum):
    """How much is drawn: each vm, those that something befalls, or how many these are."""

    ALL = 1
    CHANGED = 2
    COUNTS = 3


@dataclass(frozen=True, slots=True)
class Tile:
    """A vm at a place, or several of one fate. `id` is its number in the picture, `told` what there is to say of it."""

    id: int
    name: str
    fate: Fate
    told: str


@dataclass(frozen=True, slots=True)
class Group:
    """Vms of a host that are bound to the same cells, as `label` says; so many, that are the `same`, are left out."""

    label: str
    tiles: tuple[Tile, ...]
    same: int = 0


@dataclass(frozen=True, slots=True)
class DrawnHost:
    """A host. `words` count what befalls its vms, `reason` says why it is unknown."""

    name: str
    words: str
    groups: tuple[Group, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """From where vms were to where they are: ids of tiles, and how many vms."""

    source: int
    target: int
    count: int
    told: str


@dataclass(frozen=True, slots=True)
class Topology:
    """The map. `notes` say what is left out."""

    title: str
    notes: tuple[str, ...]
    hosts: tuple[DrawnHost, ...]
    arrows: tuple[Arrow, ...]

    @property
    def tiles(self) -> int:
        """How many there are."""
        return sum(len(group.tiles) for host in self.hosts for group in host.groups)

    @property
    def fates(self) -> tuple[Fate, ...]:
        """Those that a reader meets in it."""
        met = {tile.fate for host in self.hosts for group in host.groups for tile in group.tiles}
        return tuple(fate for fate in Fate if fate in met)


@dataclass(frozen=True, slots=True)
class _Seat:
    """A vm at a host; one that moved has two, of which the one where it was is `Fate.LEAVES`."""

    host: str
    cells: _Cells
    name: str
    fate: Fate
    told: str


def topology(plan: Plan) -> Topology:
    """The map of a plan, in as much detail as can be looked at."""
    found = topologies(plan)
    most = next(found)
    return (
        most if most.tiles <= MOST_TILES else next((each for each in found if each.tiles <= MOST_TILES), most)
    )


def topologies(plan: Plan) -> Iterator[Topology]:
    """The map of a plan, in ever less detail."""
    seats = list(_seats(plan))
    return (_Map(plan, seats, detail).drawn() for detail in Detail)


# -- who is where ----------------------------------------------------------------------------------------------


def _seats(plan: Plan) -> Iterator[_Seat]:
    silent = {host.name for host in plan.hosts if host.status is HostStatus.UNREACHABLE}
    steps = _by_guest(plan.steps)
    domains = {name: own for name, its in steps.items() if (own := _own(its))}
    blocked = {each.subject.rpartition("/")[2] for each in plan.blocked if _is_guest(each.subject)}
    for guest in _guests(plan, domains):
        its, own = steps.get(guest.name, ()), domains.get(guest.name)
        fate = _fate(its, own)
        if fate is Fate.SAME:
            fate = Fate.UNKNOWN if guest.host in silent else Fate.BLOCKED if guest.name in blocked else fate
        told = _told(guest, fate, its)
        yield _Seat(guest.host, guest.cells, guest.name, fate, told)
        if own is not None and own.action is not Action.CREATE:
            before = own.seat.host, guest.cells_before
            if before != (guest.host, guest.cells):
                yield _Seat(*before, guest.name, Fate.LEAVES, told)


def _by_guest(steps: Iterable[Step]) -> dict[str, list[Step]]:
    found: defaultdict[str, list[Step]] = defaultdict(list)
    for step in steps:
        if step.vm and not isinstance(step.task, LeaveDomain):
            found[step.vm].append(step)
    return found


def _own(steps: Iterable[Step]) -> Step | None:
    """The step that is about the guest itself; of a move in two legs the last."""
    return next((step for step in reversed(list(steps)) if step.address.kind is Kind.DOMAIN), None)


def _guests(plan: Plan, domains: Mapping[str, Step]) -> Iterator[PlannedGuest]:
    """The vms of the manifest, those that the plan takes away, and those on hosts that did not answer."""
    known = {guest.name for guest in plan.guests}
    yield from plan.guests
    for name, step in domains.items():
        if name not in known:
            yield PlannedGuest(step.address.host, name, 0, 0)
    for host in plan.hosts:
        for address in host.frozen:
            _, kind, name = (*address.split("/", 2), "", "")[:3]
            if kind == Kind.DOMAIN and name not in known:
                yield PlannedGuest(host.name, name, 0, 0)


def _is_guest(subject: str) -> bool:
    return subject.startswith("vm/") or f"/{Kind.DOMAIN}/" in subject


def _fate(steps: Sequence[Step], own: Step | None) -> Fate:
    impact = max((step.impact for step in steps), default=Impact.NONE)
    if impact is Impact.DATA_LOSS:
        return Fate.LOST
    if own is not None and own.action is Action.DELETE:
        return Fate.GONE
    if own is not None and own.action is Action.CREATE:
        return Fate.NEW
    if impact is Impact.DOWNTIME:
        return Fate.STOPS
    if impact is Impact.RESTART:
        return Fate.RESTARTS
    if own is not None and own.action is Action.MOVE:
        return Fate.MOVES
    if own is not None and own.action is Action.ADOPT:
        return Fate.ADOPTED
    return Fate.CHANGES if steps else Fate.SAME


def _told(guest: PlannedGuest, fate: Fate, steps: Sequence[Step]) -> str:
    size = f"{count(guest.cpus, 'CPU')}, {about_size(guest.memory)}" if guest.cpus else ""
    changes = [
        f"{change.key}: {change.before} -> {change.after}"
        for step in steps
        for change in sorted(step.changes, key=lambda change: -change.impact)
    ]
    more = (
        [f"and {count(len(changes) - _MOST_CHANGES, 'further change')}"]
        if len(changes) > _MOST_CHANGES
        else []
    )
    parts = [f"{guest.name}: {fate}", size, *changes[:_MOST_CHANGES], *more]
    return safe_text("; ".join(part for part in parts if part))


# -- the map ---------------------------------------------------------------------------------------------------


class _Map:
    """The hosts, drawn one after the other; tiles are numbered through."""

    def __init__(self, plan: Plan, seats: Sequence[_Seat], detail: Detail) -> None:
        self._plan = plan
        self._detail = detail
        self._numbers = counter()
        self._ids: dict[_Seat, int] = {}
        self._by_host: defaultdict[str, list[_Seat]] = defaultdict(list)
        for seat in seats:
            self._by_host[seat.host].append(seat)
        self._seats = seats

    def drawn(self) -> Topology:
        """The whole map."""
        reasons = {h.name: h.reason for h in self._plan.hosts if h.status is HostStatus.UNREACHABLE}
        cells = {host.name: host.cells for host in self._plan.hosts}
        names = [*cells, *sorted(self._by_host.keys() - cells.keys())]
        quiet = {name for name in names if self._is_quiet(name) and name not in reasons}
        hosts = [
            DrawnHost(
                safe_text(name),
                _words(self._by_host[name]),
                tuple(self._groups(self._by_host[name], cells.get(name, ()))),
                safe_text(reasons.get(name, "").removeprefix(f"{name}: ")),
            )
            for name in names
            if name not in quiet
        ]
        vms = len({seat.name for seat in self._seats})
        title = f"{self._plan.cluster}: {count(len(names), 'host')}, {count(vms, 'vm')}"
        stay = [seat for seat in self._seats if seat.fate is not Fate.LEAVES]
        notes = [_words(stay).replace(_PLURAL[Fate.MOVES], "move")]
        notes += [f"not drawn: {count(len(quiet), 'host')} on which all is as it was"] if quiet else []
        return Topology(safe_text(title), tuple(notes), tuple(hosts), tuple(self._arrows()))

    def _is_quiet(self, host: str) -> bool:
        return self._detail is not Detail.ALL and all(seat.fate is Fate.SAME for seat in self._by_host[host])

    def _groups(self, seats: Sequence[_Seat], cells: Iterable[int]) -> Iterator[Group]:
        """What is bound to each cell, if anything is to any, then what is bound to none."""
        if self._detail is Detail.COUNTS:
            yield Group("", tuple(self._counted(seats)))
            return
        groups: dict[_Cells, list[_Seat]] = {}
        if any(seat.cells for seat in seats):
            groups = {(cell,): [] for cell in cells}
        for seat in sorted(seats, key=lambda seat: _ORDER[seat.fate]):
            groups.setdefault(seat.cells, []).append(seat)
        is_bound = any(groups) and bool(groups)
        for bound, its in sorted(groups.items(), key=lambda item: (not item[0], len(item[0]), item[0])):
            label = _cells_words(bound) if bound else "any cell" if is_bound else ""
            shown = [seat for seat in its if self._detail is Detail.ALL or seat.fate is not Fate.SAME]
            yield Group(label, tuple(map(self._tile, shown)), len(its) - len(shown))

    def _tile(self, seat: _Seat) -> Tile:
        self._ids[seat] = next(self._numbers)
        return Tile(self._ids[seat], safe_text(seat.name), seat.fate, seat.told)

    def _counted(self, seats: Sequence[_Seat]) -> Iterator[Tile]:
        for fate in Fate:
            its = [seat for seat in seats if seat.fate is fate]
            if its:
                id_ = next(self._numbers)
                self._ids |= dict.fromkeys(its, id_)
                yield Tile(id_, count(len(its), "vm"), fate, safe_text(listed([seat.name for seat in its])))

    def _arrows(self) -> Iterator[Arrow]:
        """One from each tile to each, for all vms between them."""
        where = {seat.name: seat for seat in self._seats if seat.fate is not Fate.LEAVES}
        found: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
        for seat in self._seats:
            if seat.fate is Fate.LEAVES:
                found[self._ids[seat], self._ids[where[seat.name]]].append(seat.name)
        for (source, target), names in sorted(found.items()):
            yield Arrow(source, target, len(names), safe_text(listed(names)))


_ORDER = {fate: number for number, fate in enumerate(Fate)}


def _words(seats: Iterable[_Seat]) -> str:
    """How many vms meet which fate: `2 restarts, 5 as it is`."""
    counts = Counter(seat.fate for seat in seats)
    return ", ".join(f"{counts[fate]} {_PLURAL.get(fate, fate)}" for fate in Fate if counts[fate]) or "no vms"


_PLURAL = {
    Fate.LOST: "lose data", Fate.STOPS: "stop", Fate.RESTARTS: "restart", Fate.MOVES: "move here",
    Fate.CHANGES: "change", Fate.LEAVES: "were here", Fate.SAME: "as they are",
}  # fmt: skip


def _cells_words(cells: _Cells) -> str:
    return f"cell {cells[0]}" if len(cells) == 1 else f"cells {set_of(cells)}"
