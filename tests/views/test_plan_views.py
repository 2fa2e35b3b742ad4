"""A plan for people: folded when it is long, and as Markdown that is never longer than it may be."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kvmdecl.plan import Action, Impact
from kvmdecl.views.folding import folded
from kvmdecl.views.plan_markdown import MAX_BYTES, render_markdown
from kvmdecl.views.plan_text import MAX_LINES, render_plan
from tests.views.plans import finding, large, plan_of, step

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
    plan, warnings = large(number, kinds), [finding(n) for n in range(100)]

    for most in (8_000, MAX_BYTES) if number < 20_000 else (MAX_BYTES,):
        text = render_markdown(plan, warnings, digest="a" * 64, max_bytes=most)
        assert len(text.encode()) <= most
        assert text.startswith("<!-- kvmdecl:plan:edge -->\n### kvmdecl plan · `edge` · ")
        assert "**100 warnings**" in text
        assert f"sha256:{'a' * 64}" in text
        assert ("Left out" in text) == (number > 200 or (number == 200 and most == 8_000))


HOSTILE = [
    *(
        "@octocat",
        "#1",
        "GH-1",
        "<script>alert(1)</script>",
        "<!-- x",
        "-->",
        "`",
        "``",
        "` @octocat `",
        "|",
        "\\|",
    ),
    *(
        "[x](https://evil.example)",
        "https://evil.example",
        "![x](y)",
        "~~~",
        "```",
        "</details>",
        "</code></pre>",
    ),
    *(
        "*x*",
        "&lt;b&gt;",
        "\n\n@octocat",
        "\u202e@octocat",
        "$(id)",
        "org/repo#1",
        "<a href=x>",
        "\\`@octocat",
    ),
]


@given(st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=5).map("".join), st.sampled_from(HOSTILE))
@settings(max_examples=100, deadline=None)
def test_a_name_is_no_mention_link_or_html(name: str, other: str):
    plan = plan_of(
        step(name, before=other, impact=Impact.RESTART), step(other, "kvm-2", action=Action.DELETE)
    )

    text = render_markdown(plan, [finding(1, summary=name + other)], digest="0" * 64)

    parsed = MarkdownIt("commonmark").enable("table").parse(text)
    parts = [part for token in parsed for part in (token, *(token.children or ()))]
    html = [part.content for part in parts if part.type in {"html_block", "html_inline"}]
    ours = re.compile(r"<!-- kvmdecl:plan:edge -->|</?details>|</?summary>|</?code>|kvm-\d| · \d to \w+|\s")
    assert ours.sub("", "".join(html)) == ""
    said = " ".join(part.content for part in parts if part.type == "text")
    assert not re.search(r"[@#<>]|GH-|https?:|evil|octocat", said.replace("####", ""))
    assert not any(part.type in {"link_open", "image"} for part in parts)


def test_the_same_plan_is_the_same_bytes_in_any_process():
    program = (
        "from tests.views.plans import large, finding\n"
        "from kvmdecl.views.plan_markdown import render_markdown\n"
        "from kvmdecl.views.plan_text import render_plan\n"
        "from kvmdecl.views.sarif import render_sarif\n"
        "import hashlib\n"
        "plan, found = large(3000, 70), [finding(n) for n in range(40)]\n"
        "text = render_plan(plan, color=False) + render_markdown(plan, found, digest='') + render_sarif(found)\n"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Kathmandu"))
    }
    assert len(said) == 1
