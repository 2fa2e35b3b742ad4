"""What the tests of the lab share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder with a short path: that of a socket in it has at most 107 bytes, and pytest-xdist's are long."""
    with tempfile.TemporaryDirectory(prefix="kvmdecl-", dir="/tmp") as folder:
        yield Path(folder)
