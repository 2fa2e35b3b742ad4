"""Two runs never write to one host at once. `make chaos-short` races 200 times, `make chaos` ten thousand."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmdecl.hosts import runlock
from kvmdecl.lab import LabHost
from tests.chaos.races import Race

pytestmark = pytest.mark.xdist_group("lab")


def test_no_two_runs_write_at_once_though_they_are_paused_and_killed(lab_host: LabHost, tmp_path: Path):
    taken, together = Race(lab_host.uri(), tmp_path).run(40, seconds=60)

    assert len(taken) >= 40
    assert together == []


def test_a_lock_that_does_not_hold_would_be_noticed(
    lab_host: LabHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runlock, "is_dead", lambda _holder: True)
    monkeypatch.setattr("tests.chaos.races.require_lock", lambda *_: None)

    _, together = Race(lab_host.uri(), tmp_path).run(200, seconds=10)

    assert together
