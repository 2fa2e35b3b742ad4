"""Tests on a whole machine: only where `-m acceptance` asks for them, since they take minutes and an image."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.machine.host import RealHost, real_host
from tests.machine.image import image, missing_tools


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`-m 'not lab'` chooses by another marker, and does not mean these."""
    if "acceptance" in str(config.option.markexpr):
        return
    for item in items:
        if item.get_closest_marker("acceptance") is not None:
            item.add_marker(pytest.mark.skip(reason="runs with `make acceptance` only"))


@pytest.fixture(scope="session")
def host() -> Iterator[RealHost]:
    """A machine that has booted."""
    if missing := missing_tools():
        pytest.fail(f"`make acceptance` installs what is missing: {', '.join(missing)}")
    with real_host(image()) as running:
        yield running
