"""Findings for what shows them beside a change: each format is what its readers take, and survives hostile text."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from lxml import etree, html
from markdown_it import MarkdownIt
from sarif_pydantic import Sarif

from kvmdecl.cli.main import run
from kvmdecl.diagnostics import Diagnostic, Note, Severity, Span
from kvmdecl.names import GIB
from kvmdecl.plan import Action, Impact
from kvmdecl.revisions import changed_lines
from kvmdecl.snapshot import write_snapshots
from kvmdecl.state import HostSnapshot, HostState
from kvmdecl.views.annotations import render_annotations, render_summary, worst
from kvmdecl.views.code_quality import render_code_quality
from kvmdecl.views.findings_html import render_findings_html
from kvmdecl.views.findings_markdown import render_findings_markdown
from kvmdecl.views.junit import render_junit
from kvmdecl.views.plan_findings import findings
from kvmdecl.views.sarif import render_sarif
from tests.placement.support import facts
from tests.views.plans import HOSTILE, finding, plan_of, step

FOUND = [
    finding(9, Severity.ERROR, "an error: 100%, <b>&\n::error::x"),
    finding(3),
    finding(3, Severity.INFO),
    Diagnostic("host.unreachable", "no answer", severity=Severity.WARNING, subject="host/kvm-1"),
    Diagnostic(
        "test.twice",
        "it is twice",
        Span("b c.yaml", 1, 1, 2, 4),
        notes=(Note("first", Span("a.yaml", 2, 1, 2, 3)),),
    ),
]


def test_sarif_holds_places_weights_and_notes():
    document = json.loads(render_sarif(FOUND))

    Sarif.model_validate(document)
    results = document["runs"][0]["results"]
    assert [each["level"] for each in results] == ["error", "error", "warning", "warning", "note"]
    assert results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "b%20c.yaml"
    assert results[0]["relatedLocations"][0]["physicalLocation"]["region"]["startLine"] == 2
    rules = [rule["id"] for rule in document["runs"][0]["tool"]["driver"]["rules"]]
    assert all(rules[each["ruleIndex"]] == each["ruleId"] for each in results)


def test_a_fingerprint_stays_when_lines_move_and_is_nobody_elses():
    def prints(shift: int) -> list[str]:
        found = [finding(n + shift) for n in (1, 2, 3)] + [finding(9 + shift, summary="another")]
        return [each["fingerprint"] for each in json.loads(render_code_quality(found))]

    assert prints(0) == prints(40)
    assert len(set(prints(0))) == 4


def test_code_quality_has_what_gitlab_asks_for():
    for each in json.loads(render_code_quality(FOUND)):
        assert set(each) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert each["severity"] in {"info", "minor", "major", "critical", "blocker"}
        assert isinstance(each["location"]["lines"]["begin"], int)


def test_junit_has_a_test_for_each_finding_and_one_for_none():
    suite = etree.fromstring(render_junit(FOUND))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "2", "3")
    assert len(suite.findall(".//failure")) == 2
    assert etree.fromstring(render_junit([])).get("failures") == "0"


def test_of_500_findings_github_gets_the_ten_worst_on_changed_lines_and_the_rest_in_the_summary():
    many = [finding(n, Severity.ERROR if n % 7 == 0 else Severity.WARNING) for n in range(1, 501)]
    changed = {"vms.yaml": frozenset(range(100, 122))}

    found = worst(many, changed)
    lines = render_annotations(found).splitlines()

    assert len(lines) == 11
    assert lines[-1] == "and 490 more, in the summary of the job"
    said = [re.match(r"::(\w+) title=test.code,file=vms.yaml,line=(\d+)", line) for line in lines[:10]]
    assert [each[1] for each in said if each] == ["error"] * 3 + ["warning"] * 7
    assert all(each is not None and int(each[2]) in changed["vms.yaml"] for each in said)
    assert render_summary(found, "kvmdecl validate").count("`test.code`") == 500


def test_no_text_ends_a_workflow_command():
    text = render_annotations(worst([FOUND[0]], {}))
    assert text == (
        "::error title=test.code,file=vms.yaml,line=9,endLine=9,col=3,endColumn=8"
        "::an error: 100%25, <b>&\\n::error::x%0ABecause.%0Ahint: do not\n"
    )


def test_a_plan_tells_at_their_lines_what_interrupts():
    plan = plan_of(
        step("web", line=3),
        step("db", impact=Impact.RESTART, line=5),
        step("old", action=Action.DELETE, line=7),
        notes=(finding(1, Severity.INFO),),
    )
    told = [(each.code, each.at and each.at.line, each.summary) for each in findings(plan)]
    assert told == [
        ("test.code", 1, "it is so"),
        ("plan.interrupts", 5, "domain db on kvm-1 is restarted"),
        ("plan.interrupts", 7, "domain old on kvm-1 is deleted"),
    ]


@pytest.mark.parametrize("number", [0, 1, 40, 20_000])
def test_markdown_of_findings_is_never_longer_than_it_may_be_and_counts_what_is_left_out(number: int):
    found = [finding(n, Severity.WARNING, "`" * (n % 50)) for n in range(number)]
    found += [finding(number + 1, Severity.ERROR)]

    text = render_findings_markdown(found, "plan", "prod", max_bytes=8_000, read_line=lambda *_: None)

    assert len(text.encode()) <= 8_000
    assert text.startswith("<!-- kvmdecl:plan:prod -->\n### kvmdecl plan · `prod` · 1 error")
    assert "error[test.code]: it is so" in text.split("warning[")[0]
    left = re.search(r"Left out for length: (\d+) further", text)
    assert text.count("[test.code]") + int(left[1] if left else 0) == number + 1


def test_a_hostile_text_is_text_in_markdown_and_on_the_page_of_findings():
    found = [
        Diagnostic("test.code", f"it is {text}", Span(text, 1, 1, 1, 2), text, text, (Note(text),))
        for text in HOSTILE
    ]

    def given(path: str, line: str) -> tuple[str, str]:
        markdown = render_findings_markdown(found, "plan", path, max_bytes=90_000, read_line=lambda *_: line)
        return markdown, render_findings_html(found, "plan", path, read_line=lambda *_: line)

    for text in HOSTILE:
        markdown, page = given(text, text)
        tokens = MarkdownIt("commonmark").parse(markdown)
        assert [token.type for token in tokens] == [
            "html_block", "heading_open", "inline", "heading_close", "fence",
        ]  # fmt: skip
        assert {child.type for child in tokens[2].children or ()} == {"text", "code_inline"}
        elements = list(html.document_fromstring(page).iter())
        assert {each.tag for each in elements} == {
            "html", "head", "meta", "title", "style", "body", "header", "h1", "code", "p", "main", "details",
            "summary", "span", "pre",
        }  # fmt: skip
        assert {name for each in elements for name in each.attrib} == {
            "lang", "charset", "http-equiv", "content", "name", "class", "open",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("markdown", "```text\ncluster.yaml:2:10: error[manifest.bad-name]"),
        ("html", "<pre>  2 | cluster: _\n    |          ^</pre>"),
        ("sarif", '"level": "error"'),
        ("github", "::error title=manifest.bad-name,file=cluster.yaml"),
        ("gitlab", '"path": "cluster.yaml"'),
        ("junit", "<failure message="),
    ],
)
def test_where_there_is_no_plan_its_formats_say_why(
    form: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    Path("cluster.yaml").write_text("apiVersion: kvmdecl/v1\ncluster: _\nhosts: {}\n")

    codes = [run([command, "cluster.yaml", "--format", form]) for command in ("plan", "validate")]

    assert codes == [1, 1]
    assert capsys.readouterr().out.count(said) == 2


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose branch changes line 2, adds line 4 (which looks like a header) and takes line 5 away."""
    for name, value in {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}.items():
        monkeypatch.setenv(name, value)
    for role in "AUTHOR", "COMMITTER":
        monkeypatch.setenv(f"GIT_{role}_NAME", "a")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "a@example")
    folder = tmp_path / "repository"
    folder.mkdir()

    def commit(*lines: str) -> None:
        (folder / "cluster.yaml").write_text("".join(f"{line}\n" for line in lines))
        subprocess.run(["git", "add", "."], cwd=folder, check=True)
        subprocess.run(["git", "commit", "-qm", "x"], cwd=folder, check=True)

    subprocess.run(["git", "init", "-qb", "main"], cwd=folder, check=True)
    commit("apiVersion: kvmdecl/v1", "cluster: a", "hosts: {}", "# a", "# b", "# c")
    subprocess.run(["git", "update-ref", "refs/remotes/origin/main", "main"], cwd=folder, check=True)
    commit("apiVersion: kvmdecl/v1", "cluster: _", "hosts: {}", "++ x: 1", "# a", "# c")
    return folder


def test_git_tells_which_lines_changed(repository: Path):
    assert changed_lines("origin/main", repository) == {"cluster.yaml": frozenset({2, 4})}


def test_validate_speaks_to_github_of_the_lines_of_the_pull_request(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GITHUB_BASE_REF", "main")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))

    assert run(["validate", "cluster.yaml", "--format", "github"]) == 1

    assert capsys.readouterr().out.startswith("::error title=")
    assert "`cluster.yaml:" in (tmp_path / "summary.md").read_text()


def test_a_history_that_is_not_there_only_costs_the_order(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GITHUB_BASE_REF", "gone")

    assert run(["validate", "cluster.yaml", "--format", "github"]) == 1

    said = capsys.readouterr()
    assert said.out.startswith("::error title=")
    assert "warning[git.failed]" in said.err


def test_what_was_found_on_the_way_is_in_the_plan_and_told_once_in_each_view(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, known = tmp_path / "cluster.yaml", tmp_path / "facts"
    path.write_text(
        "apiVersion: kvmdecl/v1\ncluster: demo\nhosts: {kvm-1: 'qemu+tls://a/system'}\n"
        "networks: {lan: {mode: nat, subnet: 192.168.9.0/24}}\n"
        "vms: {a: {state: stopped, autostart: false, nics: [{network: lan, model: e1000e}]}}\n"
    )
    write_snapshots(known, [HostSnapshot("kvm-1", facts(memory=32 * GIB), HostState())])
    told = {}
    for form in ("text", "json", "markdown", "html", "sarif", "gitlab"):
        assert run(["plan", str(path), "--facts", str(known), "--format", form]) == 0
        shown = capsys.readouterr()
        told[form] = (shown.out if form != "text" else shown.err).count("NIC 0 of a is an emulated e1000e")
    assert told == dict.fromkeys(told, 1)
