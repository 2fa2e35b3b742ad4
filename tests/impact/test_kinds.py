"""What a plan says that a change does to a running guest is what it does: its process, XML and files are the proof.

`python -m tests.impact` tries the same kinds, restarts the guest after each, and prints a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.impact.bench import Bench, images
from tests.impact.kinds import KINDS, NEXT_BOOT, KindOfChange
from tests.impact.trial import settle, try_kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.lab import Lab

pytestmark = pytest.mark.xdist_group("lab")


@pytest.fixture(scope="module")
def bench(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    from kvmdecl.testing import clean

    clean(lab)
    bench = Bench(lab.host("kvm-1"), tmp_path_factory.mktemp("kinds"))
    images(bench.folder)
    settle(bench)
    yield bench
    bench.connection.close()


@pytest.mark.proof
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_change_does_to_a_running_guest_what_the_plan_says(bench: Bench, kind: KindOfChange):
    trial = try_kind(bench, kind)

    assert (trial.predicted, trial.real) == (kind.impact, kind.impact), trial
    assert trial.lost == (), trial
    assert trial.remarks == (), trial
    assert not trial.pending or kind.impact == NEXT_BOOT, trial


def test_there_are_at_least_sixty_kinds_and_each_is_another_one():
    changes = {(str(kind.begin), str(kind.change)) for kind in KINDS}
    assert len(changes) == len(KINDS) >= 60
