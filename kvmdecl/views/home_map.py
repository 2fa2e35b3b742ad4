"""Where vms of a cluster manager may run: a table, and a picture in one file. The same values, the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.text import safe_text
from kvmdecl.views.drawing import PAD, STYLE, group, label, rect, svg
from kvmdecl.views.pen import columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.homes import HomeMap, Homes
    from kvmdecl.libvirt_xml.safe import Element

_RUNS, _NEXT, _MAY, _NOT = "runs", "next", "may", "-"
_COLUMN, _ROW, _LETTER = 72, 18, 6.2
_KEY = (
    (_RUNS, "runs there"),
    (_NEXT, "goes there when that host is lost"),
    (_MAY, "may go there, too"),
    (_NOT, "cannot"),
)
_STYLE = """\
.paper{fill:#fff}.band{fill:#f6f8fa}.runs{fill:#1a7f37}.next{fill:none;stroke:#0969da;stroke-width:3}
.may{fill:#8c959f}.mid{text-anchor:middle}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.dim{fill:#9aa4af}.bad{fill:#ff8f85}.paper{fill:#0d1117}
.band{fill:#161b22}.runs{fill:#5fcf7d}.next{stroke:#6cb0ff}.may{fill:#6e7781}}
"""


def render_home_map(found: HomeMap) -> str:
    """As text: a line for each vm, a column for each host, and beside it what keeps hosts from having it."""
    rows = [
        (each.vm, *(_mark(each, host) for host in found.hosts), "; ".join(_notes(each))) for each in found.vms
    ]
    key = ", ".join(f"{mark}: {what}" for mark, what in _KEY)
    return "\n".join(
        [*columns([("", *found.hosts, ""), *rows]), "", safe_text(f"{key}; by {found.manager}"), ""]
    )


def render_home_map_svg(found: HomeMap) -> str:
    """As one SVG with its style: a filled disc where a vm runs, a ring where it goes then, a dot where it may be."""
    left = PAD + _LETTER * max([len(each.vm) for each in found.vms] or [0]) + 12
    top = 78
    width = max(left + _COLUMN * len(found.hosts) + PAD, 540)
    columns = {host: left + _COLUMN * (n + 0.5) for n, host in enumerate(found.hosts)}
    parts = [label(PAD, 24, f"Where vms may run, by {safe_text(found.manager)}", "name"), *_legend(40)]
    parts += [label(x, top - 10, safe_text(host), "mid") for host, x in columns.items()]
    for n, each in enumerate(found.vms):
        y = top + _ROW * n
        parts.append(rect(0, y, width, _ROW, "band" if n % 2 == 0 else "paper"))
        parts.append(label(PAD, y + 12.5, safe_text(each.vm), "bad" if each.down else ""))
        parts += [_drawn(each, host, x, y + _ROW / 2) for host, x in columns.items()]
    height = top + _ROW * len(found.vms) + PAD
    paper = rect(0, 0, width, height, "paper")
    return svg(width, height, "Where vms may run", node("style", STYLE + _STYLE), paper, *parts) + "\n"


def _mark(each: Homes, host: str) -> str:
    if host == each.start:
        return _RUNS
    if host == each.after:
        return _NEXT
    return _NOT if host in each.barred else _MAY


def _notes(each: Homes) -> Iterator[str]:
    if each.down:
        yield f"stays down if {each.start} is lost"
    by_reason: dict[str, list[str]] = {}
    for host, reason in each.barred.items():
        by_reason.setdefault(reason, []).append(host)
    yield from (f"{', '.join(hosts)}: {reason}" for reason, hosts in by_reason.items())


def _drawn(each: Homes, host: str, x: float, y: float) -> Element:
    mark = _mark(each, host)
    said = {_RUNS: "runs on", _NEXT: f"goes, when {each.start} is lost, to", _MAY: "may go to"}
    told = each.barred.get(host, "")
    tip = f"{host}: {told}" if mark == _NOT else f"{each.vm} {said[mark]} {host}"
    return group("home", node("title", safe_text(tip)), *_sign(mark, x, y))


def _sign(mark: str, x: float, y: float) -> Iterator[Element]:
    if mark == _NOT:
        yield label(x, y + 3.5, "-", "mid dim")
        return
    radius = {_RUNS: "6", _NEXT: "5", _MAY: "2"}[mark]
    yield node("circle", cx=f"{x:g}", cy=f"{y:g}", r=radius, **{"class": mark})


def _legend(y: float) -> Iterator[Element]:
    x = float(PAD)
    for mark, what in _KEY:
        yield from _sign(mark, x + 6, y)
        yield label(x + 16, y + 3.5, what, "dim")
        x += 28 + _LETTER * 0.95 * len(what)
