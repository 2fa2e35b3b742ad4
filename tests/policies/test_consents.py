"""Who agrees to a deletion in a file agrees to that one, in that plan, by name and with a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML

from kvmdecl.cli import applying
from kvmdecl.consents import read_consents
from kvmdecl.diagnostics import Rejected
from kvmdecl.plan import Action, Impact, Plan
from kvmdecl.runs import Agreement, Way
from kvmdecl.views.consents import render_consents
from tests.policies.test_policies import PLAN, step

GONE = tuple(step(f"kvm-1/domain/{name}", Action.DELETE, Impact.DOWNTIME) for name in ("db", "web"))
DELETES = replace(PLAN, steps=GONE)


def filled(tmp_path: Path, plan: Plan, *, drop: int = 0) -> Path:
    """What `plan --consents` writes, with who and why filled in, without the last entries."""
    text = render_consents(plan).replace('by: ""', "by: alice").replace('why: ""', "why: replaced by db-new")
    entries = text.split("- allow")
    path = tmp_path / "consents.yaml"
    path.write_text("- allow".join(entries[: len(entries) - drop]))
    return path


def carried_out(plan: Plan, path: Path, whole: Plan | None = None) -> tuple[Agreement, ...]:
    agreed = applying.Agreed.read(path, whole or plan)
    return applying.consent(plan, yes=True, allowed=frozenset(), reviewed=False, agreed=agreed)


def test_what_a_plan_writes_is_filled_in_and_consents_to_it(tmp_path: Path):
    path = filled(tmp_path, DELETES)

    assert [(c.address, c.plan, c.by, c.why) for c in read_consents(path)] == [
        ("kvm-1/domain/db", DELETES.digest, "alice", "replaced by db-new"),
        ("kvm-1/domain/web", DELETES.digest, "alice", "replaced by db-new"),
    ]
    carried_out(DELETES, path)
    carried_out(replace(DELETES, steps=GONE[:1]), path, whole=DELETES)  # a part of it, up to a wave
    assert YAML(typ="safe").load(render_consents(PLAN.__class__("edge", "r", (), (), 0)))["consents"] == []


def test_nobody_and_no_reason_is_no_consent(tmp_path: Path):
    path = tmp_path / "consents.yaml"
    path.write_text(render_consents(DELETES))
    with pytest.raises(Rejected) as rejected:
        read_consents(path)
    assert [found.at and found.at.line for found in rejected.value.diagnostics] == [6, 7, 10, 11]


def test_what_is_left_out_of_the_file_is_not_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(typer.Exit) as ended:
        carried_out(DELETES, filled(tmp_path, DELETES, drop=1))
    assert ended.value.exit_code == 4
    assert f"--allow-delete kvm-1/domain/web@{DELETES.digest}" in capsys.readouterr().err


def test_a_consent_to_another_plan_is_told_of_and_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other = replace(DELETES, steps=(replace(GONE[0], precondition="moved"), GONE[1]))
    with pytest.raises(typer.Exit):
        carried_out(other, filled(tmp_path, DELETES))
    told = capsys.readouterr().err
    assert told.count("warning[apply.stale-consent]") == 2
    assert "consents.yaml:5:9: warning[apply.stale-consent]: the consent to kvm-1/domain/db" in told
    carried_out(
        replace(PLAN, steps=PLAN.steps[:1]), filled(tmp_path, DELETES)
    )  # nothing to delete: it goes on


def test_a_consent_to_what_the_plan_does_not_delete_is_refused(tmp_path: Path):
    path = filled(tmp_path, DELETES)
    path.write_text(path.read_text().replace("domain/web", "domain/wbe"))
    with pytest.raises(Rejected, match=r"apply\.unknown-consent"):
        carried_out(DELETES, path)


def test_who_agreed_to_what_and_how_is_known_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    me, db, web = applying.this_user(), "kvm-1/domain/db", "kvm-1/domain/web"
    told = applying.consent(DELETES, yes=True, allowed=frozenset({db, web}), reviewed=True)
    assert told == tuple(Agreement(to, Way.FLAG, me) for to in ("plan", db, web))

    assert carried_out(DELETES, filled(tmp_path, DELETES)) == (
        Agreement("plan", Way.FLAG, me),
        *(Agreement(to, Way.FILE, "alice", "replaced by db-new") for to in (db, web)),
    )

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(applying, "_confirmed", lambda _question: True)
    told = applying.consent(DELETES, yes=False, allowed=frozenset({db}), reviewed=True)
    assert told == (
        Agreement("plan", Way.PROMPT, me),
        Agreement(db, Way.FLAG, me),
        Agreement(web, Way.PROMPT, me),
    )
    assert applying.confirm_destruction("edge", 1, "edge") == (Agreement("plan", Way.FLAG, me),)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "edge")
    assert applying.confirm_destruction("edge", 1, "") == (Agreement("plan", Way.PROMPT, me),)


def test_without_a_terminal_nobody_says_yes_by_silence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(Rejected, match=r"apply\.nobody-to-ask"):
        applying.consent(replace(PLAN, steps=()), yes=False, allowed=frozenset(), reviewed=True)
