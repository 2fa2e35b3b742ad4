"""Who sits where as a picture in one file: SVG alone, or a page with an SVG for each host. No scripts, nothing loaded.

What a thing is, its colour, its letter and its tooltip say all. The same map is the same bytes.
"""

from __future__ import annotations

import html
import textwrap
from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl.hostmap import News, Role, Use
from kvmdecl.libvirt_xml.build import node
from kvmdecl.names import about_size, format_size
from kvmdecl.text import safe_text
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

_WIDTH = 424  # of a host's card, in px; what follows is in px, too
_PAD, _GAP, _LINE = 12, 16, 14
_COLUMNS = 3
_TILE, _TILE_HEIGHT, _CORE = 22, 13, 25
_CORES = 16  # in a line
_BAR = 200
_LEGEND = 2 * _WIDTH + _GAP
_NAME = 28  # characters of a name that are shown
_COLORS = 8

_STYLE = """\
text{font-size:10px;font-family:system-ui,sans-serif;fill:#1f2328}
.name{font-size:14px;font-weight:600}.dim{fill:#59636e}.bad{fill:#b42318}
.tag{font-size:8px;font-family:ui-monospace,monospace;text-anchor:middle}.end{text-anchor:end}
.card{fill:#fff;stroke:#8c959f}:target .card{stroke:#0969da;stroke-width:3}
.cpu rect,.pages rect,.swatch rect{stroke:#8c959f;stroke-width:.6}
.free rect,rect.free{fill:#fff}.shared rect{fill:#dfe7ef}.host rect,rect.others{fill:#a8b1bb}
.kept rect{fill:#fff;stroke-dasharray:2 2}.several rect{fill:#1f2328}.several text{fill:#fff}
.g0 rect,rect.g0{fill:#9fd3f5}.g1 rect,rect.g1{fill:#f6cf8b}.g2 rect,rect.g2{fill:#8fdcc0}.g3 rect,rect.g3{fill:#f3e98a}
.g4 rect,rect.g4{fill:#a3b8ee}.g5 rect,rect.g5{fill:#f4b393}.g6 rect,rect.g6{fill:#e6b8d4}.g7 rect,rect.g7{fill:#cfd8a0}
.new rect{stroke:#1a7f37;stroke-width:1.6}.moved rect{stroke:#bc4c00;stroke-width:1.6;stroke-dasharray:3 1}
.new .mark{fill:#1a7f37;font-weight:700}.moved .mark{fill:#bc4c00;font-weight:700}
"""
_PAGE_STYLE = """\
body{margin:16px;font:14px system-ui,sans-serif;color:#1f2328;background:#f6f8fa}h1{font-size:20px}
nav{columns:9em;margin:12px 0}nav a{display:block;color:#0969da}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(424px,1fr));gap:16px;align-items:start}
svg{width:100%;max-width:640px;height:auto;display:block}header svg{max-width:1000px}
@media print{nav{display:none}body{background:#fff}section{break-inside:avoid}}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_svg(hosts: HostMap) -> str:
    """One SVG: the legend, then a card for each host, each in the column that is shortest so far."""
    lines = [_title(hosts), *_notes(hosts)]
    head = [_text(_PAD, 24 + n * _LINE, line, "dim" if n else "name") for n, line in enumerate(lines)]
    top = 34 + _LINE * len(lines)
    columns = [top + 10] * max(1, min(_COLUMNS, len(hosts.hosts)))
    parts = [*head, _moved(_legend(), _PAD, top - 20)]
    for card in map(_Card, hosts.hosts):
        column = columns.index(min(columns))
        parts.append(_moved(card.drawn, _PAD + column * (_WIDTH + _GAP), columns[column]))
        columns[column] += card.height + _GAP
    width = max(_LEGEND, 2 * _PAD + len(columns) * (_WIDTH + _GAP) - _GAP)
    return _svg(width, max(columns), _title(hosts), node("style", _STYLE), *parts) + "\n"


def render_html(hosts: HostMap) -> str:
    """One page: the legend, links to the hosts, and an SVG for each."""
    title = html.escape(_title(hosts))
    notes = "".join(f"<p>{html.escape(line)}</p>\n" for line in _notes(hosts))
    links = "".join(f'<a href="#host-{host.name}">{host.name}</a>\n' for host in hosts.hosts)
    cards = "".join(
        f"<section>{_svg(_WIDTH, card.height, card.host.name, card.drawn)}</section>\n"
        for card in map(_Card, hosts.hosts)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>\n<title>{title}</title>\n'
        f"<style>\n{_STYLE}{_PAGE_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{notes}"
        f"<header>{_svg(_LEGEND, 20, 'legend', _legend())}</header>\n<nav>\n{links}</nav>\n<main>\n{cards}</main>\n"
        "</body>\n</html>\n"
    )


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
        tile = _group(kind, _rect(0, 2, _TILE, _TILE_HEIGHT), _text(_TILE / 2, 11.5, mark, "tag"))
        drawn.append(_moved(_group("cpu", tile), x, 0))
        drawn.append(_text(x + _TILE + 4, 12, words, "dim"))
        x += _TILE + 14 + 5 * len(words)
    return _group("legend", *drawn)


class _Card:
    """A host, drawn from the top down."""

    def __init__(self, host: MappedHost) -> None:
        self.host = host
        self.height = 22
        self._parts: list[Element] = []
        self._tags = tags(host)
        self._colors = {guest: f"g{number % _COLORS}" for number, guest in enumerate(self._tags)}
        self._guests = {guest.id: guest for guest in host.guests}
        self._add(_text(_PAD, self.height, host.name, "name"))
        if host.reason:
            for line in textwrap.wrap(f"not read: {reason_of(host)}", 72)[:4]:
                self._line(line, "bad")
        else:
            self._add(_text(_WIDTH - _PAD, self.height, host_words(host), "dim end"))
            self._line(f"memory beside huge pages: {free_words(host)}", "dim")
        for cell in host.cells:
            self._cell(cell)
        for device in host.devices:
            self._device(device)
        self._seated()
        self._crowd([guest for guest in host.guests if guest.id not in self._tags])
        self.height += _PAD

    @property
    def drawn(self) -> Element:
        """The whole card."""
        frame = _rect(0.5, 0.5, _WIDTH - 1, self.height - 1, "card", rx="6")
        return node("g", frame, *self._parts, id=f"host-{self.host.name}", **{"class": "host-card"})

    def _add(self, *parts: Element) -> None:
        self._parts += parts

    def _line(self, text: str, class_: str = "") -> None:
        self.height += _LINE
        self._add(_text(_PAD, self.height, text, class_))

    # -- cells

    def _cell(self, cell: MappedCell) -> None:
        self.height += 6
        self._line(f"cell {cell.id}" + (f", socket {cell.socket}" if cell.socket is not None else ""))
        self.height += 4
        for first in range(0, len(cell.cores), _CORES):
            cores = cell.cores[first : first + _CORES]
            for column, core in enumerate(cores):
                for row, cpu in enumerate(core):
                    x, y = _PAD + column * _CORE, self.height + row * _TILE_HEIGHT
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
        label = _text(x + _TILE / 2, y + 9.5, mark, "tag")
        title = node("title", f"CPU {cpu.id}: {told}")
        return _group(f"cpu {kind}", title, _rect(x, y, _TILE, _TILE_HEIGHT), label)

    def _pages(self, pages: MappedPages) -> None:
        size = format_size(pages.page)
        self.height += _LINE
        self._add(_text(_PAD, self.height, size, "dim"))
        portions = [(self._colors[part.guest], part.amount, self._name(part.guest)) for part in pages.taken]
        portions += [("others", pages.others, "the host and guests of no cell"), ("free", pages.free, "free")]
        bars, x = [], float(_PAD + 40)
        for kind, amount, whose in portions:
            width = round(_BAR * amount / pages.size, 2)
            if amount:
                title = node("title", f"{about_size(amount)} in pages of {size}: {whose}")
                bars.append(node("g", title, _rect(round(x, 2), self.height - 9, width, 10, kind)))
                x += width
        free = f"{about_size(pages.free)} of {about_size(pages.size)} free"
        self._add(_group("pages", *bars), _text(_PAD + 50 + _BAR, self.height, free, "dim"))

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
                self.height += _LINE
                y = self.height
                told = ", ".join(filter(None, [_told(guest), seats.get(guest.id)]))
                swatch = _group(
                    f"cpu {self._colors[guest.id]}",
                    _rect(_PAD, y - 10, _TILE, _TILE_HEIGHT),
                    _text(_PAD + _TILE / 2, y - 0.5, self._tags[guest.id], "tag"),
                )
                words = _text(_WIDTH - _PAD, y, f"{size_words([guest])}{state_words(guest)}", "dim end")
                self._add(_guest(guest, _PAD + _TILE + 6, y, told, swatch, words))

    def _crowd(self, guests: list[MappedGuest]) -> None:
        """Those that have none, side by side."""
        each = (_WIDTH - 2 * _PAD) // 2
        for number, guest in enumerate(guests):
            self.height += 0 if number % 2 else _LINE
            self._add(_guest(guest, _PAD + number % 2 * each, self.height, _told(guest)))


def _guest(guest: MappedGuest, x: float, y: float, told: str, *more: Element) -> Element:
    mark = NEWS[guest.news][0].strip()
    name = name_of(guest.name)
    shown = name if len(name) <= _NAME else name[: _NAME - 1] + "\u2026"
    parts = [node("title", told), *more]
    parts += [_text(x, y, mark, "mark")] if mark else []
    parts.append(_text(x + 9, y, shown, "" if guest.managed and guest.running else "dim"))
    kind = f"guest {guest.news}".strip()
    return node("g", *parts, **{"class": kind, "data-guest": safe_text(guest.id)})


def _told(guest: MappedGuest) -> str:
    news = f", {NEWS[guest.news][1]}" if guest.news else ""
    return f"{name_of(guest.name)}: {size_words([guest])}{state_words(guest)}{news}"


def _seat_mark(cpu: MappedCpu) -> str:
    seat = cpu.seats[0]
    letter = {Role.EMULATOR: "E", Role.IO_THREAD: "I"}.get(seat.role, "")
    return f"{letter}{'' if seat.number is None else seat.number}"


# -- shapes ----------------------------------------------------------------------------------------------------


def _svg(width: float, height: float, title: str, *parts: Element) -> str:
    size = {"width": f"{width:g}", "height": f"{height:g}", "viewBox": f"0 0 {width:g} {height:g}"}
    root = node("svg", node("title", title), *parts, xmlns="http://www.w3.org/2000/svg", role="img", **size)
    return etree.tostring(root, encoding="unicode")


def _group(class_: str, *parts: Element) -> Element:
    return node("g", *parts, **{"class": class_})


def _moved(element: Element, x: float, y: float) -> Element:
    return node("g", element, transform=f"translate({x:g} {y:g})")


def _rect(x: float, y: float, width: float, height: float, class_: str = "", **more: str) -> Element:
    place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return node("rect", **place, **more, **{"class": class_ or None})


def _text(x: float, y: float, text: str, class_: str = "") -> Element:
    return node("text", text, x=f"{x:g}", y=f"{y:g}", **{"class": class_ or None})
