"""What is true for all tests: nothing of the developer's shell reaches them, and no clock fails them."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# A distribution of its own, installed and tested by tests/plugins as its author would do it.
collect_ignore = ["example_plugin"]

_SETTINGS = (
    "KVMDECL_LAB",
    "KVMDECL_CLUSTER",
    "KVMDECL_TRACEBACK",
    "NO_COLOR",
    "CLICOLOR_FORCE",
    "FORCE_COLOR",
    "PYTHONUNBUFFERED",  # with it, nobody would notice what is written and not flushed
)
for _name in _SETTINGS:
    os.environ.pop(_name, None)

# The same examples on every run: a change is judged by what it changes. A busy machine is no failure.
settings.register_profile("kvmdecl", derandomize=True, deadline=None, database=None)
settings.load_profile("kvmdecl")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites expected outputs instead of comparing them; read the difference after."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the outputs in tests/scenarios")
