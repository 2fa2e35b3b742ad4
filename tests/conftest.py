"""What is true for all tests."""

from __future__ import annotations

import pytest

# A distribution of its own, installed and tested by tests/plugins as its author would do it.
collect_ignore = ["example_plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites expected outputs instead of comparing them; read the difference after."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the outputs in tests/scenarios")
