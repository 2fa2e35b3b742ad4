"""What a plan does to which vm, as a picture in one file: hosts with their NUMA cells, before and after in one.

A mark, a frame, a colour and a tooltip say what befalls a vm; arrows lead from where vms were. No scripts, nothing
loaded. The same plan is the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.text import listed, safe_text
from kvmdecl.views.drawing import (
    BELOW,
    LINE,
    PAD,
    STYLE,
    WIDTH,
    Card,
    Sheet,
    corners_of,
    drawn_sheet,
    group,
    label,
    moved,
    rect,
    svg_sheet,
)
from kvmdecl.views.plan_text import count
from kvmdecl.views.topology import Arrow, DrawnHost, Fate, Group, Tile, Topology, topology

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.plan import Plan

    _Places = Mapping[int, tuple[float, float]]

_COLUMNS, _TILE, _HEIGHT, _SPACE = 3, 126, 18, 5
_LETTERS = 18  # of a name that are shown
_REASON = 76
_MOST_ARROWS = 12  # of more, those from host to host are one
_CLASSES = {fate: f"fate-{fate.name.lower()}" for fate in Fate}

PICTURE_STYLE = """\
.tile rect{fill:#fff;stroke:#8c959f;stroke-width:.8}.tile .sign{font-weight:700;font-family:ui-monospace,monospace}
.fate-lost rect{fill:#b42318;stroke:#7a1209;stroke-width:2}.fate-lost text{fill:#fff}
.fate-gone rect{fill:#ffd9d4;stroke:#b42318}.fate-gone text{fill:#7a1209;text-decoration:line-through}
.fate-stops rect,.fate-restarts rect{fill:#ffd1a8;stroke:#bc4c00;stroke-width:1.6}
.fate-moves rect{fill:#cfe3ff;stroke:#0969da;stroke-width:1.6}
.fate-leaves rect{fill:none;stroke:#0969da;stroke-dasharray:3 2}
.fate-blocked rect{fill:#f1d5f5;stroke:#8250df;stroke-width:1.6}
.fate-new rect{fill:#c9f0d3;stroke:#1a7f37;stroke-width:1.6}.fate-changes rect{fill:#fdf0b5;stroke:#9a6700}
.fate-adopted rect{fill:#c9f0d3;stroke:#1a7f37;stroke-dasharray:3 2}
.fate-unknown rect{fill:#e2e5e9;stroke-dasharray:1 2}
.fate-same text{fill:#59636e}.cell rect{fill:#f6f8fa;stroke:#d1d9e0}.paper{fill:#fff}
.arrow path{fill:none;stroke:#0969da;stroke-width:1.4;opacity:.6}.arrow polygon{fill:#0969da}
.arrow text{fill:#0969da;font-weight:700;paint-order:stroke;stroke:#fff;stroke-width:3px}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.dim,.fate-same text{fill:#9aa4af}.bad{fill:#ff8f85}
.card{fill:#161b22;stroke:#59636e}.cell rect{fill:#0d1117;stroke:#3d444d}.paper{fill:#0d1117}
.tile rect{fill:#161b22;stroke:#6e7781}.fate-lost rect{fill:#b42318;stroke:#ff8f85}
.fate-gone rect{fill:#3c1614;stroke:#ff8f85}.fate-gone text{fill:#ffb4ad}
.fate-stops rect,.fate-restarts rect{fill:#4a2a0a;stroke:#f0a35b}.fate-moves rect{fill:#0c2d57;stroke:#6cb0ff}
.fate-leaves rect{fill:none;stroke:#6cb0ff}.fate-blocked rect{fill:#35193b;stroke:#c9a0f5}
.fate-new rect,.fate-adopted rect{fill:#12351f;stroke:#5fcf7d}.fate-changes rect{fill:#3a3210;stroke:#d4b106}
.fate-unknown rect{fill:#30363d}.arrow path{stroke:#6cb0ff}.arrow polygon,.arrow text{fill:#6cb0ff}
.arrow text{stroke:#0d1117}}
"""
"""CSS of the picture, beside `drawing.STYLE`."""


def render_svg(plan: Plan) -> str:
    """One SVG with its style."""
    sheet, arrows = _sheet(topology(plan))
    paper = rect(0, 0, 0, 0, "paper")
    paper.set("width", "100%")
    paper.set("height", "100%")
    return svg_sheet(sheet, paper, over=arrows)


def picture(plan: Plan) -> Element:
    """The same for a page that has the style."""
    sheet, arrows = _sheet(topology(plan))
    return drawn_sheet(sheet, over=arrows)


def picture_style() -> str:
    """CSS that a page with pictures needs."""
    return STYLE + PICTURE_STYLE


def _sheet(found: Topology) -> tuple[Sheet, list[Element]]:
    drawn = [_Card(host) for host in found.hosts]
    cards = tuple(Card(card.host.name, card.height, card.drawn) for card in drawn)
    sheet = Sheet(found.title, found.notes, _legend(found), cards, PICTURE_STYLE)
    places = {
        id_: (x + left, y + top)
        for card, (left, top) in zip(drawn, corners_of(sheet), strict=True)
        for id_, (x, y) in card.places.items()
    }
    arrows = found.arrows if len(found.arrows) <= _MOST_ARROWS else _bundled(found)
    return sheet, [_arrow(arrow, places) for arrow in arrows]


def _bundled(found: Topology) -> Iterator[Arrow]:
    """One arrow from each host to each, from the first tile to the first, for all vms between them."""
    host = {t.id: n for n, each in enumerate(found.hosts) for group in each.groups for t in group.tiles}
    between: dict[tuple[int, int], list[Arrow]] = {}
    for arrow in found.arrows:
        between.setdefault((host[arrow.source], host[arrow.target]), []).append(arrow)
    for arrows in between.values():
        told = listed([arrow.told for arrow in arrows])
        yield Arrow(arrows[0].source, arrows[0].target, sum(arrow.count for arrow in arrows), told)


def _legend(found: Topology) -> Element:
    drawn, x = [], 0
    for fate in found.fates:
        parts = [rect(0, 2, 20, 13, rx="3"), label(10, 12, fate.mark, "sign tag")]
        drawn.append(moved(group(f"tile {_CLASSES[fate]}", *parts), x, 0))
        drawn.append(label(x + 24, 12, fate.value, "dim"))
        x += 38 + 5 * len(fate.value)
    return group("legend", *drawn)


class _Card:
    """A host, drawn from the top down. `places` are the left upper corners of its tiles by their ids."""

    def __init__(self, host: DrawnHost) -> None:
        self.host = host
        self.height = 22.0
        self.places: dict[int, tuple[float, float]] = {}
        self._parts = [label(PAD, self.height, _cut(host.name, 28), "name")]
        if host.reason:
            self._line(_cut(f"not read: {host.reason}", _REASON), "bad")
        self._line(_cut(host.words, _REASON), "dim")
        for each in host.groups:
            self._group(each)
        self.height += PAD

    @property
    def drawn(self) -> Element:
        """The whole card."""
        frame = rect(0.5, 0.5, WIDTH - 1, self.height - 1, "card", rx="6")
        return node("g", node("title", self.host.name), frame, *self._parts)

    def _line(self, text: str, class_: str) -> None:
        self.height += LINE
        self._parts.append(label(PAD, self.height, text, class_))

    def _group(self, each: Group) -> None:
        top = self.height + 6
        self.height = top
        tiles: list[Element] = []
        if each.label:
            self.height += LINE
            tiles.append(label(PAD + 6, self.height, each.label, "dim"))
            self.height += 4
        for number, tile in enumerate(each.tiles):
            column, row = number % _COLUMNS, number // _COLUMNS
            place = PAD + 6 + column * (_TILE + _SPACE), self.height + row * (_HEIGHT + _SPACE)
            self.places[tile.id] = place
            tiles.append(_tile(tile, *place))
        self.height += -(-len(each.tiles) // _COLUMNS) * (_HEIGHT + _SPACE)
        if each.same:
            self.height += LINE
            tiles.append(label(PAD + 6, self.height - 2, f"and {count(each.same, 'vm')} as before", "dim"))
        self.height += 4
        if each.label:
            frame = rect(PAD, top, WIDTH - 2 * PAD, self.height - top, rx="4")
            self._parts.append(group("cell", frame))
        self._parts += tiles


def _tile(tile: Tile, x: float, y: float) -> Element:
    parts = [node("title", tile.told), rect(x, y, _TILE, _HEIGHT, rx="3")]
    if tile.fate.mark:
        parts.append(label(x + 5, y + 12.5, tile.fate.mark, "sign"))
    left = 10 + 8 * len(tile.fate.mark) if tile.fate.mark else 6
    parts.append(label(x + left, y + 12.5, _cut(tile.name, _LETTERS)))
    return node("g", *parts, **{"class": f"tile {_CLASSES[tile.fate]}", "data-guest": tile.name})


def _arrow(arrow: Arrow, places: _Places) -> Element:
    """From below a tile, round underneath to below another one; how many vms, where it is more than one."""
    (x1, y1), (x2, y2) = (
        (x + _TILE / 2, y + _HEIGHT) for x, y in (places[arrow.source], places[arrow.target])
    )
    if arrow.source == arrow.target or x1 == x2:
        x1, x2 = x1 + 12, x2 - 12  # so that it is not a line through what is between them
    dip = 24 + min(BELOW, (abs(x2 - x1) + abs(y2 - y1)) / 12)
    path = f"M{x1:g} {y1:g}C{x1:g} {y1 + dip:g} {x2:g} {y2 + 7 + dip:g} {x2:g} {y2 + 7:g}"
    head = f"{x2:g},{y2:g} {x2 - 4:g},{y2 + 7:g} {x2 + 4:g},{y2 + 7:g}"
    parts = [node("title", arrow.told), node("path", d=path), node("polygon", points=head)]
    if arrow.count > 1:
        parts.append(label(x2 + 6, y2 + 12, f"{arrow.count}"))
    return group("arrow", *parts)


def _cut(text: str, most: int) -> str:
    shown = safe_text(text)
    return shown if len(shown) <= most else shown[: most - 1] + "\u2026"
