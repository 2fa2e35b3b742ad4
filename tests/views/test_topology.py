"""Who is where before and after a plan, as SVG, dot and Mermaid: whole, readable, quiet, and the same every time."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice, product
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.plan import Action, HostStatus, Impact, Plan, PlannedGuest, PlannedHost
from kvmdecl.tasks import MoveDomain
from kvmdecl.views.topology import Fate, Topology, topology
from kvmdecl.views.topology_graph import MOST_TEXT, render_dot, render_mermaid
from kvmdecl.views.topology_svg import render_svg
from tests.views.plans import HOSTILE, plan_of, review, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmdecl.plan import Step

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return review()


def places(found: Topology) -> dict[str, list[str]]:
    return {
        " ".join(filter(None, [host.name, group.label])): [
            f"{tile.fate.mark}{tile.name}" for tile in group.tiles
        ]
        for host in found.hosts
        for group in host.groups
    }


def test_each_vm_is_at_its_cells_with_what_befalls_it_and_where_it_was(plan: Plan):
    assert places(topology(plan)) == {
        "kvm-1 cell 0": ["!db-1"],
        "kvm-1 cell 1": [],
        "kvm-1 any cell": ["<web-5", "api-1", "web-1"],
        "kvm-2 cell 0": ["!queue"],
        "kvm-2 cell 1": ["!db-2", "<queue"],
        "kvm-2 any cell": ["<web-6", "api-2", "web-2"],
        "kvm-3": ["-legacy", "+search", "~api-3", "<cache", "web-3"],
        "kvm-4": [">cache", ">web-5", ">web-6", "~api-4", "~mail", "web-4"],
    }


def test_arrows_lead_from_where_vms_were(plan: Plan):
    found = topology(plan)
    names = {tile.id: tile for host in found.hosts for group in host.groups for tile in group.tiles}
    told = {
        names[arrow.source].name: (names[arrow.source].fate, names[arrow.target].fate)
        for arrow in found.arrows
    }
    assert told == {
        "web-5": (Fate.LEAVES, Fate.MOVES), "web-6": (Fate.LEAVES, Fate.MOVES),
        "cache": (Fate.LEAVES, Fate.MOVES), "queue": (Fate.LEAVES, Fate.RESTARTS),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("action", "impact", "fate"),
    [
        (Action.CREATE, Impact.NONE, Fate.NEW),
        (Action.ADOPT, Impact.METADATA, Fate.ADOPTED),
        (Action.UPDATE, Impact.LIVE, Fate.CHANGES),
        (Action.UPDATE, Impact.RESTART, Fate.RESTARTS),
        (Action.UPDATE, Impact.DOWNTIME, Fate.STOPS),
        (Action.UPDATE, Impact.DATA_LOSS, Fate.LOST),
        (Action.DELETE, Impact.DOWNTIME, Fate.GONE),
        (Action.DELETE, Impact.DATA_LOSS, Fate.LOST),
    ],
)
def test_the_fate_of_a_vm_is_the_worst_that_its_steps_do(action: Action, impact: Impact, fate: Fate):
    assert topology(plan_of(step("web", action=action, impact=impact))).fates == (fate,)


def test_what_is_blocked_or_unknown_is_not_as_it_was():
    silent = PlannedHost(
        "kvm-2", "", HostStatus.UNREACHABLE, "no answer", ("kvm-2/domain/far", "kvm-2/pool/p")
    )
    guests = (PlannedGuest("kvm-1", "stuck", 1, 1 << 30), PlannedGuest("kvm-1", "web", 1, 1 << 30))
    plan = replace(
        plan_of(step("web")), guests=guests, blocked=(Diagnostic("a.b", "x", subject="kvm-1/domain/stuck"),)
    )
    found = topology(replace(plan, hosts=(*plan.hosts, silent)))
    assert places(found) == {"kvm-1": ["xstuck", "~web"], "kvm-2": ["?far"]}
    assert found.hosts[1].reason == "no answer"


def cluster(hosts: int, each: int, changed: int = 0, *, moved: int = 0) -> Plan:
    """So many vms on each host; the first of each change, and the first of all came from the next host."""
    guests = [PlannedGuest(f"kvm-{n}", f"web-{n}-{i}", 2, 2 << 30) for n in range(hosts) for i in range(each)]
    steps = [step(guest.name, guest.host) for guest in guests if int(guest.name.rpartition("-")[2]) < changed]
    hosts_ = tuple(PlannedHost(f"kvm-{n}", "", HostStatus.OK) for n in range(hosts))
    steps[:moved] = [moved_here(guest, hosts) for guest in guests[:moved]]
    return replace(plan_of(*steps), hosts=hosts_, guests=tuple(guests))


def moved_here(guest: PlannedGuest, hosts: int) -> Step:
    source = f"kvm-{(int(guest.host.removeprefix('kvm-')) + 1) % hosts}"
    task = MoveDomain(
        guest.name, "", source, "", "", live=True, power="keep", autostart=True, cluster="", revision=""
    )
    made = step(guest.name, guest.host, action=Action.MOVE, impact=Impact.MIGRATE)
    return replace(made, task=task)


@pytest.mark.parametrize(
    ("plan", "hosts", "tiles"),
    [
        (cluster(50, 10, 1), 50, 500),
        (cluster(50, 40, 1), 50, 50),
        (replace(cluster(200, 10, 1), steps=cluster(200, 1, 1).steps[:7]), 7, 7),
        (cluster(100, 20, 20), 100, 100),
    ],
)
def test_many_vms_are_drawn_in_less_detail_and_all_are_counted(plan: Plan, hosts: int, tiles: int):
    found = topology(plan)
    assert (len(found.hosts), sum(len(g.tiles) for h in found.hosts for g in h.groups)) == (hosts, tiles)
    assert found.title == f"edge: {len(plan.hosts)} hosts, {len(plan.guests)} vms"
    counted = sum(int(n) for n in re.findall(r"(\d+) (?:change|as they are)", found.notes[0]))
    assert counted == len(plan.guests)


def test_500_vms_neither_overlap_nor_leave_the_picture():
    root = etree.fromstring(render_svg(cluster(50, 10, 2, moved=60)).encode())
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    boxes = []
    for rect in root.iterfind(f".//{SVG}g[@data-guest]/{SVG}rect"):
        x, y = (float(rect.get(name, "")) for name in "xy")
        for outer in rect.iterancestors(f"{SVG}g"):
            if shift := re.fullmatch(r"translate\((\S+) (\S+)\)", outer.get("transform", "")):
                x, y = x + float(shift[1]), y + float(shift[2])
        boxes.append((x, y, x + float(rect.get("width", "")), y + float(rect.get("height", ""))))
    assert len(boxes) == 560
    assert len(set(boxes)) == len(boxes)
    assert max(box[2] for box in boxes) < width
    assert max(box[3] for box in boxes) < height
    rows: dict[float, list[tuple[float, float]]] = {}
    for x1, y1, x2, _ in boxes:
        rows.setdefault(y1, []).append((x1, x2))
    assert all(
        one[1] < other[0]
        for row in rows.values()
        for one, other in zip(sorted(row), sorted(row)[1:], strict=False)
    )
    ends = [
        float(n) for path in root.iter(f"{SVG}path") for n in re.findall(r"[ M](-?[\d.]+)", path.get("d", ""))
    ]
    assert 0 <= min(ends) <= max(ends) <= max(width, height)


def test_where_many_move_an_arrow_stands_for_all_between_two_hosts():
    root = etree.fromstring(render_svg(cluster(4, 9, moved=20)).encode())
    arrows = root.findall(f".//{SVG}g[@class='arrow']")
    assert [arrow.findtext(f"{SVG}text") for arrow in arrows] == ["9", "9", "2"]
    assert arrows[2].findtext(f"{SVG}title") == "web-2-0, web-2-1"


@pytest.mark.parametrize("plan", [cluster(100, 20, 20), cluster(3, 400, 400, moved=900), cluster(700, 1, 1)])
def test_mermaid_is_never_more_than_github_draws(plan: Plan):
    for most in (2_000, MOST_TEXT):
        text = render_mermaid(plan, most)
        assert len(text) <= most
        assert text.count("-->") < 500
    assert len(render_mermaid(plan, MOST_TEXT)) > 500


# -- hostile text ----------------------------------------------------------------------------------------------


def hostile() -> Plan:
    names = list(islice(dict.fromkeys(f"{one}{other}" for one, other in product(HOSTILE, HOSTILE)), 500))
    guests = tuple(
        PlannedGuest(f"kvm-{n % 9}{names[n % 9]}", name, 1, 1 << 30, (n % 2,), (n % 2,))
        for n, name in enumerate(names)
    )
    hosts = tuple(
        PlannedHost(name, "", HostStatus.OK, cells=(0, 1)) for name in dict.fromkeys(g.host for g in guests)
    )
    steps = [
        step(guest.name, guest.host, before=guest.name, impact=Impact(n % 8))
        for n, guest in enumerate(guests)
    ]
    return replace(plan_of(*steps), cluster=names[0], hosts=hosts, guests=guests)


def test_a_hostile_name_is_text_in_svg_and_nothing_else():
    text = render_svg(hostile())
    root = etree.fromstring(text.encode())
    assert {etree.QName(element).localname for element in root.iter()} == {
        "svg", "g", "rect", "text", "title", "style"
    }  # fmt: skip
    assert {name for element in root.iter() for name in element.attrib} == {
        "width", "height", "viewBox", "role", "class", "x", "y", "rx", "transform", "data-guest"
    }  # fmt: skip
    assert not re.search(r"url\(|@import", "".join(root.itertext(f"{SVG}style")))


TEXT = r'"(?:[^"\\\n]|\\.)*"'
ATTRIBUTES = rf"\[\w+=(?:{TEXT}|\w+)(?:, \w+=(?:{TEXT}|\w+))*\]"
DOT = re.compile(rf"digraph plan {{|subgraph cluster_\w+ {{|}}|(?:graph|node|edge|[nhs][\w]+) {ATTRIBUTES};"
                 rf"|n\d+ -> n\d+ {ATTRIBUTES};|label={TEXT};")  # fmt: skip
SAFE = r'"(?:[A-Za-z0-9 ._,:/-]|#\d+;)*"'
MERMAID = re.compile(rf"flowchart LR|subgraph h\w+\[{SAFE}\]|end|\w+\[{SAFE}\](?::::\w+)?|n\d+ -->(?:\|{SAFE}\|)? n\d+"
                     r"|classDef \w+ [a-z:#0-9,\- ]+")  # fmt: skip


@pytest.mark.parametrize(
    ("render", "line"), [(render_dot, DOT), (render_mermaid, MERMAID)], ids=["dot", "mermaid"]
)
def test_a_hostile_name_is_text_in_graphs_and_nothing_else(
    render: Callable[[Plan], str], line: re.Pattern[str]
):
    for plan in (hostile(), review(), cluster(3, 4, 2, moved=2), cluster(700, 1, 1)):
        assert not [each for each in render(plan).splitlines() if not line.fullmatch(each.strip())]
