"""A simulated libvirtd answers as a real one does.

`make chaos-short` compares 500 random sequences of calls, `make chaos` two thousand.
"""

from __future__ import annotations

import pytest

from kvmdecl.lab import Lab
from tests.simulation.differential import differ

pytestmark = pytest.mark.xdist_group("lab")

SEEDS = ("8.0", "8.1", "8.2", "8.3", "8.4", "1.13", "1.15", "1.73", "8.45")


def test_a_simulated_libvirtd_answers_as_a_real_one_and_has_the_same_afterwards(clean_lab: Lab):
    told = {seed: found for seed in SEEDS if (found := differ(clean_lab, seed))}

    assert told == {}
