"""What a plan does to which vm, as text that other programs draw: Graphviz (dot), and Mermaid as GitHub and GitLab do.

Names are text in both, whatever is in them: no name ends a label, or begins an attribute, a link, HTML or a directive.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmdecl.views.plan_text import count
from kvmdecl.views.topology import Arrow, DrawnHost, Fate, Group, Tile, Topology, topologies, topology

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmdecl.plan import Plan

MOST_TEXT = 40_000
"""Characters of a Mermaid diagram; GitHub draws none that has more than 50,000, or more than 500 arrows."""
_MOST_ARROWS = 400
_LEAST_NODE = 20  # characters
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 ._,:/-]")
_COLORS = {
    Fate.LOST: ("#b42318", "#7a1209"), Fate.GONE: ("#ffd9d4", "#b42318"), Fate.STOPS: ("#ffd1a8", "#bc4c00"),
    Fate.RESTARTS: ("#ffd1a8", "#bc4c00"), Fate.MOVES: ("#cfe3ff", "#0969da"), Fate.BLOCKED: ("#f1d5f5", "#8250df"),
    Fate.NEW: ("#c9f0d3", "#1a7f37"), Fate.CHANGES: ("#fdf0b5", "#9a6700"), Fate.ADOPTED: ("#c9f0d3", "#1a7f37"),
    Fate.LEAVES: ("#ffffff", "#0969da"), Fate.UNKNOWN: ("#e2e5e9", "#59636e"), Fate.SAME: ("#ffffff", "#8c959f"),
}  # fmt: skip
_DASHED = frozenset({Fate.LEAVES, Fate.UNKNOWN, Fate.ADOPTED})


# -- Graphviz --------------------------------------------------------------------------------------------------


def render_dot(plan: Plan) -> str:
    """The map as a graph in the DOT language: a cluster for each host and cell, a node for each vm."""
    found = topology(plan)
    lines = [
        "digraph plan {",
        f"  graph [label={_dot_text(', '.join((found.title, *found.notes)))}, labelloc=t, rankdir=LR, compound=true];",
        '  graph [fontname="sans-serif"];',
        '  node [shape=box, style=filled, fontname="sans-serif", fontsize=11, fontcolor="#1f2328"];',
        '  edge [color="#0969da", fontname="sans-serif", fontsize=10];',
    ]
    for number, host in enumerate(found.hosts):
        lines += (f"  {line}" for line in _dot_host(host, number))
    for arrow in found.arrows:
        words = f", label={_dot_text(count(arrow.count, 'vm'))}" if arrow.count > 1 else ""
        lines.append(f"  n{arrow.source} -> n{arrow.target} [tooltip={_dot_text(arrow.told)}{words}];")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_host(host: DrawnHost, number: int) -> Iterator[str]:
    yield f"subgraph cluster_{number} {{"
    yield f"  label={_dot_text(_host_words(host))};"
    yield f"  h{number} [style=invis, shape=point];"  # a host without vms is drawn, too
    for part, group in enumerate(host.groups):
        nodes = [*map(_dot_node, group.tiles), *_dot_same(group, f"s{number}_{part}")]
        if group.label:
            nodes = nodes or [f"s{number}_{part} [style=invis, shape=point];"]
            yield f"  subgraph cluster_{number}_{part} {{"
            yield f"    label={_dot_text(group.label)};"
            yield from (f"    {node}" for node in nodes)
            yield "  }"
        else:
            yield from (f"  {node}" for node in nodes)
    yield "}"


def _dot_node(tile: Tile) -> str:
    fill, line = _COLORS[tile.fate]
    style = ', style="filled,dashed"' if tile.fate in _DASHED else ""
    text = ', fontcolor="#ffffff"' if tile.fate is Fate.LOST else ""
    words = f"label={_dot_text(_tile_words(tile))}, tooltip={_dot_text(tile.told)}"
    return f'n{tile.id} [{words}, fillcolor="{fill}", color="{line}"{style}{text}];'


def _dot_same(group: Group, id_: str) -> Iterator[str]:
    if group.same:
        yield f"{id_} [label={_dot_text(_same_words(group))}, style=dotted];"


def _dot_text(text: str) -> str:
    """A quoted string in which backslashes mean nothing: what DOT reads as a label, not as HTML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# -- Mermaid ---------------------------------------------------------------------------------------------------


def render_mermaid(plan: Plan, most: int = MOST_TEXT) -> str:
    """The map as a flowchart, in as much detail as `most` characters have room for."""
    for found in topologies(plan):
        if found.tiles * _LEAST_NODE <= most and len(found.arrows) <= _MOST_ARROWS:
            text = _mermaid(found, found.hosts)
            if len(text) <= most:
                return text
    return _shortened(found, most)


def _shortened(found: Topology, most: int) -> str:
    """As many hosts as there is room for, and how many more there are."""
    shown = len(found.hosts)
    while shown and len(text := _mermaid(found, found.hosts[:shown])) > most:
        shown = min(shown - 1, shown * most // len(text))
    return text


def _mermaid(found: Topology, hosts: Sequence[DrawnHost]) -> str:
    shown = {tile.id for host in hosts for group in host.groups for tile in group.tiles}
    lines = ["flowchart LR"]
    for number, host in enumerate(hosts):
        lines += (f"  {line}" for line in _mermaid_host(host, number))
    if left := len(found.hosts) - len(hosts):
        lines.append(f"  more[{_mermaid_text(f'and {left} more hosts')}]")
    arrows = [arrow for arrow in found.arrows if {arrow.source, arrow.target} <= shown]
    lines += map(_mermaid_arrow, arrows[:_MOST_ARROWS])
    lines += map(_mermaid_class, found.fates)
    return "\n".join(lines) + "\n"


def _mermaid_class(fate: Fate) -> str:
    fill, line = _COLORS[fate]
    dashes = ",stroke-dasharray:3 2" if fate in _DASHED else ""
    ink = "#ffffff" if fate is Fate.LOST else "#1f2328"
    return f"  classDef {fate.name.lower()} fill:{fill},stroke:{line},color:{ink}{dashes}"


def _mermaid_host(host: DrawnHost, number: int) -> Iterator[str]:
    yield f"subgraph h{number}[{_mermaid_text(_host_words(host))}]"
    drawn = False
    for part, group in enumerate(host.groups):
        nodes = [f"n{t.id}[{_mermaid_text(_tile_words(t))}]:::{t.fate.name.lower()}" for t in group.tiles]
        nodes += [f"s{number}x{part}[{_mermaid_text(_same_words(group))}]"] if group.same else []
        if nodes and group.label:
            yield f"  subgraph h{number}c{part}[{_mermaid_text(group.label)}]"
            yield from (f"    {node}" for node in nodes)
            yield "  end"
        else:
            yield from (f"  {node}" for node in nodes)
        drawn = drawn or bool(nodes)
    if not drawn:
        yield f"  s{number}[{_mermaid_text('no vms')}]"
    yield "end"


def _mermaid_arrow(arrow: Arrow) -> str:
    words = f"|{_mermaid_text(count(arrow.count, 'vm'))}|" if arrow.count > 1 else ""
    return f"  n{arrow.source} -->{words} n{arrow.target}"


def _mermaid_text(text: str) -> str:
    """A quoted text in which everything but letters, digits and the plainest signs is written by its number."""
    return f'"{_NOT_PLAIN.sub(lambda char: f"#{ord(char[0])};", text)}"'


# -- words -----------------------------------------------------------------------------------------------------


def _host_words(host: DrawnHost) -> str:
    return f"{host.name}, not read" if host.reason else host.name


def _tile_words(tile: Tile) -> str:
    return tile.name if tile.fate is Fate.SAME else f"{tile.name}: {tile.fate}"


def _same_words(group: Group) -> str:
    return f"{count(group.same, 'vm')} as before"
