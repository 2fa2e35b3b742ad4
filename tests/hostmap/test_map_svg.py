"""The map as a picture: well-formed, whole, quiet, and the same every time."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from kvmdecl.views.map_svg import render_html, render_svg
from tests.hostmap.support import DB, DB_PLACE, TRAIN, TRAIN_PLACE, host, mapped, stranger
from tests.placement.support import silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmdecl.hostmap import HostMap

SVG = "{http://www.w3.org/2000/svg}"
PLACES = {"train": TRAIN_PLACE, "db": DB_PLACE}
HOSTILE = "</title><script>alert(1)</script><a href='//x' onclick=\"y\">&lt;\x1b[2J\ud800\uffff]]>"


def demo(name: str = "old") -> HostMap:
    where = {"web-1": "kvm-1", "web-2": "kvm-2", "web-3": "kvm-3"}
    seen = {"kvm_1": host("kvm-1", stranger(name, "3,11")), "kvm_3": silent("kvm-3")}
    return mapped(
        TRAIN, DB, "web: {count: 3}", where=where, places=PLACES, hosts=3, undecided=("lost",), **seen
    )


def parsed(text: str) -> etree._Element:
    return etree.fromstring(text.encode())


def guests(root: etree._Element) -> list[str]:
    return [group.get("data-guest") for group in root.iter(f"{SVG}g") if group.get("data-guest")]


both = pytest.mark.parametrize("render", [render_svg, render_html])


@both
def test_each_host_and_each_guest_is_there_once(render: Callable[[HostMap], str]):
    root = parsed(render(demo()))
    hosts = [group.get("id") for group in root.iter(f"{SVG}g") if group.get("id")]
    assert hosts == ["host-kvm-1", "host-kvm-2", "host-kvm-3"]
    vms = ["vm/db", "vm/train", "vm/web-1", "vm/web-2", "vm/web-3"]
    assert sorted(guests(root)) == ["domain/old", *vms]


def test_each_cpu_says_who_sits_on_it():
    root = parsed(render_svg(demo()))
    told = [title.text for title in root.iter(f"{SVG}title") if (title.text or "").startswith("CPU ")]
    assert len(told) == 2 * 16
    assert {
        "CPU 1: train, vCPU 0", "CPU 7: db, emulator", "CPU 13: db, alone on its core", "CPU 3: old, pinned"
    } <= set(told)  # fmt: skip
    assert Counter(told)["CPU 0: the host's"] == 2


def test_each_pool_of_pages_says_who_has_it():
    root = parsed(render_svg(demo()))
    told = [title.text for title in root.iter(f"{SVG}title") if " in pages of " in (title.text or "")]
    assert "4GiB in pages of 2MiB: train" in told
    assert "4GiB in pages of 2MiB: free" in told


@both
@pytest.mark.parametrize("parser", [etree.XMLParser(), etree.HTMLParser()], ids=["xml", "html"])
def test_a_hostile_name_is_text_and_nothing_else(render: Callable[[HostMap], str], parser: etree.XMLParser):
    harmless, shown = render(demo()), render(demo(HOSTILE))
    assert "\x1b" not in shown
    root = etree.fromstring(shown.encode(), parser)
    assert [(element.tag, sorted(element.attrib)) for element in root.iter()] == [
        (element.tag, sorted(element.attrib))
        for element in etree.fromstring(harmless.encode(), parser).iter()
    ]
    assert any("alert(1)" in guest for guest in root.xpath("//@data-guest"))


@both
def test_it_loads_nothing_and_runs_nothing(render: Callable[[HostMap], str]):
    shown = render(demo(HOSTILE))
    assert not re.search(r"<(script|link|img|image|iframe|use|foreignObject|object)\b", shown)
    assert not re.search(r"@import|url\(", shown)
    root = parsed(shown)
    links = [
        value for element in root.iter() for name, value in element.attrib.items() if name.endswith("href")
    ]
    assert all(link.startswith("#host-") for link in links)
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on")]


@both
def test_the_same_map_is_the_same_picture(render: Callable[[HostMap], str]):
    assert render(demo()) == render(demo())


def test_links_of_the_page_lead_to_its_hosts():
    root = parsed(render_html(demo()))
    ids = {f"#{element.get('id')}" for element in root.iter() if element.get("id")}
    assert {element.get("href") for element in root.iter("a")} == ids


def test_500_vms_on_50_hosts_neither_overlap_nor_leave_the_picture():
    where = {f"web-{n}": f"kvm-{1 + n % 50}" for n in range(1, 501)}
    root = parsed(render_svg(mapped("web: {count: 500}", where=where, hosts=50)))
    assert len(guests(root)) == 500
    boxes = []
    for card in (group for group in root.iter(f"{SVG}g") if (group.get("id") or "").startswith("host-")):
        x, y = map(float, card.getparent().get("transform")[len("translate(") : -1].split())
        frame = card.find(f"{SVG}rect")
        boxes.append((x, y, x + float(frame.get("width")), y + float(frame.get("height"))))
        names = [text for text in card.iter(f"{SVG}text") if text.text.startswith("web-")]
        places = [(float(text.get("x")), float(text.get("y"))) for text in names]
        assert len(set(places)) == len(places) == 10
        assert all(py < float(frame.get("height")) for _, py in places)
    assert max(box[2] for box in boxes) <= float(root.get("width"))
    assert max(box[3] for box in boxes) <= float(root.get("height"))
    assert not [
        (one, other)
        for n, one in enumerate(boxes)
        for other in boxes[n + 1 :]
        if one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    ]
