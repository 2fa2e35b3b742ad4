"""Whatever happens to a rollout, what must hold does: on simulated hosts.

`make chaos-short` tries a thousand seeds, and 500 hosts with 40 guests each; `make chaos` ten thousand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from itertools import count, groupby
from pathlib import Path

import pytest

from kvmdecl.hosts import worker
from kvmdecl.hosts.ledger import LedgerWriter
from kvmdecl.hosts.perform import job
from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.journal import Journal
from kvmdecl.state import Kind
from tests.simulation.faults import CHANGES, Bench, Trial, start
from tests.simulation.scale import rollout
from tests.simulation.turns import Turns

SEEDS = range(2 * CHANGES, 3 * CHANGES)
"""Of a change that also moves guests."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(Path(tmp_path_factory.mktemp("bench")))


def test_nothing_is_lost_or_doubled_and_a_plain_apply_ends_it(bench: Bench):
    told = {seed: found for seed in SEEDS if (found := Trial(bench, seed).run())}

    assert told == {}


_CALLS = """
import sys
from pathlib import Path
from tests.simulation.faults import Bench, Trial

trial = Trial(Bench(Path(sys.argv[1])), int(sys.argv[2]))
assert not trial.run()
print(*trial.trace, sep="\\n")
"""


@pytest.mark.parametrize("seed", [SEEDS[3], SEEDS[7]])
def test_a_seed_has_the_same_calls_in_the_same_order_every_time_and_those_of_tasks_interleave(
    tmp_path: Path, seed: int
):
    """In another process, too, where sets have another order."""
    first, second = (_calls(tmp_path, seed, order) for order in ("1", "2"))

    tasks = [call.partition("', '")[0] for call in first]
    turns = [task for task, _ in groupby(tasks)]
    assert first == second
    assert len(turns) > 1.5 * len(set(turns))


def _calls(folder: Path, seed: int, order: str) -> list[str]:
    program = [sys.executable, "-c", _CALLS, str(folder), str(seed)]
    environment = os.environ | {"PYTHONHASHSEED": order}
    return subprocess.run(
        program, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_hosts_that_are_ill_hold_up_no_other_and_nothing_of_theirs_is_made_elsewhere(bench: Bench):
    assert rollout(bench, 12, 2) == []


def test_what_must_not_be_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    """As long as there is nothing wrong, all of the above says nothing."""
    makes_volumes = next(
        shape
        for shape in count()
        if any(step.address.kind is Kind.VOLUME for step in start(bench, shape)[2].steps)
    )

    with monkeypatch.context() as patch:
        patch.setattr(worker, "take_lock", lambda *_: TaskResult())
        patch.setattr(worker, "require_lock", lambda *_: None)
        patch.setattr(job, "require_lock", lambda *_: None)
        assert _told(bench, makes_volumes, "by one who does not hold it")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "intend", lambda *_: None)
        assert _told(bench, makes_volumes, "the journal does not tell of")
    with monkeypatch.context() as patch:
        patch.setattr(LedgerWriter, "note", lambda *_: None)
        assert _told(bench, makes_volumes, "is in no ledger")
    with monkeypatch.context() as patch:
        patch.setattr(Turns, "held", lambda *_, **__: nullcontext())
        assert _told(bench, makes_volumes, "is in no ledger")


def _told(bench: Bench, shape: int, what: str) -> bool:
    seeds = range(shape * CHANGES, (shape + 1) * CHANGES)
    return any(what in line for seed in seeds for line in Trial(bench, seed).run())
