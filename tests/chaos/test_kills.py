"""An apply that is killed anywhere, or whose libvirtd is, loses nothing, and the next one finishes it.

`make chaos` tries every record of the journal, 2,000 instants and 500 deaths of a libvirtd.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kvmdecl.lab import Lab
from tests.chaos.kills import HOSTS, Rounds, all_points, often

pytestmark = pytest.mark.xdist_group("lab")


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_nothing_is_lost_when_an_apply_is_killed_on_the_way(make_lab: Callable[..., Lab], tmp_path: Path):
    rounds = Rounds(make_lab(HOSTS), tmp_path)

    assert len(list(all_points(rounds, first=3, stride=9))) >= 3
    often(rounds.cut_at_random, 3)
    often(rounds.cut_libvirtd, 3)
