"""What a manifest says about rules: which hold, what is accepted and until when, and what was there before."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from kvmdecl.diagnostics import Rejected, Severity
from kvmdecl.pipeline import load_cluster
from kvmdecl.rules import baseline, choice_faults, findings, idle_waivers, judge, site_of, with_choice
from tests.rules.support import BY_CODE, PLUGINS, RULES, site

_LOUD = "vms: {web: {nics: [{network: lan, model: e1000e}], autostart: false}}\n"


def _codes(folder: Path, text: str) -> list[str]:
    return [found.code for found in judge(RULES, site(folder, text))]


def test_warnings_hold_unless_they_are_ignored(tmp_path: Path) -> None:
    assert _codes(tmp_path, _LOUD) == ["network.emulated-nic", "operations.stays-down"]
    assert _codes(tmp_path, "rules: {ignore: [network.emulated-nic]}\n" + _LOUD) == ["operations.stays-down"]
    assert _codes(tmp_path, "rules: {ignore: [network, operations]}\n" + _LOUD) == []


def test_advice_holds_only_where_it_is_selected(tmp_path: Path) -> None:
    quiet = "vms: {web: {agent: false}}\n"
    assert _codes(tmp_path, quiet) == []
    for name in ("guest.no-agent", "guest", "advice", "all"):
        assert "guest.no-agent" in _codes(tmp_path, f"rules: {{select: [{name}]}}\n{quiet}"), name


def test_a_command_line_selects_and_ignores_like_the_manifest(tmp_path: Path) -> None:
    cluster = site(tmp_path, _LOUD).cluster
    found = judge(RULES, site_of(with_choice(cluster, ("guest",), ("network",))))
    assert [each.code for each in found] == ["operations.stays-down"]


def test_a_waiver_is_for_whom_it_names_and_up_to_its_day(tmp_path: Path) -> None:
    waived = (
        "rules: {waive: [{rule: operations, on: [vm/we*], until: 2031-05-04, reason: a test bed}]}\n" + _LOUD
    )
    assert _codes(tmp_path, waived) == ["network.emulated-nic"]
    assert _codes(tmp_path, waived.replace("vm/we*", "vm/db*"))[-1] == "operations.stays-down"
    cluster = load_cluster(tmp_path, PLUGINS)
    assert choice_faults(RULES, cluster, date(2031, 5, 4)) == []
    (fault,) = choice_faults(RULES, cluster, date(2031, 5, 5))
    assert (fault.code, fault.severity) == ("rules.waiver-expired", Severity.ERROR)
    assert fault.at is not None
    assert fault.at.line == 1


@pytest.mark.parametrize(
    ("on", "hints"),
    [
        ("vm/we*, host/kvm-1, cluster", []),
        ("vm/wbe, vm/web", ["did you mean `web`?"]),
        ("pool/old", ["take it out if what it was for is gone"]),
    ],
)
def test_a_waiver_for_what_there_is_not_is_told_of(tmp_path: Path, on: str, hints: list[str]) -> None:
    waived = f"rules: {{waive: [{{rule: network, on: [{on}], until: 2131-05-04, reason: a test bed}}]}}\n"
    site(tmp_path, waived + _LOUD)
    found = list(idle_waivers(load_cluster(tmp_path, PLUGINS)))
    assert [each.hint for each in found] == hints
    assert {(each.code, each.severity) for each in found} <= {("rules.nothing", Severity.WARNING)}


def test_a_waiver_that_is_over_stops_every_command(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match=r"rules\.waiver-expired"):
        site(tmp_path, "rules: {waive: [{rule: network, on: [vm/a], until: 2020-01-01, reason: long ago}]}\n")


@pytest.mark.parametrize("key", ["select: [netwrok]", "ignore: [netwrok]"])
def test_a_rule_that_nobody_offers_is_refused_with_the_nearest(key: str, tmp_path: Path) -> None:
    with pytest.raises(Rejected) as rejected:
        site(tmp_path, f"rules: {{{key}}}\n")
    (found,) = rejected.value.diagnostics
    assert (found.code, found.hint) == ("rules.unknown", "did you mean `network`?")


def test_what_is_in_the_baseline_is_not_shown_again(tmp_path: Path) -> None:
    (tmp_path / "rules.baseline").write_text(baseline(RULES, site(tmp_path, _LOUD)))
    known = "rules: {baseline: rules.baseline}\n"
    assert _codes(tmp_path, known + _LOUD) == []
    more = _LOUD.replace("}}\n", "}, db: {autostart: false}}\n")
    assert [found.subject for found in judge(RULES, site(tmp_path, known + more))] == ["vm/db"]


@pytest.mark.parametrize(
    ("text", "code"),
    [("one two three four\n", "rules.bad-baseline"), (None, "rules.unreadable")],
)
def test_a_baseline_that_cannot_be_read_is_refused(text: str | None, code: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "rules.baseline").write_text(text)
    with pytest.raises(Rejected) as rejected:
        site(tmp_path, "rules: {baseline: rules.baseline}\n")
    assert [found.code for found in rejected.value.diagnostics] == [code]


def test_pins_that_placement_gave_are_not_the_manifests(tmp_path: Path) -> None:
    text = "hosts: {kvm-2: {uri: 'qemu+tls://kvm-2.example/system', dedicated: '8-15'}}\nvms: {web: {host: kvm-2}}\n"
    seen = site(tmp_path, text, BY_CODE["cpu.wide-guest"])
    assert seen.vms_on["kvm-2"]
    assert not list(findings([BY_CODE["memory.far"]], seen))


def test_a_line_that_many_vms_share_is_wrong_once(tmp_path: Path) -> None:
    (found,) = judge(RULES, site(tmp_path, "vms: {web: {count: 20, autostart: false}}\n"))
    assert found.notes[0].text == "and the same of 19 others"
    assert found.at is not None
    assert (Path(found.at.file).name, found.at.line) == ("example.yaml", 1)
