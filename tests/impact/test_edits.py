"""After whatever edit of the manifest: apply, and the next plan is empty.

`python -m tests.impact.edits 500` makes so many of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.impact.bench import Bench, images
from tests.impact.edits import HASTY, edit_on

if TYPE_CHECKING:
    from pathlib import Path

    from kvmdecl.lab import Lab

pytestmark = pytest.mark.xdist_group("lab")


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_nothing_is_left_to_do_after_any_edit(clean_lab: Lab, tmp_path: Path):
    bench = Bench(clean_lab.host("kvm-1"), tmp_path, HASTY)
    images(tmp_path)

    edits = list(edit_on(bench, count=25, seed=5))

    assert [edit for edit in edits if edit.failed or edit.left] == []
    assert len([edit for edit in edits if not edit.refused]) == 25
