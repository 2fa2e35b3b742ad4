"""docs/features.md and the models are in step: every key has a row, every row a key and a test that is there."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from kvmdecl.manifest import Host, Image, Network, NetworkFilter, Pool, Secret, Vm

ROOT = Path(__file__).parents[2]
SECTIONS = {
    "filters": NetworkFilter,
    "hosts": Host,
    "images": Image,
    "networks": Network,
    "secrets": Secret,
    "storage": Pool,
    "vms": Vm,
}
_ROW = re.compile(r"^\| (?P<keys>`[a-z].*?`) \| .* \| (?P<tests>`tests/.*?`) \|$", re.MULTILINE)


def models_in(annotation: object) -> list[type[BaseModel]]:
    """Models in an annotation such as `tuple[Nic, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in models_in(part)]


def keys_of(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{prefix}.{field.alias or name}"
        inner = [found for part in models_in(field.annotation) for found in keys_of(part, key)]
        yield from inner or [key]


def rows() -> list[tuple[list[str], list[str]]]:
    found = _ROW.findall((ROOT / "docs/features.md").read_text())
    return [(re.findall(r"`([^`]+)`", keys), re.findall(r"`([^`]+)`", tests)) for keys, tests in found]


def test_every_key_has_one_row_and_every_row_a_key():
    keys = sorted(key for section, model in SECTIONS.items() for key in keys_of(model, section))
    told = sorted(key for keys, _ in rows() for key in keys)

    assert told == sorted(set(keys))


def test_every_row_names_a_test_that_is_there():
    missing = [test for _, tests in rows() for test in tests if not (ROOT / test).exists()]

    assert not missing
