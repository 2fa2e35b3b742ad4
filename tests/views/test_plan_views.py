"""A plan for people: folded when it is long, and as Markdown that is never longer than it may be."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import islice, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kvmdecl.plan import Action, Impact, PlannedGate, PlannedLimit, Rollout, Wave
from kvmdecl.views.folding import folded
from kvmdecl.views.plan_json import render_plan_json
from kvmdecl.views.plan_markdown import MAX_BYTES, render_markdown
from kvmdecl.views.plan_text import MAX_LINES, render_plan
from tests.views.plans import HOSTILE, finding, hostile, large, managed, plan_of, review, step

SIZES = [(1, 1), (200, 1), (200, 200), (20_000, 300), (20_000, 20_000)]


@pytest.mark.parametrize(("number", "kinds"), SIZES)
def test_a_long_plan_is_folded_to_a_screen_and_expands_to_each_step(number: int, kinds: int):
    plan = large(number, kinds)

    assert len(render_plan(plan, color=False).splitlines()) <= MAX_LINES
    listed = re.findall(r"^  [-+~=] domain +(\S+)", render_plan(plan, color=False, expand=True), re.MULTILINE)
    assert sorted(listed) == sorted(each.address.name for each in plan.steps)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(Impact), st.sampled_from(Action)), max_size=30))
@settings(max_examples=100, deadline=None)
def test_each_step_is_in_one_fold_with_those_that_do_the_same(said: list[tuple[int, Impact, Action]]):
    steps = [
        step(f"vm-{n}", f"kvm-{n % 3}", before=str(before), impact=impact, action=action)
        for n, (before, impact, action) in enumerate(said)
    ]

    folds = folded(steps)

    together = [each for fold in folds for each in fold.steps]
    assert sorted(together, key=lambda s: s.address) == sorted(steps, key=lambda s: s.address)
    for fold in folds:
        assert len({(s.action, s.impact, *((c.before, c.after) for c in s.changes)) for s in fold.steps}) == 1
    dangers = [fold.first.impact for fold in folds if fold.first.impact >= Impact.RESTART]
    assert dangers == sorted(dangers, reverse=True)
    assert all(fold.first.impact < Impact.RESTART for fold in folds[len(dangers) :])


def test_guests_whose_volumes_have_their_names_are_folded():
    texts = [f"{name}.root.qcow2" for name in ("web-1", "web-2")]
    folds = folded(step(text.split(".")[0], before=text) for text in texts)
    assert len(folds) == 1
    assert len(folded([step("web-1", before="web-1.a"), step("web-2", before="web-1.a")])) == 2


def test_what_loses_data_is_shown_whatever_else_there_is():
    many = [step(f"vm-{n}", f"kvm-{n % 40}", before=str(n)) for n in range(20_000)]
    plan = plan_of(*many, step("db", impact=Impact.DATA_LOSS), silent=300)

    lines = render_plan(plan, color=False).splitlines()

    assert len(lines) <= MAX_LINES
    assert any("db on kvm-1" in line and "data-loss" in line for line in lines[:5])
    assert any("and 295 more  unreachable" in line for line in lines)
    assert (
        sum(int(n.replace(",", "")) for n in re.findall(r"and (\d+) further steps", "\n".join(lines)))
        > 19_000
    )


@pytest.mark.parametrize(("number", "kinds"), SIZES)
def test_markdown_is_never_longer_than_it_may_be(number: int, kinds: int):
    plan = replace(large(number, kinds), warnings=tuple(finding(n) for n in range(100)))

    for most in (8_000, MAX_BYTES) if number < 20_000 else (MAX_BYTES,):
        text = render_markdown(plan, max_bytes=most)
        assert len(text.encode()) <= most
        assert text.startswith("<!-- kvmdecl:plan:edge -->\n### kvmdecl plan · `edge` · ")
        assert "**100 warnings**" in text
        assert text.endswith(f"Plan `{plan.digest}` of `edge`, manifest `ffffffffffff`.\n")
        assert ("Left out" in text) == (number > 200 or (number == 200 and most == 8_000))


def test_markdown_tells_gates_and_how_near_the_plan_comes_to_limits():
    text = render_markdown(review())
    assert (
        "After each wave, before the next:\n\n- `running  within 2m`\n"
        "- ``tcp  port `443`  of web-1 web-4  for 30s, within 2m``\n\n"
        "Limits: `restarts.total` 3 of 3 · `restarts.host` `on kvm-2` 2 of 2 · `deletes.total` 1 of 10"
        " · `migrations.total` 3 of 50\n"
    ) in text
    assert text.count("```mermaid\nflowchart LR\n") == 1


def test_a_summary_of_everything_at_once_has_room_in_the_shortest_comment():
    name = "\u202e" * 40
    gate = PlannedGate("command", {"argv": (name,) * 9}, (name,) * 9, 1, 1, 1)
    waves = tuple(Wave("w" * 63, ("kvm-1",)) for _ in range(40))
    limits = tuple(PlannedLimit(f"restarts.label.{'l' * 40}", "100%", f" on {name}", 1, 1) for _ in range(40))
    steps = [step(f"{'x' * 60}-{n}", before=str(n), impact=Impact(n % 8)) for n in range(300)]
    plan = replace(plan_of(*steps, silent=9), rollout=Rollout(waves, 1, 1, (gate,) * 40), limits=limits)

    plan = replace(plan, warnings=tuple(finding(n, summary=name * 9) for n in range(1, 40)))
    text = render_markdown(plan, max_bytes=8_000)

    assert len(text.encode()) <= 8_000
    assert "and 35 further gates" in text
    assert "and 32 more" in text


@given(st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=5).map("".join), st.sampled_from(HOSTILE))
@settings(max_examples=100, deadline=None)
def test_a_name_is_no_mention_link_or_html(name: str, other: str):
    plan = plan_of(
        step(name, before=other, impact=Impact.RESTART), step(other, "kvm-2", action=Action.DELETE)
    )

    holds_nothing_but_text(render_markdown(replace(plan, warnings=(finding(1, summary=name + other),))))


def test_500_hostile_names_are_no_mention_link_or_html():
    names = [f"{one}{other}" for one, other in islice(product(HOSTILE, HOSTILE), 500)]
    plan = replace(hostile(names), cluster="edge")  # the name of which is within an HTML comment of ours

    plan = replace(plan, warnings=tuple(finding(1, summary=name) for name in names))
    text = render_markdown(plan, max_bytes=10_000_000)

    assert "Left out" not in text
    holds_nothing_but_text(text)


def holds_nothing_but_text(text: str) -> None:
    """Read as GitHub reads it, it has no mention, no link and no HTML but ours."""
    parsed = MarkdownIt("commonmark").enable("table").parse(text)
    parts = [part for token in parsed for part in (token, *(token.children or ()))]
    html = [part.content for part in parts if part.type in {"html_block", "html_inline"}]
    ours = re.compile(
        r"<!-- kvmdecl:plan:edge -->|before and after|</?details>|</?summary>|</?code>|kvm-\d|(?: ·|,) \d+ to \w+|\s"
    )
    assert ours.sub("", "".join(html)) == ""
    said = " ".join(part.content for part in parts if part.type == "text")
    assert not re.search(r"[@#<>]|GH-|https?:|evil|octocat", said.replace("####", ""))
    assert not any(part.type in {"link_open", "image"} for part in parts)


PROGRAM = """
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from kvmdecl.diagnostics import Diagnostic, Span
from kvmdecl.views import plan_html, plan_json, plan_markdown, plan_text, sarif, topology_graph, topology_svg
from kvmdecl.views.annotations import render_annotations, render_summary
from kvmdecl.views.code_quality import render_code_quality
from kvmdecl.views.findings_html import render_findings_html
from kvmdecl.views.findings_markdown import render_findings_markdown
from kvmdecl.views.junit import render_junit
found = [Diagnostic("test.code", f"it is {n}", Span("vms.yaml", n, 1, n, 2)) for n in range(1, 41)]
how = {"read_line": lambda path, number: f"{path} has line {number}"}
for text in (
    sarif.render_sarif(found), render_annotations(found), render_summary(found, "kvmdecl"), render_code_quality(found),
    render_junit(found), render_findings_markdown(found, "validate", "vms.yaml", max_bytes=60_000, **how),
    render_findings_html(found, "validate", "vms.yaml", **how),
):
    print(sha256(text.encode()).hexdigest())
for path in sys.argv[1:]:
    plan = replace(plan_json.read_plan(Path(path)), warnings=tuple(found))
    for text in (
        plan_text.render_plan(plan, color=False), plan_markdown.render_markdown(plan),
        plan_html.render_html(plan), topology_svg.render_svg(plan), topology_graph.render_dot(plan),
        topology_graph.render_mermaid(plan), plan_json.render_plan_json(plan),
    ):
        print(sha256(text.encode()).hexdigest())
"""


@pytest.fixture
def saved(tmp_path: Path) -> list[str]:
    """Plans as files."""
    paths = [tmp_path / "review.json", tmp_path / "large.json"]
    for path, plan in zip(paths, (review(), large(300, 70)), strict=True):
        path.write_text(render_plan_json(plan))
    return [str(path) for path in paths]


def outputs(number: int, saved: list[str], folder: Path) -> str:
    """The digests of all formats, from a process that has another seed of hashes, time zone, locale and folder."""
    zone = ("UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati")[number % 4]
    env = {**os.environ, "PYTHONHASHSEED": str(number), "TZ": zone, "LC_ALL": ("C", "C.UTF-8")[number % 2]}
    where = folder / str(number)
    where.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *saved],
        env=env,
        cwd=where,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_same_plan_is_the_same_bytes_in_any_process(saved: list[str], tmp_path: Path):
    assert len({outputs(number, saved, tmp_path) for number in range(4)}) == 1


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_the_same_plan_is_the_same_bytes_in_a_hundred_processes(saved: list[str], tmp_path: Path):
    assert len({outputs(number, saved, tmp_path) for number in range(100)}) == 1


# -- what a cluster manager does ---------------------------------------------------------------------------


def test_a_plan_tells_what_becomes_of_each_guest_now_and_when_a_host_is_lost():
    lines = render_plan(managed(6, 3), color=False).splitlines()

    begin = lines.index("    its guests: 1 stop, 1 migrate, 1 restart, 1 live, 1 none, 1 start")
    assert [line.split()[0] for line in lines[begin + 1 : begin + 5]] == ["vm-5", "vm-3", "vm-4", "vm-2"]
    begin = lines.index("If any host is lost:")
    assert lines[begin + 1 : begin + 4] == [
        "  without  vm    from    to",
        "  kvm-00   vm-0  kvm-00  nowhere",
        "  kvm-00   vm-3  kvm-00  kvm-02",
    ]
    assert lines[begin + 8] == (
        "  all but those of best effort run again: vm-0 may stay down, says Pacemaker 2.1.5,"
        " and the rules of placement agree"
    )


@pytest.mark.parametrize(("vms", "hosts"), [(200, 16), (1_000, 32)])
def test_where_vms_are_many_each_loss_is_a_line_unless_all_are_asked_for(vms: int, hosts: int):
    plan = managed(vms, hosts)

    text = render_plan(plan, color=False)

    table = text[text.index("If any host is lost:") :].splitlines()
    assert table[1].split() == ["without", "vms", "go", "to", "stay", "down"]
    assert table[2].split()[0] == "kvm-00"  # with the one that stays down
    assert table[2].split()[-1] == "vm-0"
    assert len(text.splitlines()) <= MAX_LINES
    assert (f"and {hosts - 16} further losses" in text) == (hosts > 16)
    whole = render_plan(plan, color=False, expand=True)
    assert len(re.findall(r"^  kvm-\d\d +vm-", whole, re.MULTILINE)) == vms


@pytest.mark.parametrize(
    ("vms", "hosts", "steps", "most", "table", "left_out"),
    [
        (6, 3, 1, MAX_BYTES, "vm-3", ""),
        (200, 16, 1, MAX_BYTES, "vm-199", ""),
        (2_000, 16, 1, MAX_BYTES, "kvm-01   125", ""),
        (2_000, 16, 200, 12_000, "kvm-01   125", "Left out for length: "),
        (200, 16, 200, 8_000, "", "where vms go when hosts are lost"),
    ],
)
def test_the_table_of_losses_is_folded_first_and_left_out_after_the_hosts(
    vms: int, hosts: int, steps: int, most: int, table: str, left_out: str
):
    plan = managed(vms, hosts, large(steps, steps), long=0 if table else 60)

    text = render_markdown(plan, max_bytes=most)

    assert len(text.encode()) <= most
    assert "What `pacemaker` does to its guests: **1 stop** `vm-5` · **1 migrate** `vm-3`" in text
    assert "If any host is lost: `all but those of best effort run again: vm-0 may stay down" in text
    assert table in text.partition("<summary>If any host is lost</summary>")[2] or not table
    assert ("<summary>If any host is lost</summary>" in text) == bool(table)
    assert left_out in text
    assert ("Left out" in text) == bool(left_out)
