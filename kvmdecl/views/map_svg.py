"""Who sits where as a picture in one file: SVG alone, or a page with an SVG for each host. No scripts, nothing loaded.

What a thing is, its colour, its letter and its tooltip say all. The same map is the same bytes.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from kvmdecl.hostmap import News, Role, Use
from kvmdecl.libvirt_xml.build import node
from kvmdecl.names import about_size, format_size
from kvmdecl.text import safe_text
from kvmdecl.views.drawing import (
    LINE,
    PAD,
    WIDTH,
    Card,
    Sheet,
    group,
    html_page,
    label,
    moved,
    rect,
    svg_sheet,
)
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
    seat_words,
    size_words,
    state_words,
    tags,
)
from kvmdecl.views.plan_text import count

if TYPE_CHECKING:
    from kvmdecl.hostmap import (
        HostMap,
        MappedCell,
        MappedCpu,
        MappedDevice,
        MappedGuest,
        MappedHost,
        MappedPages,
    )
    from kvmdecl.libvirt_xml.safe import Element

_TILE, _TILE_HEIGHT, _CORE = 22, 13, 25
_CORES = 16  # in a line
_BAR = 200
_NAME = 28  # characters of a name that are shown
_COLORS = 8

_STYLE = """\
.cpu rect,.pages rect,.swatch rect{stroke:#8c959f;stroke-width:.6}
.free rect,rect.free{fill:#fff}.shared rect{fill:#dfe7ef}.host rect,rect.others{fill:#a8b1bb}
.kept rect{fill:#fff;stroke-dasharray:2 2}.several rect{fill:#1f2328}.several text{fill:#fff}
.g0 rect,rect.g0{fill:#9fd3f5}.g1 rect,rect.g1{fill:#f6cf8b}.g2 rect,rect.g2{fill:#8fdcc0}.g3 rect,rect.g3{fill:#f3e98a}
.g4 rect,rect.g4{fill:#a3b8ee}.g5 rect,rect.g5{fill:#f4b393}.g6 rect,rect.g6{fill:#e6b8d4}.g7 rect,rect.g7{fill:#cfd8a0}
.new rect{stroke:#1a7f37;stroke-width:1.6}.moved rect{stroke:#bc4c00;stroke-width:1.6;stroke-dasharray:3 1}
.new .mark{fill:#1a7f37;font-weight:700}.moved .mark{fill:#bc4c00;font-weight:700}
"""


def render_svg(hosts: HostMap) -> str:
    """One SVG: the legend, then a card for each host, each in the column that is shortest so far."""
    return svg_sheet(_sheet(hosts))


def render_html(hosts: HostMap) -> str:
    """One page: the legend, links to the hosts, and an SVG for each."""
    return html_page(_sheet(hosts))


def _sheet(hosts: HostMap) -> Sheet:
    cards = [Card(card.host.name, card.height, card.drawn) for card in map(_Card, hosts.hosts)]
    return Sheet(_title(hosts), tuple(_notes(hosts)), _legend(), tuple(cards), _STYLE)


def _title(hosts: HostMap) -> str:
    vms = sum(guest.managed for host in hosts.hosts for guest in host.guests)
    return f"{hosts.cluster}: {count(len(hosts.hosts), 'host')}, {count(vms, 'vm')}"


def _notes(hosts: HostMap) -> list[str]:
    if not hosts.undecided:
        return []
    told = f"not placed: {folded(hosts.undecided)}; a host that was not read may have them"
    return textwrap.wrap(told, 80, break_on_hyphens=False)


def _legend() -> Element:
    kinds = [(use.value, *USES[use]) for use in USES] + [("several", *SEVERAL)]
    kinds += [(f"g0 {news.value}", *NEWS[news]) for news in (News.NEW, News.MOVED)]
    drawn, x = [], 0
    for kind, mark, words in kinds:
        tile = group(kind, rect(0, 2, _TILE, _TILE_HEIGHT), label(_TILE / 2, 11.5, mark, "tag"))
        drawn.append(moved(group("cpu", tile), x, 0))
        drawn.append(label(x + _TILE + 4, 12, words, "dim"))
        x += _TILE + 14 + 5 * len(words)
    return group("legend", *drawn)


class _Card:
    """A host, drawn from the top down."""

    def __init__(self, host: MappedHost) -> None:
        self.host = host
        self.height = 22
        self._parts: list[Element] = []
        self._tags = tags(host)
        self._colors = {guest: f"g{number % _COLORS}" for number, guest in enumerate(self._tags)}
        self._guests = {guest.id: guest for guest in host.guests}
        self._add(label(PAD, self.height, host.name, "name"))
        if host.reason:
            for line in textwrap.wrap(f"not read: {reason_of(host)}", 72)[:4]:
                self._line(line, "bad")
        else:
            self._add(label(WIDTH - PAD, self.height, host_words(host), "dim end"))
            self._line(f"memory beside huge pages: {free_words(host)}", "dim")
        for cell in host.cells:
            self._cell(cell)
        for device in host.devices:
            self._device(device)
        self._seated()
        self._crowd([guest for guest in host.guests if guest.id not in self._tags])
        self.height += PAD

    @property
    def drawn(self) -> Element:
        """The whole card."""
        frame = rect(0.5, 0.5, WIDTH - 1, self.height - 1, "card", rx="6")
        return node("g", frame, *self._parts, id=f"host-{self.host.name}", **{"class": "host-card"})

    def _add(self, *parts: Element) -> None:
        self._parts += parts

    def _line(self, text: str, class_: str = "") -> None:
        self.height += LINE
        self._add(label(PAD, self.height, text, class_))

    # -- cells

    def _cell(self, cell: MappedCell) -> None:
        self.height += 6
        self._line(f"cell {cell.id}" + (f", socket {cell.socket}" if cell.socket is not None else ""))
        self.height += 4
        for first in range(0, len(cell.cores), _CORES):
            cores = cell.cores[first : first + _CORES]
            for column, core in enumerate(cores):
                for row, cpu in enumerate(core):
                    x, y = PAD + column * _CORE, self.height + row * _TILE_HEIGHT
                    self._add(self._cpu(cpu, x, y))
            self.height += max(map(len, cores)) * _TILE_HEIGHT + 4
        for pages in cell.pages:
            self._pages(pages)

    def _cpu(self, cpu: MappedCpu, x: float, y: float) -> Element:
        there = sorted({seat.guest for seat in cpu.seats})
        told = "; ".join(f"{self._name(seat.guest)}, {seat_words(seat)}" for seat in cpu.seats)
        if cpu.use is Use.KEPT or not there:
            kind, (mark, use) = cpu.use.value, USES[cpu.use]
            told = told or use
        elif len(there) > 1:
            kind, mark = "several", SEVERAL[0]
        else:
            kind = " ".join([self._colors[there[0]], self._guests[there[0]].news.value]).strip()
            mark = self._tags[there[0]] + _seat_mark(cpu)
        written = label(x + _TILE / 2, y + 9.5, mark, "tag")
        title = node("title", f"CPU {cpu.id}: {told}")
        return group(f"cpu {kind}", title, rect(x, y, _TILE, _TILE_HEIGHT), written)

    def _pages(self, pages: MappedPages) -> None:
        size = format_size(pages.page)
        self.height += LINE
        self._add(label(PAD, self.height, size, "dim"))
        portions = [(self._colors[part.guest], part.amount, self._name(part.guest)) for part in pages.taken]
        portions += [("others", pages.others, "the host and guests of no cell"), ("free", pages.free, "free")]
        bars, x = [], float(PAD + 40)
        for kind, amount, whose in portions:
            width = round(_BAR * amount / pages.size, 2)
            if amount:
                title = node("title", f"{about_size(amount)} in pages of {size}: {whose}")
                bars.append(node("g", title, rect(round(x, 2), self.height - 9, width, 10, kind)))
                x += width
        free = f"{about_size(pages.free)} of {about_size(pages.size)} free"
        self._add(group("pages", *bars), label(PAD + 50 + _BAR, self.height, free, "dim"))

    def _device(self, device: MappedDevice) -> None:
        where = "" if device.cell is None else f" at cell {device.cell}"
        has = self._name(device.guest) if device.guest else "free"
        self._line(f"{name_of(device.address)}  {name_of(device.model)}{where}: {has}", "dim")

    # -- guests

    def _name(self, guest: str) -> str:
        return name_of(guest.partition("/")[2])

    def _seated(self) -> None:
        """Those that have a letter, one below the other."""
        self.height += 4
        seats = guest_seats(self.host)
        for guest in self.host.guests:
            if guest.id in self._tags:
                self.height += LINE
                y = self.height
                told = ", ".join(filter(None, [_told(guest), seats.get(guest.id)]))
                swatch = group(
                    f"cpu {self._colors[guest.id]}",
                    rect(PAD, y - 10, _TILE, _TILE_HEIGHT),
                    label(PAD + _TILE / 2, y - 0.5, self._tags[guest.id], "tag"),
                )
                words = label(WIDTH - PAD, y, f"{size_words([guest])}{state_words(guest)}", "dim end")
                self._add(_guest(guest, PAD + _TILE + 6, y, told, swatch, words))

    def _crowd(self, guests: list[MappedGuest]) -> None:
        """Those that have none, side by side."""
        each = (WIDTH - 2 * PAD) // 2
        for number, guest in enumerate(guests):
            self.height += 0 if number % 2 else LINE
            self._add(_guest(guest, PAD + number % 2 * each, self.height, _told(guest)))


def _guest(guest: MappedGuest, x: float, y: float, told: str, *more: Element) -> Element:
    mark = NEWS[guest.news][0].strip()
    name = name_of(guest.name)
    shown = name if len(name) <= _NAME else name[: _NAME - 1] + "\u2026"
    parts = [node("title", told), *more]
    parts += [label(x, y, mark, "mark")] if mark else []
    parts.append(label(x + 9, y, shown, "" if guest.managed and guest.running else "dim"))
    kind = f"guest {guest.news}".strip()
    return node("g", *parts, **{"class": kind, "data-guest": safe_text(guest.id)})


def _told(guest: MappedGuest) -> str:
    news = f", {NEWS[guest.news][1]}" if guest.news else ""
    return f"{name_of(guest.name)}: {size_words([guest])}{state_words(guest)}{news}"


def _seat_mark(cpu: MappedCpu) -> str:
    seat = cpu.seats[0]
    letter = {Role.EMULATOR: "E", Role.IO_THREAD: "I"}.get(seat.role, "")
    return f"{letter}{'' if seat.number is None else seat.number}"
