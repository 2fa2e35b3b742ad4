"""Pictures of hosts in one file: SVG alone, or a page with an SVG for each host. No scripts, nothing loaded.

The same values are the same bytes.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl.libvirt_xml.build import node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmdecl.libvirt_xml.safe import Element

WIDTH = 424
"""Of a host's card, in px, as everything here."""
PAD, GAP, LINE = 12, 16, 14
BELOW = 50
_COLUMNS = 3
_LEGEND = 2 * WIDTH + GAP

STYLE = """\
text{font-size:10px;font-family:system-ui,sans-serif;fill:#1f2328}
.name{font-size:14px;font-weight:600}.dim{fill:#59636e}.bad{fill:#b42318}
.tag{font-size:8px;font-family:ui-monospace,monospace;text-anchor:middle}.end{text-anchor:end}
.card{fill:#fff;stroke:#8c959f}:target .card{stroke:#0969da;stroke-width:3}
"""
"""CSS of names, lines and cards."""
_PAGE_STYLE = """\
body{margin:16px;font:14px system-ui,sans-serif;color:#1f2328;background:#f6f8fa}h1{font-size:20px}
nav{columns:9em;margin:12px 0}nav a{display:block;color:#0969da}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(424px,1fr));gap:16px;align-items:start}
svg{width:100%;max-width:640px;height:auto;display:block}header svg{max-width:1000px}
@media print{nav{display:none}body{background:#fff}section{break-inside:avoid}}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Card:
    """A host, drawn: `WIDTH` wide, `height` high. The element's id is `host-NAME`."""

    host: str
    height: float
    drawn: Element


@dataclass(frozen=True, slots=True)
class Sheet:
    """A picture: what it is called, what there is to say besides, the legend, a card for each host.

    `style` is CSS for what the cards are made of, beside that of names, lines and cards.
    """

    title: str
    notes: tuple[str, ...]
    legend: Element
    cards: tuple[Card, ...]
    style: str


def svg_sheet(sheet: Sheet, *first: Element, over: Sequence[Element] = ()) -> str:
    """One SVG: the legend, then the cards, each in the column that is shortest so far.

    `first` is drawn before all else, `over` after it, at places of the sheet and at most `BELOW` below its cards.
    """
    return _as_text(drawn_sheet(sheet, node("style", STYLE + sheet.style), *first, over=over))


def drawn_sheet(sheet: Sheet, *first: Element, over: Sequence[Element] = ()) -> Element:
    """That SVG without its style."""
    lines = [sheet.title, *sheet.notes]
    head = [label(PAD, 24 + n * LINE, line, "dim" if n else "name") for n, line in enumerate(lines)]
    parts = [*head, moved(sheet.legend, PAD, _top(sheet) - 20)]
    corners = corners_of(sheet)
    parts += [moved(card.drawn, x, y) for card, (x, y) in zip(sheet.cards, corners, strict=True)]
    width = max(_LEGEND, *(x + WIDTH + PAD for x, _ in corners), 0)
    height = max(
        [_top(sheet) + 10.0, *(y + c.height + GAP for c, (_, y) in zip(sheet.cards, corners, strict=True))]
    )
    return drawing(width, height + BELOW * bool(over), sheet.title, *first, *parts, *over)


def corners_of(sheet: Sheet) -> tuple[tuple[float, float], ...]:
    """Where the cards are: the left upper corner of each."""
    columns = [_top(sheet) + 10.0] * max(1, min(_COLUMNS, len(sheet.cards)))
    corners = []
    for card in sheet.cards:
        column = columns.index(min(columns))
        corners.append((float(PAD + column * (WIDTH + GAP)), columns[column]))
        columns[column] += card.height + GAP
    return tuple(corners)


def _top(sheet: Sheet) -> int:
    return 34 + LINE * (1 + len(sheet.notes))


def html_page(sheet: Sheet) -> str:
    """One page: the legend, links to the hosts, and an SVG for each."""
    title = html.escape(sheet.title)
    notes = "".join(f"<p>{html.escape(line)}</p>\n" for line in sheet.notes)
    names = [html.escape(card.host) for card in sheet.cards]
    links = "".join(f'<a href="#host-{name}">{name}</a>\n' for name in names)
    cards = "".join(
        f"<section>{svg(WIDTH, card.height, card.host, card.drawn)}</section>\n" for card in sheet.cards
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>\n<title>{title}</title>\n'
        f"<style>\n{STYLE}{sheet.style}{_PAGE_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{notes}"
        f"<header>{svg(_LEGEND, 20, 'legend', sheet.legend)}</header>\n<nav>\n{links}</nav>\n<main>\n{cards}</main>\n"
        "</body>\n</html>\n"
    )


# -- shapes ----------------------------------------------------------------------------------------------------


def svg(width: float, height: float, title: str, *parts: Element) -> str:
    """A whole picture; `title` is what it is called."""
    return _as_text(drawing(width, height, title, *parts)).rstrip()


def drawing(width: float, height: float, title: str, *parts: Element) -> Element:
    """That picture as an element."""
    size = {"width": f"{width:g}", "height": f"{height:g}", "viewBox": f"0 0 {width:g} {height:g}"}
    return node("svg", node("title", title), *parts, xmlns="http://www.w3.org/2000/svg", role="img", **size)


def _as_text(picture: Element) -> str:
    return etree.tostring(picture, encoding="unicode") + "\n"


def group(class_: str, *parts: Element) -> Element:
    """Elements together, of one class."""
    return node("g", *parts, **{"class": class_})


def moved(element: Element, x: float, y: float) -> Element:
    """An element at another place."""
    return node("g", element, transform=f"translate({x:g} {y:g})")


def rect(x: float, y: float, width: float, height: float, class_: str = "", **more: str) -> Element:
    """A rectangle."""
    place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return node("rect", **place, **more, **{"class": class_ or None})


def label(x: float, y: float, text: str, class_: str = "") -> Element:
    """A line of text; `y` is that of its baseline."""
    return node("text", text, x=f"{x:g}", y=f"{y:g}", **{"class": class_ or None})
