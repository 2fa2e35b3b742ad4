"""The commands of the project's pages, run as they stand there, page by page, on a lab."""

from __future__ import annotations

from itertools import groupby

import pytest

from tests.project.blocks import blocks
from tests.project.conftest import World

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600), pytest.mark.proof]
RUN = [block for block in blocks("sh") if not block.not_run]
BY_PAGE = {page: list(found) for page, found in groupby(RUN, lambda block: block.page)}


@pytest.mark.parametrize("page", BY_PAGE)
def test_the_commands_of_a_page_run(page: str, world: World):
    script = "".join(block.text for block in BY_PAGE[page])
    answer = world.run(script.replace("/var/lib/node_exporter", "."))

    assert answer.returncode == 0, f"{answer.stdout[-700:]}{answer.stderr[-1500:]}"
