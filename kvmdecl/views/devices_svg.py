"""Devices of hosts as a picture in one file: a card for each host, a line for each device, groups in colours.

What is pointed at says all that is known of it. The same devices are the same bytes.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from kvmdecl.devicemap import Verdict
from kvmdecl.libvirt_xml.build import node
from kvmdecl.text import safe_text
from kvmdecl.views.devices_words import MARKS, head_words, other_mdev_rows, pci_rows, usb_rows
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
from kvmdecl.views.plan_text import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.devicemap import DeviceMap, MappedDevices
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.views.devices_words import Row

_MARK, _GROUP, _INDENT = 14, 34, 10  # px
_CHARACTER = 5.2  # px, of the font on the average
_COLORS = 8

_STYLE = """\
.mark rect,.iommu rect{stroke:#8c959f;stroke-width:.6;fill:#fff}.tree{stroke:#c9d1d9;fill:none}
.free .mark rect{fill:#8fdcc0}.maybe .mark rect{fill:#f3e98a}.taken .mark rect{fill:#9fd3f5}
.host .mark rect{fill:#a8b1bb}.never .mark rect{fill:#fff;stroke:none}
.g0 rect{fill:#cfe8f8}.g1 rect{fill:#fae5c3}.g2 rect{fill:#c7eddf}.g3 rect{fill:#f8f3c4}
.g4 rect{fill:#d0dbf6}.g5 rect{fill:#f9d9c9}.g6 rect{fill:#f2dbe9}.g7 rect{fill:#e6ebcf}
"""


def render_svg(devices: DeviceMap) -> str:
    """One SVG: the legend, then a card for each host, each in the column that is shortest so far."""
    return svg_sheet(_sheet(devices))


def render_html(devices: DeviceMap) -> str:
    """One page: the legend, links to the hosts, and an SVG for each."""
    return html_page(_sheet(devices))


def _sheet(devices: DeviceMap) -> Sheet:
    of = f"{devices.cluster}: " if devices.cluster else ""
    title = f"{of}devices of {count(len(devices.hosts), 'host')}"
    return Sheet(title, (), _legend(), tuple(_Drawn(host).card for host in devices.hosts), _STYLE)


def _legend() -> Element:
    drawn, x = [], 0.0
    for verdict, (mark, words) in MARKS.items():
        if words:
            drawn.append(moved(group(verdict.value, _mark(mark, 12)), x, 0))
            drawn.append(label(x + _MARK + 4, 12, words, "dim"))
            x += _MARK + 16 + _CHARACTER * len(words)
    return group("legend", *drawn)


def _mark(mark: str, y: float) -> Element:
    box = rect(0, y - 10, _MARK - 2, 12)
    return group("mark", box, label(_MARK / 2 - 1, y - 1, mark.strip(), "tag"))


class _Drawn:
    """A host, drawn from the top down."""

    def __init__(self, host: MappedDevices) -> None:
        self._height = 22.0
        self._name = safe_text(host.host)  # without a manifest that of a file
        self._parts: list[Element] = [label(PAD, self._height, self._name, "name")]
        self._shades = _shades(host)
        if host.reason:
            told = f"not read: {safe_text(host.reason.removeprefix(f'{host.host}: '))}"
            for line in textwrap.wrap(told, 72)[:4]:
                self._line(line, "bad")
        else:
            self._line(head_words(host), "dim")
        self._section("", pci_rows(host))
        self._section("mediated devices", other_mdev_rows(host))
        self._section("USB", usb_rows(host))
        self._height += PAD

    @property
    def card(self) -> Card:
        """The whole card."""
        frame = rect(0.5, 0.5, WIDTH - 1, self._height - 1, "card", rx="6")
        drawn = node("g", frame, *self._parts, id=f"host-{self._name}", **{"class": "host-card"})
        return Card(self._name, self._height, drawn)

    def _line(self, text: str, class_: str = "", x: float = PAD) -> None:
        self._height += LINE
        self._parts.append(label(x, self._height, _cut(text, x), class_))

    def _section(self, title: str, rows: Iterable[Row]) -> None:
        ports: dict[int, float] = {}
        for number, row in enumerate(rows):
            if not number and title:
                self._height += 4
                self._line(title, "dim")
            self._row(row, ports)

    def _row(self, row: Row, ports: dict[int, float]) -> None:
        """A device; lines lead to what is above it in the tree."""
        self._height += LINE
        y = self._height
        x = PAD + _MARK + _GROUP + _INDENT * row.depth
        tip = node("title", "; ".join(filter(None, [f"{row.name} {row.told}", row.tip])))
        parts = [tip, moved(_mark(MARKS[row.verdict][0], y), PAD, 0)]
        if row.group:
            box = rect(PAD + _MARK, y - 10, _GROUP - 6, 12)
            tag = label(PAD + _MARK + (_GROUP - 6) / 2, y - 1, row.group, "tag")
            parts.append(group(f"iommu {self._shades.get(row.group, '')}".strip(), box, tag))
        if row.depth and (above := ports.get(row.depth - 1)) is not None:
            left = x - _INDENT + 3
            self._parts.append(
                node("path", d=f"M{left:g} {above + 3:g}V{y - 4:g}H{x - 2:g}", **{"class": "tree"})
            )
        ports[row.depth] = y
        parts.append(
            label(x, y, _cut(f"{row.name}  {row.what}", x), "" if row.verdict is not Verdict.NEVER else "dim")
        )
        if row.says and row.verdict is not Verdict.NEVER:
            self._height += LINE
            parts.append(label(x + _INDENT, self._height, _cut(row.says, x + _INDENT), "dim"))
        self._parts.append(group(f"device {row.verdict.value}", *parts))


def _shades(host: MappedDevices) -> Mapping[str, str]:
    """A colour for each group that has more than one member; what is alone needs none."""
    shared = [str(number) for number, members in host.groups if len(members) > 1]
    return {number: f"g{index % _COLORS}" for index, number in enumerate(shared)}


def _cut(text: str, x: float) -> str:
    most = int((WIDTH - PAD - x) / _CHARACTER)
    return text if len(text) <= most else text[: max(1, most - 1)] + "\u2026"
