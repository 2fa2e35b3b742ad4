"""Each rule's two examples: one that it finds something in, at the right line, and one that it does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kvmdecl import explain
from kvmdecl.diagnostics import Severity
from kvmdecl.rules import Rule, findings
from tests.rules.support import BASE, BY_CODE, PLUGINS, RULES, site


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rule_finds_what_its_bad_example_shows_and_nothing_in_the_good_one(
    rule: Rule, tmp_path: Path
) -> None:
    found = [finding for _, finding in findings([rule], site(tmp_path, rule.bad, rule))]
    assert found, f"{rule.code} finds nothing in its bad example"
    for finding in found:
        at = finding.subject.origin.find(finding.key)
        assert at is not None
        if not rule.needs_hosts or at.file.endswith("example.yaml"):
            assert Path(at.file).name == "example.yaml"
            assert rule.bad.splitlines()[at.line - 1].strip()
    good = tmp_path / "good"
    good.mkdir()
    assert not [finding for _, finding in findings([rule], site(good, rule.good, rule))]


def test_each_finding_underlines_what_is_wrong(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """`underlined.txt` shows the words of each bad example that its finding points at; --update-golden writes it."""
    found = []
    for rule in RULES:
        folder = tmp_path / rule.code
        folder.mkdir()
        places = {f.subject.origin.find(f.key) for _, f in findings([rule], site(folder, rule.bad, rule))}
        for at in sorted(place for place in places if place is not None):
            text = (folder / Path(at.file).name).read_text().splitlines()
            end = at.end_column - 1 if at.end_line == at.line else None
            found.append(f"{rule.code}: {at.line}: {text[at.line - 1][at.column - 1 : end]}\n")
    golden = Path(__file__).with_name("underlined.txt")
    if request.config.getoption("--update-golden"):
        golden.write_text("".join(found))
    assert golden.read_text() == "".join(found)


def test_each_known_pitfall_of_the_manual_names_what_looks_for_it() -> None:
    text = (
        Path("docs/rules.md")
        .read_text()
        .partition("## Which pitfall is found by what")[2]
        .partition("\n## ")[0]
    )
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 40
    for pitfall, *found_by in rows:
        codes = re.findall(r"`([a-z]+\.[a-z0-9-]+)`", found_by[0])
        questions = re.findall(r"doctor: `", found_by[0])
        assert codes or questions, pitfall
        assert set(codes) <= {*BY_CODE, *explain.codes()}, pitfall


def test_there_are_at_least_sixty_rules_and_each_says_why() -> None:
    assert len(RULES) >= 60
    for rule in RULES:
        assert min(map(len, (rule.title, rule.why, rule.source, rule.fix))) > 10, rule.code


def test_only_errors_stop_a_run_and_advice_is_asked_for() -> None:
    assert {rule.severity for rule in RULES} == set(Severity)


def test_no_rule_fires_on_an_ordinary_guest(tmp_path: Path) -> None:
    ordinary = "vms: {web: {image: debian-13, disk: 20GiB, nics: [lan]}}\n"
    loud = [rule for rule in RULES if rule.severity is not Severity.INFO]
    assert not list(findings(loud, site(tmp_path, ordinary)))
    assert "kvm-1" in BASE
    assert PLUGINS.rules() is PLUGINS.rules()
