"""Whoever changes what was noted down of runs is found out, and a crash is not taken for that."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest

from kvmdecl.chain import LIST, Standing, verify
from kvmdecl.cli.main import run as kvmdecl
from kvmdecl.journal import SUFFIX, Journal, read_runs
from tests.apply.test_journal import ME, PLAN, write

RUNS = ("a1", "a2", "a3")
SCHEMA = jsonschema_rs.validator_for(
    json.loads((Path(__file__).parents[2] / "schemas/chain.v1.json").read_text())
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in RUNS:
        write(tmp_path, replace(ME, run=name))
    return tmp_path


def journal(folder: Path, name: str) -> Path:
    return folder / f"{name}{SUFFIX}"


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def unsound(folder: Path) -> dict[str, Standing]:
    return {run.run: run.standing for run in verify(folder, SUFFIX).runs if not run.sound}


def test_runs_that_nobody_touched_are_whole(folder: Path, capsys: pytest.CaptureFixture[str]):
    chain = verify(folder, SUFFIX)

    assert chain.sound
    assert [(run.run, run.standing) for run in chain.runs] == [(name, Standing.WHOLE) for name in RUNS]
    assert kvmdecl(["history", "--verify", "--journal", str(folder), "--head", chain.head]) == 0
    assert f"3 runs, every record as it was written.\nHead: {chain.head}" in capsys.readouterr().out


def test_every_record_that_is_changed_taken_out_or_repeated_is_named(folder: Path):
    path = journal(folder, "a2")
    lines = lines_of(path)
    changes: list[tuple[int, Callable[[int], list[bytes]]]] = [
        (1, lambda n: [*lines[:n], lines[n].replace(b"e", b"3", 1), *lines[n + 1 :]]),
        (1, lambda n: [*lines[:n], *lines[n + 1 :]]),
        (2, lambda n: [*lines[:n], lines[n], *lines[n:]]),
    ]
    for number in range(len(lines) - 1):
        for first_bad, change in changes:
            path.write_bytes(b"".join(change(number)))
            (found,) = (run for run in verify(folder, SUFFIX).runs if not run.sound)
            assert (found.run, found.standing) == ("a2", Standing.CHANGED)
            assert found.why.startswith(f"record {number + first_bad} is not what was written")


def test_any_byte_that_is_changed_is_found(folder: Path):
    chosen = random.Random(7)
    for _ in range(300):
        path = folder / chosen.choice([LIST, *(f"{name}{SUFFIX}" for name in RUNS)])
        whole = path.read_bytes()
        place = chosen.randrange(len(whole) - 1)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert not verify(folder, SUFFIX).sound, (path.name, place)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("do", "found"),
    [
        (lambda f: journal(f, "a2").unlink(), {"a2": Standing.MISSING}),
        (
            lambda f: journal(f, "a2").write_bytes(b"".join(lines_of(journal(f, "a2"))[:4])),
            {"a2": Standing.CUT},
        ),
        (lambda f: journal(f, "a2").write_bytes(journal(f, "a1").read_bytes()), {"a2": Standing.CHANGED}),
        (lambda f: journal(f, "a9").write_bytes(journal(f, "a1").read_bytes()), {"a9": Standing.UNLISTED}),
    ],
    ids=["removed", "cut", "put elsewhere", "added"],
)
def test_a_journal_that_is_gone_cut_or_another_is_named(
    folder: Path,
    do: Callable[[Path], object],
    found: dict[str, Standing],
    capsys: pytest.CaptureFixture[str],
):
    do(folder)

    assert unsound(folder) == found
    assert kvmdecl(["history", "--verify", "--journal", str(folder)]) == 1
    assert "Not as it was written: 1 of " in capsys.readouterr().out
    assert kvmdecl(["history", "--verify", "--journal", str(folder), "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    SCHEMA.validate(document)
    assert not document["sound"]
    assert {run["run"]: run["standing"] for run in document["runs"] if not run["sound"]} == found


def test_lines_of_the_list_that_are_swapped_or_cut_off_are_found(folder: Path):
    head, lines = verify(folder, SUFFIX).head, lines_of(folder / LIST)

    (folder / LIST).write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    assert verify(folder, SUFFIX).faults[0].startswith("line 1 of the list")
    (folder / LIST).write_bytes(b"".join(lines[:-2]))  # with its journal, as if the run had never been
    journal(folder, "a3").unlink()
    assert verify(folder, SUFFIX).sound  # nobody can know, but who noted down the head
    assert not verify(folder, SUFFIX, head).sound


def test_a_run_that_was_killed_is_sound_wherever_it_tore_and_the_chain_goes_on(folder: Path):
    path, list_ = journal(folder, "a3"), folder / LIST
    whole, lines = path.read_bytes(), lines_of(list_)
    for size in range(whole.index(b"\n") + 1, len(whole), 29):
        path.write_bytes(whole[:size])
        for end in (b"", lines[-1][:20]):  # the list had no line for its end, or a part of one
            list_.write_bytes(b"".join(lines[:-1]) + end)
            assert verify(folder, SUFFIX).sound, size

    journal(folder, "a5").write_bytes(b"".join(lines_of(journal(folder, "a1"))[:2]))  # before it was listed

    write(folder, replace(ME, run="a4"))

    assert verify(folder, SUFFIX).sound
    journal(folder, "a5").unlink()
    assert [run.name for run in read_runs(folder)] == ["a4", "a3", "a2", "a1"]


def test_runs_at_the_same_time_are_one_chain(tmp_path: Path):
    names = [f"b{number:02}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: write(tmp_path, replace(ME, run=name)), names))

    chain = verify(tmp_path, SUFFIX)

    assert chain.sound
    assert [run.run for run in chain.runs] == names


def test_a_journal_from_before_is_told_as_such_and_one_that_did_nothing_is_not_missed(folder: Path):
    old = [json.loads(line) for line in lines_of(journal(folder, "a1"))]
    plain = ({key: value for key, value in record.items() if key != "chain"} for record in old)
    journal(folder, "a0").write_text("".join(f"{json.dumps(record)}\n" for record in plain))
    with Journal.create(folder, replace(ME, run="a5"), "apply", "x", PLAN) as begun:
        begun.discard()

    chain = verify(folder, SUFFIX)

    assert chain.sound
    assert {run.run: run.standing for run in chain.runs if run.standing is not Standing.WHOLE} == {
        "a0": Standing.UNCHAINED,
        "a5": Standing.DELETED,
    }
