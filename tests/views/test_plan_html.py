"""A plan as a page: all of it is there, and nothing in it can run, load or lead anywhere else."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice, product

import pytest
from lxml import html

from kvmdecl.diagnostics import Severity
from kvmdecl.plan import Plan, PlannedLimit
from kvmdecl.views.page import policy
from kvmdecl.views.plan_html import render_html
from tests.views.plans import HOSTILE, finding, hostile, large, managed, plan_of, review, step


def parsed(text: str) -> html.HtmlElement:
    return html.document_fromstring(text)


def said(element: html.HtmlElement) -> str:
    return " ".join(" ".join(element.itertext()).split())


@pytest.fixture(scope="module")
def plan() -> Plan:
    return review()


@pytest.fixture(scope="module")
def page(plan: Plan) -> html.HtmlElement:
    return parsed(render_html(replace(plan, warnings=(finding(3),))))


def entries(page: html.HtmlElement) -> list[html.HtmlElement]:
    return page.xpath("//section[@id='changes']//*[contains(@class, 'entry')]")


def test_each_step_is_in_its_wave_at_its_host(page: html.HtmlElement, plan: Plan):
    told = [
        said(part) for part in page.xpath("//section[@id='changes']/*/summary | //section[@id='changes']/h3")
    ]
    assert told == [
        "Wave 1: canary", "kvm-4 2 to change",
        "Wave 2: r1", "kvm-4 1 to move", "kvm-1 1 to change, 1 to move",
        "Wave 3: r2", "kvm-4 1 to move", "kvm-2 2 to change, 1 to move",
        "Wave 4: r3", "kvm-3 2 to create, 1 to change, 1 to move, 1 to delete", "kvm-4 1 to move",
    ]  # fmt: skip
    assert len(entries(page)) == len(plan.steps)


def test_each_change_is_told_with_its_place_in_the_manifest(page: html.HtmlElement, plan: Plan):
    rows = {said(row) for row in page.xpath("//section[@id='changes']//tbody/tr")}
    for change in (change for each in plan.steps for change in each.changes):
        words = [
            change.key,
            change.before,
            change.after,
            change.impact.word,
            change.why,
            change.how,
            str(change.at),
        ]
        assert any(all(word in row for word in words if word) for row in rows), change


def test_what_is_dangerous_comes_first_and_deletions_ask_for_consent(page: html.HtmlElement, plan: Plan):
    rows = [said(row) for row in page.xpath("//section[1]//tbody/tr")]
    assert [row.split()[0] for row in rows] == [
        "deleted",
        "migrate",
        "migrate",
        "migrate",
        "restart",
        "restart",
    ]
    assert rows[4].startswith("restart domain db-1 and 1 more on 2 hosts memory.size 8GiB → 16GiB")
    assert f"--allow-delete kvm-3/domain/legacy@{plan.digest}" in said(page)


def test_limits_and_gates_and_findings_are_told(page: html.HtmlElement):
    limits = [said(row) for row in page.xpath("//section[@id='limits']//tbody/tr")]
    assert [re.sub(r" /\S+/", " ", limit) for limit in limits] == [
        "deletes.total 1 of 10 after.yaml:18:9",
        "restarts.total 3 of 3 after.yaml:18:28",
        "restarts.host on kvm-2 2 of 2 after.yaml:18:37",
        "migrations.total 3 of 50 after.yaml:18:9",
    ]
    assert [said(gate) for gate in page.xpath("//section[@id='rollout']//li")] == [
        "running within 2m", "tcp port `443` of web-1 web-4 for 30s, within 2m"
    ]  # fmt: skip
    assert "warning test.code it is so vms.yaml:3:3 Because. Hint: do not" in said(page)


def test_a_plan_that_cannot_be_carried_out_says_so_first():
    limit = PlannedLimit("data.written", "1GiB", "", 2 << 30, 1 << 30)
    plan = replace(
        plan_of(step("web"), silent=2),
        exceeded=(finding(1, Severity.ERROR),), blocked=(finding(2, Severity.ERROR),), limits=(limit,),
    )  # fmt: skip
    page = parsed(render_html(plan))
    assert [said(alarm) for alarm in page.xpath("//header/p[@class='alarm']")] == [
        "Beyond 1 limit of the manifest: nothing of it can be carried out.",
        "1 object blocked.",
        "2 hosts did not answer and are left alone.",
    ]
    assert said(page.xpath("//tr[@class='beyond']")[0]) == "data.written 2GiB of 1GiB by default"
    assert "gone-1 no answer" in said(page.xpath("//section[@id='unknown']")[0])


def test_what_a_cluster_manager_does_is_told_for_each_vm_and_each_loss():
    plan = managed(12, 4)
    proof = replace(plan.proofs[0], findings=(finding(1, Severity.ERROR),))
    page = parsed(render_html(replace(plan, proofs=(proof,))))
    (section,) = page.xpath("//section[@id='ha']")
    told = said(section)
    assert all(f"vm-{n}" in told for n in range(12))
    assert "If any host is lost" in told
    assert told.count("kvm-00") > 3
    (alarm,) = page.xpath("//header/p[@class='alarm']")
    assert said(alarm).startswith("If any host is lost: ")


@pytest.mark.parametrize(("number", "kinds"), [(1, 1), (200, 1), (600, 90)])
def test_what_is_the_same_is_shown_once_for_a_host_and_nobody_is_left_out(number: int, kinds: int):
    plan = large(number, kinds)
    page = parsed(render_html(plan))
    assert len(entries(page)) < number or number == 1
    told = [text for text in page.xpath("//section[@id='changes']//code/text()") if text.startswith("vm-")]
    assert sorted(told) == sorted(each.address.name for each in plan.steps)
    places = page.xpath("//section[@id='changes']//*[@class='place']/text()")
    assert {str(each.at) for each in plan.steps} <= set(places)


def test_500_hostile_names_are_text_and_nothing_else():
    names = [f"{one}{other}" for one, other in islice(product(HOSTILE, HOSTILE), 500)]
    text = render_html(hostile(names))
    page, harmless = parsed(text), parsed(render_html(hostile([f"x{n}" for n in range(150)])))

    assert not {element.tag for element in page.iter()} - {element.tag for element in harmless.iter()}
    attributes = {(element.tag, *sorted(element.attrib)) for element in page.iter()}
    assert attributes == {(element.tag, *sorted(element.attrib)) for element in harmless.iter()}
    assert "<script>alert(1)</script>" in "".join(page.itertext())


def test_it_runs_nothing_loads_nothing_and_leads_nowhere_else(page: html.HtmlElement):
    tags = {element.tag for element in page.iter()}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "use", "image"}
    assert {name for element in page.iter() for name in element.attrib} <= {
        "lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "title", "open", "scope",
        "xmlns", "role", "width", "height", "viewbox", "x", "y", "rx", "d", "points", "transform", "data-guest",
    }  # fmt: skip
    links = set(page.xpath("//@href"))
    assert links == {f"#{id_}" for id_ in page.xpath("//section/@id")}


def test_its_policy_allows_its_own_style_and_nothing_else(page: html.HtmlElement):
    (style,) = page.xpath("//style/text()")
    assert page.xpath("//meta[@http-equiv]/@content") == [policy(style)]
    assert policy(style).startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search(r"url\(|@import|@font-face|expression", style)
