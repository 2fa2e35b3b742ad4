"""`validate --fix`: the finding is gone, the manifest is valid, and no other byte has changed."""

from __future__ import annotations

from difflib import SequenceMatcher
from pathlib import Path

import pytest

from kvmdecl.cli.main import run
from kvmdecl.diagnostics import Severity
from kvmdecl.mend import mended
from kvmdecl.rules import findings
from tests.rules.support import BASE, PLUGINS, RULES, site

SAFE = [
    rule
    for rule in RULES
    if rule.bad.count("vms:")
    and not rule.needs_hosts
    and "change=Change(" in Path(rule.check.__code__.co_filename).read_text()
]


@pytest.mark.parametrize("rule", SAFE, ids=lambda rule: rule.code)
def test_the_safe_change_of_a_rule_makes_its_finding_go_away(rule, tmp_path: Path) -> None:
    select = f"rules: {{select: [{rule.code}]}}\n" if rule.severity is Severity.INFO else ""
    before = select + rule.bad
    assert any(finding.change for _, finding in findings([rule], site(tmp_path, before)))
    texts = mended(tmp_path, PLUGINS)
    assert [file.name for file in texts] == ["example.yaml"]
    (after,) = texts.values()
    (tmp_path / "example.yaml").write_text(after)
    assert not list(findings([rule], site(tmp_path, after)))
    changed = [
        op for op in SequenceMatcher(None, before, after, autojunk=False).get_opcodes() if op[0] != "equal"
    ]
    assert len({before.count("\n", 0, start) for _, start, _, _, _ in changed}) == 1


def test_several_rules_have_a_safe_change() -> None:
    assert len(SAFE) >= 8


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  a: {clock: localtime, cpus: 2}\n", "  a: {cpus: 2}\n"),
        ("  a: {cpus: 2, clock: localtime}\n", "  a: {cpus: 2}\n"),
        ("  a: { cpus: 2 ,  clock: localtime }  # why\n", "  a: { cpus: 2  }  # why\n"),
        ("  a:\n    cpus: 2  # two\n    clock: localtime  # why\n", "  a:\n    cpus: 2  # two\n"),
        ('  a:\r\n    "clock": localtime\r\n    cpus: 2\r\n', "  a:\r\n    cpus: 2\r\n"),
        ("  a: {clock: localtime}\n", "  a: {}\n"),
        ("  a:   # one\n    clock: localtime\n", "  a: {}   # one\n"),
    ],
)  # fmt: skip
def test_a_key_is_taken_out_and_nothing_else(before: str, after: str | None, tmp_path: Path) -> None:
    _same(tmp_path, before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  a: {timers: {hpet: true}}\n", "  a: {timers: {hpet: false}}\n"),
        ("  a: {timers: {hpet: {present: true}}}\n", None),
        ("  a:\n    timers:\n      hpet: true  # why\n", "  a:\n    timers:\n      hpet: false  # why\n"),
    ],
)
def test_a_value_is_set_and_nothing_else(before: str, after: str | None, tmp_path: Path) -> None:
    _same(tmp_path, before, after)


def test_a_change_of_what_a_profile_says_is_made_there(tmp_path: Path) -> None:
    text = "profiles: {p: {clock: localtime, cpus: 2}}\nvms: {a: {profile: p}, b: {profile: p}}\n"
    site(tmp_path, text)
    (after,) = mended(tmp_path, PLUGINS).values()
    assert after == "profiles: {p: {cpus: 2}}\nvms: {a: {profile: p}, b: {profile: p}}\n"


def test_a_key_that_is_not_there_is_added_where_it_belongs(tmp_path: Path) -> None:
    text = "rules: {select: [memory.ksm-pages]}\nvms:\n  a:\n    memory:\n      size: 1GiB\n      pages: 2MiB  # huge\n"
    site(tmp_path, text)
    (after,) = mended(tmp_path, PLUGINS).values()
    assert after.replace("      ksm: false\n", "") == text


def test_validate_tells_how_much_can_be_mended_until_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site(tmp_path, "vms: {a: {count: 3, clock: localtime, nics: [{network: lan, model: e1000e}]}}\n")
    assert run(["validate", str(tmp_path)]) == 0
    says = "`kvmdecl explain CODE` says why, and how to accept one."
    told = f"`kvmdecl validate --fix` mends 1 of them, as far as that is safe. {says}\n"
    assert capsys.readouterr().err.endswith(told)
    assert run(["validate", str(tmp_path), "--fix"]) == 0
    said = capsys.readouterr().err
    assert said.endswith(says + "\n")
    assert "--fix" not in said
    assert run(["validate", str(tmp_path), "--ignore", "network"]) == 0
    assert capsys.readouterr().err == ""


def _same(folder: Path, before: str, after: str | None) -> None:
    (folder / "base.yaml").write_text(BASE)
    (folder / "example.yaml").write_bytes(b"vms:\n" + before.encode())
    texts = mended(folder, PLUGINS)
    assert [*texts.values()] == ([] if after is None else ["vms:\n" + after])
