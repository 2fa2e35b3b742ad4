"""An apply that is killed at any record of its journal loses nothing, and the next one finishes it.

`make chaos` tries every record.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kvmdecl.lab import Lab
from tests.chaos.kills import HOSTS, Rounds, all_points

pytestmark = pytest.mark.xdist_group("lab")


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_nothing_is_lost_when_an_apply_is_killed_on_the_way(make_lab: Callable[..., Lab], tmp_path: Path):
    rounds = Rounds(make_lab(HOSTS), tmp_path)

    assert len(list(all_points(rounds, first=3, stride=9))) >= 3
