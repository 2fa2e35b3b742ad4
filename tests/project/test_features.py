"""docs/features.md and the models are in step: every key has a row, every row a key and a test that is there."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from kvmdecl.manifest import DeviceAlias, Host, Image, Network, NetworkFilter, Pool, Secret, Vm

ROOT = Path(__file__).parents[2]
SECTIONS = {
    "devices": DeviceAlias,
    "filters": NetworkFilter,
    "hosts": Host,
    "images": Image,
    "networks": Network,
    "secrets": Secret,
    "storage": Pool,
    "vms": Vm,
}
_ROW = re.compile(
    r"^\| (?P<keys>`[a-z].*?`) \| .* \| (?P<how>[a-z, ]+) \| (?P<tests>`tests/.*?`) \|$", re.MULTILINE
)
_MARKS = {
    "lab": r'xdist_group\("lab"\)|\b(clean_lab|make_lab|lab_host)\b',
    "schema": r"\bagainst_schema\b",
    "facts": r"\b(HostFacts|try_manifest|domain_support|parse_capabilities)\b",
}
_ALWAYS_IN_A_LAB = frozenset({"e2e", "perform"})


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


def rows() -> list[tuple[list[str], set[str], list[str]]]:
    found = _ROW.findall((ROOT / "docs/features.md").read_text())
    return [
        (re.findall(r"`([^`]+)`", keys), set(kinds.split(", ")), re.findall(r"`([^`]+)`", tests))
        for keys, kinds, tests in found
    ]


def how(test: str) -> set[str]:
    """What a test holds a key against: a lab's libvirtd, libvirt's schemas, recorded facts, or models alone."""
    path = ROOT / test
    if path.is_dir():
        return {"facts"}
    text = path.read_text()
    kinds = {kind for kind, marks in _MARKS.items() if re.search(marks, text)}
    if path.parent.name in _ALWAYS_IN_A_LAB:
        kinds.add("lab")
    return kinds or {"model"}


def test_every_key_has_one_row_and_every_row_a_key():
    keys = sorted(key for section, model in SECTIONS.items() for key in keys_of(model, section))
    told = sorted(key for keys, _, _ in rows() for key in keys)

    assert told == sorted(set(keys))


def test_every_row_names_a_test_that_is_there():
    missing = [test for _, _, tests in rows() for test in tests if not (ROOT / test).exists()]

    assert not missing


def test_every_row_says_how_its_keys_are_tested():
    told = {keys[0]: kinds for keys, kinds, _ in rows()}

    assert told == {keys[0]: set().union(*map(how, tests)) for keys, _, tests in rows()}


def test_at_least_sixty_features_are_held_against_a_real_libvirtd():
    assert sum("lab" in kinds for _, kinds, _ in rows()) >= 60
