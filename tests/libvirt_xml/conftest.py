"""libvirt's own schemas, compiled once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
from lxml import etree

_PLACES = (
    "/usr/share/libvirt/schemas",
    "/usr/local/share/libvirt/schemas",
    "/opt/libvirt/share/libvirt/schemas",
)


@pytest.fixture(scope="session")
def against_schema() -> Callable[[str, str], list[str]]:
    """What libvirt's schema of that name has against a definition."""
    folder = next((place for place in map(Path, _PLACES) if (place / "domain.rng").exists()), None)
    if folder is None:
        pytest.skip("libvirt's schemas are not installed")

    @lru_cache
    def schema(name: str) -> etree.RelaxNG:
        return etree.RelaxNG(etree.parse(str(folder / f"{name}.rng")))

    def errors(name: str, xml: str) -> list[str]:
        schema(name).validate(etree.fromstring(xml))
        return [str(error) for error in schema(name).error_log]

    return errors
