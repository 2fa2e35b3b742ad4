"""A simulated libvirtd answers as a real one does. `make chaos` compares two thousand random sequences of calls."""

from __future__ import annotations

import pytest

from kvmdecl.lab import Lab
from tests.simulation.differential import differ

pytestmark = pytest.mark.xdist_group("lab")


@pytest.mark.parametrize(
    "sequences", [8, pytest.param(500, marks=[pytest.mark.proof, pytest.mark.timeout(1800)])]
)
def test_a_simulated_libvirtd_answers_as_a_real_one_and_has_the_same_afterwards(lab: Lab, sequences: int):
    told = {seed: found for seed in range(sequences) if (found := differ(lab, f"{sequences}.{seed}"))}

    assert told == {}
