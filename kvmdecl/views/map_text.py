"""Who sits where as text: each thread of a cell's cores is a letter, the threads of a core one below the other."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from kvmdecl.hostmap import News, Use
from kvmdecl.names import about_size, format_size
from kvmdecl.views.map_words import (
    NEWS,
    SEVERAL,
    USES,
    folded,
    free_words,
    guest_seats,
    host_words,
    name_of,
    reason_of,
    size_words,
    state_words,
    tags,
)
from kvmdecl.views.pen import Pen
from kvmdecl.views.plan_text import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmdecl.hostmap import (
        HostMap,
        MappedCell,
        MappedCpu,
        MappedDevice,
        MappedGuest,
        MappedHost,
        MappedPages,
    )

    Row = list[MappedCpu | None]

_GROUP = 8  # cores that stand together
_STYLES = {News.NONE: "36", News.NEW: "32", News.MOVED: "33"}
_DIM, _BAD, _BOLD = "2", "31", "1"


def render_map(hosts: HostMap, *, color: bool) -> str:
    """All hosts, in 80 columns. Those that are alike but for guests that float are drawn once."""
    alike: dict[object, list[MappedHost]] = {}
    for host in hosts.hosts:
        alike.setdefault(_kind(host), []).append(host)
    view = _View(color=color)
    blocks = ["\n".join(view.hosts(group)) for group in alike.values()]
    if hosts.undecided:
        told = f"not placed: {folded(hosts.undecided)}; a host that was not read may have them"
        blocks.append("\n".join(view.told("", told)))
    if legend := "  ".join(_legend(hosts)):
        blocks.append("\n".join(view.told("", legend)))
    return "\n\n".join(blocks) + "\n" if blocks else "There are no hosts.\n"


def _kind(host: MappedHost) -> object:
    """What hosts have in common that are drawn once: all but what floats on them."""
    cells = [
        (cell.cores, cell.floating, [(p.page, p.size, p.taken) for p in cell.pages]) for cell in host.cells
    ]
    alike = (host.memory, host.room, host.cpus, repr(cells), host.devices, host.maintenance)
    return host.name if host.reason else alike


class _View(Pen):
    """Draws, with colours or without."""

    def hosts(self, group: Sequence[MappedHost]) -> Iterator[str]:
        """Hosts that are alike."""
        first, names = group[0], folded(host.name for host in group)
        if first.reason:
            yield from self.told(f"{names}  ", f"not read: {reason_of(first)}", _BAD)
            yield from self._crowd(first.guests, "  ")
            return
        each = f"{len(group)} hosts, each " if len(group) > 1 else ""
        yield from self.told(f"{names}  ", f"{each}{host_words(first)}", _BOLD)
        shown = tags(first)
        guests = {guest.id: guest for guest in first.guests}
        for cells in zip(*(host.cells for host in group), strict=True):
            yield from self._cell(cells, shown, guests)
        for device in first.devices:
            yield from self.told(f"  {name_of(device.address)}  ", _device(device, shown))
        if len(group) == 1:
            yield f"  memory  {free_words(first)} beside huge pages"
            yield from self._seated(first, shown)
            yield from self._crowd((guest for guest in first.guests if guest.id not in shown), "  ")
            return
        for hosts in _apart(group):
            yield from self.told(f"  {folded(host.name for host in hosts)}  ", free_words(hosts[0]))
            yield from self._crowd(hosts[0].guests, "    ")

    def _cell(
        self, alike: Sequence[MappedCell], shown: Mapping[str, str], guests: Mapping[str, MappedGuest]
    ) -> Iterator[str]:
        cell = alike[0]
        yield f"  cell {cell.id}" + (f", socket {cell.socket}" if cell.socket is not None else "")
        width = max(map(len, shown.values()), default=1)
        rows = [(_ids(row), row) for row in _rows(cell, width)]
        pools = [
            (format_size(pages[0].page), _pool(pages, shown))
            for pages in zip(*(cell.pages for cell in alike), strict=True)
        ]
        edge = max((len(label) for label, _ in (*rows, *pools)), default=0)
        for label, row in rows:
            marks = [self._mark(cpu, shown, guests, width) for cpu in row]
            drawn = (" " * (width > 1)).join
            groups = (drawn(marks[n : n + _GROUP]) for n in range(0, len(marks), _GROUP))
            yield f"    {label:<{edge}}  {' '.join(groups)}".rstrip()
        for label, told in pools:
            yield from self.told(f"    {label:<{edge}}  ", told)

    def _mark(
        self, cpu: MappedCpu | None, shown: Mapping[str, str], guests: Mapping[str, MappedGuest], width: int
    ) -> str:
        there = {seat.guest for seat in cpu.seats} if cpu is not None and cpu.use is not Use.KEPT else set()
        if cpu is None:
            return " " * width
        if not there:
            return self.paint(f"{USES[cpu.use][0]:<{width}}", "" if cpu.use is Use.FREE else _DIM)
        if len(there) > 1:
            return self.paint(f"{SEVERAL[0]:<{width}}", _BAD)
        (guest,) = there
        return self.paint(f"{shown[guest]:<{width}}", _STYLES[guests[guest].news])

    def _seated(self, host: MappedHost, shown: Mapping[str, str]) -> Iterator[str]:
        """Those that have a letter."""
        seats = guest_seats(host)
        for guest in host.guests:
            if guest.id in shown:
                where = f": {seats[guest.id]}" if seats.get(guest.id) else ""
                told = f"{name_of(guest.name)}  {size_words([guest])}{state_words(guest)}{where}"
                head = f"  {NEWS[guest.news][0]} {shown[guest.id]}  "
                yield from self.told(head, told, _STYLES[guest.news])

    def _crowd(self, guests: Iterable[MappedGuest], indent: str) -> Iterator[str]:
        """Those that have none, in few lines."""
        kinds: dict[tuple[str, str], list[MappedGuest]] = {}
        for guest in guests:
            kinds.setdefault((NEWS[guest.news][0], state_words(guest)), []).append(guest)
        for (mark, state), of in kinds.items():
            noun = count(len(of), "vm" if of[0].managed else "guest")
            told = f"{noun}, {size_words(of)}{state}: {folded(guest.name for guest in of)}"
            yield from self.told(f"{indent}{mark} ", told, _STYLES[of[0].news])


# -- words -----------------------------------------------------------------------------------------------------


def _apart(group: Iterable[MappedHost]) -> Iterable[list[MappedHost]]:
    """Hosts that differ: each that has guests for itself, the others by what is free of them."""
    found: dict[tuple[int, str], list[MappedHost]] = {}
    for host in group:
        found.setdefault((host.free, host.name if host.guests else ""), []).append(host)
    return found.values()


def _pool(alike: Sequence[MappedPages], shown: Mapping[str, str]) -> str:
    """The same pages of one host, or of several."""
    first = alike[0]
    parts = [f"{shown[part.guest]} {about_size(part.amount)}" for part in first.taken]
    parts += (
        [f"others {others}"] if (others := _range(pages.others for pages in alike)) != about_size(0) else []
    )
    return ", ".join([*parts, f"{_range(pages.free for pages in alike)} of {about_size(first.size)} free"])


def _range(sizes: Iterable[int]) -> str:
    words = [about_size(size) for size in sorted(sizes)]
    return words[0] if words[0] == words[-1] else f"{words[0]} to {words[-1]}"


def _device(device: MappedDevice, shown: Mapping[str, str]) -> str:
    where = "" if device.cell is None else f" at cell {device.cell}"
    owner = device.guest.partition("/")[2]
    has = shown.get(device.guest, owner) if owner else "free"
    return f"{name_of(device.model)}{where}: {name_of(has)}"


def _rows(cell: MappedCell, width: int) -> Iterator[Row]:
    """Lines of threads: first threads of so many cores as fit, below them the second ones."""
    most = 64 // (_GROUP * (width + (width > 1)) + 1)  # groups in a line, beside the numbers of CPUs
    groups = -(-len(cell.cores) // _GROUP)
    lines = -(-groups // most)
    each = _GROUP * -(-groups // lines) if lines else _GROUP
    for first in range(0, len(cell.cores), each):
        cores = cell.cores[first : first + each]
        for thread in range(max(map(len, cores))):
            yield [core[thread] if thread < len(core) else None for core in cores]


def _ids(row: Row) -> str:
    """Numbers of CPUs: `0-31`, `0,2..62`, or first and last of those in no order."""
    ids = [cpu.id for cpu in row if cpu is not None]
    steps = {after - before for before, after in pairwise(ids)}
    if len(ids) == 1:
        return str(ids[0])
    if steps == {1}:
        return f"{ids[0]}-{ids[-1]}"
    return f"{ids[0]},{ids[1]}..{ids[-1]}" if len(steps) == 1 < len(ids) - 1 else f"{ids[0]}..{ids[-1]}"


def _legend(hosts: HostMap) -> Iterator[str]:
    """Marks that are there."""
    cpus = [cpu for host in hosts.hosts for cell in host.cells for core in cell.cores for cpu in core]
    uses = {cpu.use for cpu in cpus if not cpu.seats or cpu.use is Use.KEPT}
    yield from (f"{mark} {words}" for use, (mark, words) in USES.items() if use in uses)
    if any(len({seat.guest for seat in cpu.seats}) > 1 for cpu in cpus):
        yield " ".join(SEVERAL)
    news = {guest.news for host in hosts.hosts for guest in host.guests}
    yield from (f"{mark} {words}" for what, (mark, words) in NEWS.items() if words and what in news)
