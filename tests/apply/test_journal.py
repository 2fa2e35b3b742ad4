"""The journal of a run: on disk before a host is asked, readable however it ends, and no more than a record."""

from __future__ import annotations

import json
import os
import stat
import time
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest

from kvmdecl.apply import apply
from kvmdecl.cli.applying import read_rest
from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.events import ApplyFinished, GateEnded, Outcome, StepDone, StepFailed, StepSkipped
from kvmdecl.hosts.processes import this_run
from kvmdecl.journal import Journal, Run, find_run, read_run, read_runs
from kvmdecl.runs import Agreement, Way, new_run
from kvmdecl.state import Observed, ObservedDomain, ObservedPool
from kvmdecl.views.history import render_history, render_history_json, render_run
from tests.apply.test_apply import NEVER, PromptWriter, address, make_plan, make_step

ROOT = Path(__file__).parents[2]
ME = this_run("edge")
PLAN = make_plan(*(make_step(name) for name in "abcd"))
DOMAIN = ObservedDomain("a", "u-a", "<domain/>", None, True, True, False, False)
POOL = ObservedPool("b", "u-b", "<pool/>", True, False, 1, 1, ())
BEFORE: dict[str, Observed | None] = {"a": DOMAIN, "b": POOL, "c": None}


AGREED = (
    Agreement("plan", Way.FLAG, "ci@runner-7"),
    *(Agreement(f"kvm-1/domain/{name}", Way.FILE, "alice", "replaced by db-new") for name in "abcd"),
)
JOB = "https://ci.example/4711"


def write(directory: Path, holder=ME) -> Path:
    with Journal.create(directory, holder, "apply", "/srv/edge.yaml", PLAN, AGREED, JOB) as journal:
        for name, before in BEFORE.items():
            journal.intend(address(name), before)
        journal.note(StepDone(address("a"), 1.0))
        journal.note(StepFailed(address("b"), Diagnostic("step.test", "the host said no")))
        journal.note(StepSkipped(address("d"), address("b")))
        journal.note(ApplyFinished(1, 1, 0, 1, 2.0))
    return journal.path


def alive(_holder: object) -> bool:
    return False


def test_the_last_run_is_the_one_that_began_last_also_within_a_second():
    names = []
    for _ in range(40):
        names.append(new_run())
        time.sleep(0.001)

    assert names == sorted(names)


def test_what_was_noted_is_read_back(tmp_path: Path):
    path = write(tmp_path / "state" / "runs")

    run = read_run(path)

    assert (run.holder, run.command, run.source, run.plan) == (ME, "apply", "/srv/edge.yaml", PLAN)
    assert {a.name: run.before(a) for a in run.begun} == BEFORE
    assert {a.name: end for a, end in run.ends.items()} == {"a": "done", "b": "failed", "d": "skipped"}
    assert run.count() == {"done": 1, "failed": 1, "skipped": 1, "unknown": 1}
    assert (run.agreed, run.job) == (AGREED, JOB)
    named = "kvm-1/domain/a, kvm-1/domain/b, kvm-1/domain/c"
    assert {
        "      step.test: the host said no",
        "  in https://ci.example/4711",
        "  agreed to by ci@runner-7 (an option): plan",
        f"  agreed to by alice (a file of consents): {named} and 1 more: replaced by db-new",
    } <= set(render_run(run, alive).splitlines())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("steps", [False, True])
def test_runs_as_json_satisfy_their_published_schema(tmp_path: Path, steps: bool):
    schema = json.loads((ROOT / "schemas/history.v1.json").read_text())
    document = json.loads(render_history_json([read_run(write(tmp_path))], alive, steps=steps))

    jsonschema_rs.validator_for(schema).validate(document)
    (row,) = document["runs"]
    assert (row["agreed"][0], row["failed"]) == (
        {"to": "plan", "way": "flag", "by": "ci@runner-7", "why": ""},
        1,
    )
    assert ("ends" in row, "gates" in row) == (steps, steps)


def test_a_journal_from_before_agreements_were_noted_is_read(tmp_path: Path):
    path = write(tmp_path)
    head, rest = path.read_text().split("\n", 1)
    older = {key: value for key, value in json.loads(head).items() if key not in {"consents", "job"}}
    path.write_text(json.dumps({**older, "format": "1.1"}) + "\n" + rest)

    assert (read_run(path).agreed, read_run(path).job) == ((), "")


def test_a_journal_torn_at_any_byte_is_read_to_its_last_whole_record(tmp_path: Path):
    path = write(tmp_path)
    whole = path.read_bytes()
    records = 0
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        lines = whole[:size].count(b"\n")
        try:
            run = read_run(path)
        except Rejected:
            assert lines == 0
            continue
        found = len(run.begun) + len(run.ends) + bool(run.end)
        assert found == max(0, lines - 2), "a line for each record after those of the run and its plan"
        assert found >= records
        records = found
    assert records == 7


@pytest.mark.parametrize(
    "rest", [b"\0" * 512 + b"\n", b"{}\n" * 3, b'{"record":"done","address":[1]}\n', b"\xff\xfe\n"]
)
def test_what_a_disk_makes_up_after_a_power_loss_is_not_believed(tmp_path: Path, rest: bytes):
    path = write(tmp_path)
    whole = read_run(path)
    path.write_bytes(path.read_bytes() + rest)

    run = read_run(path)

    assert (run.begun, run.ends) == (whole.begun, whole.ends)


def test_a_step_is_not_begun_when_its_intent_cannot_be_written(tmp_path: Path):
    journal = Journal(tmp_path / "full", os.open("/dev/full", os.O_WRONLY))
    writer = PromptWriter()

    events = list(
        apply(PLAN, writer, parallel=1, cancelled=NEVER, intend=lambda address: journal.intend(address, None))
    )

    (failed,) = (event for event in events if isinstance(event, StepFailed))
    assert (failed.diagnostic.code, "No space left" in failed.diagnostic.cause) == ("run.no-journal", True)
    assert len([event for event in events if isinstance(event, StepSkipped)]) == 3
    assert writer.requests == []
    with pytest.raises(OSError, match="No space"):
        journal._file.close()


def test_a_run_that_cannot_be_noted_down_does_not_begin(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Rejected, match=r"run\.no-journal"):
        Journal.create(tmp_path / "file" / "runs", ME, "apply", "x", PLAN)


def test_intents_are_on_disk_before_the_host_is_asked(tmp_path: Path):
    class Looking(PromptWriter):
        def submit(self, request, progress):
            assert request.address in read_run(journal.path).begun
            return super().submit(request, progress)

    with Journal.create(tmp_path, ME, "apply", "x", PLAN) as journal:
        events = list(
            apply(PLAN, Looking(), cancelled=NEVER, intend=lambda address: journal.intend(address, None))
        )

    assert sum(isinstance(event, StepDone) for event in events) == 4


@pytest.mark.parametrize(
    ("name", "found"),
    [("last", "b2"), ("a", "a1"), ("b1", "b1"), ("b", None), ("c", None), ("", None), ("../a1", None)],
)
def test_a_run_is_found_by_what_only_it_begins_with(tmp_path: Path, name: str, found: str | None):
    for run in ("a1", "b1", "b2"):
        write(tmp_path, type(ME)(run, "token", "edge"))
    (tmp_path / "b3.jsonl.old").write_text("no journal")

    if found is None:
        with pytest.raises(Rejected, match=r"run\.unknown"):
            find_run(tmp_path, name)
    else:
        assert find_run(tmp_path, name).name == found
    assert [run.name for run in read_runs(tmp_path)] == ["b2", "b1", "a1"]


@pytest.mark.parametrize(
    ("end", "dead", "state"),
    [
        ("", True, "died"),
        ("", False, "running"),
        ("", None, "not known"),
        ("interrupted", True, "interrupted"),
    ],
)
def test_how_a_run_stands_is_told_by_its_end_or_its_process(end: str, dead: bool | None, state: str):
    run = Run(ME, "apply", "x", "2026-01-01T00:00:00Z", 4, {}, {}, end)
    assert render_history([run], lambda _holder: dead).splitlines()[1].endswith(f"0 of 4  {state}")


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(Outcome.PASSED, "done"), (Outcome.FAILED, "done in part"), (Outcome.INCONCLUSIVE, "paused")],
)
def test_a_gate_that_nobody_knows_of_is_told_from_one_that_failed(
    tmp_path: Path, outcome: Outcome, state: str
):
    gate = GateEnded("canary", "agent", outcome, "it is silent", 1.0)
    with Journal.create(tmp_path, ME, "apply", "x", replace(PLAN, steps=())) as journal:
        journal.note(gate)
        journal.note(ApplyFinished(0, 0, 0, 0, 2.0))

    (run,) = read_runs(tmp_path)
    assert run.gates == (gate,)
    assert render_history([run], alive).splitlines()[1].endswith(f"0 of 0  {state}")


@pytest.mark.parametrize("command", ["destroy", "snapshot"])
def test_what_is_seen_on_the_hosts_is_run_again_and_not_resumed(tmp_path: Path, command: str):
    with Journal.create(tmp_path, ME, command, "x", PLAN):
        pass

    with pytest.raises(Rejected) as rejected:
        read_rest("last", tmp_path)
    assert [(each.code, each.hint) for each in rejected.value.diagnostics] == [
        ("run.not-resumable", f"run `kvmdecl {command}` again.")
    ]


@pytest.mark.parametrize("text", [b"", b"torn", b'{"record":"plan"}\n', b'{"record":"run","format":"9.0"}\n'])
def test_a_journal_without_a_first_record_is_said_to_be_of_no_use_and_why_that_does_no_harm(
    tmp_path: Path, text: bytes
):
    (tmp_path / "a1.jsonl").write_bytes(text)

    with pytest.raises(Rejected) as rejected:
        find_run(tmp_path, "last")
    (found,) = rejected.value.diagnostics
    assert found.code == "run.journal-broken"
    assert "needs no journal" in found.hint
