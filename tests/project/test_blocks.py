"""Every code block of the project's pages does what its page says of it."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from kvmdecl.consents import read_consents
from kvmdecl.lock import read_lock
from kvmdecl.pipeline import load_cluster
from kvmdecl.pluginhost import load_plugins
from tests.project.blocks import Block, blocks

AROUND: dict[str, Any] = {
    "apiVersion": "kvmdecl/v1",
    "cluster": "office",
    "hosts": {"kvm-{1..4}": {"uri": "qemu+tls://{name}.example/system", "labels": {"rack": "r{n}"}}},
    "networks": {"lan": {"bridge": "br0"}, "default": {"bridge": "br1"}},
    "storage": {"vms": "/srv/vms"},
    "vms": {"web": {"count": 2}},
}
"""What is around a part of a manifest that a page shows."""


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_a_manifest_or_a_part_of_one_is_valid(block: Block, tmp_path: Path):
    written = YAML(typ="safe").load(block.text) or {}
    around = {key: value for key, value in AROUND.items() if key not in written}
    with (tmp_path / "cluster.yaml").open("w") as file:
        file.write(block.text)
        if "apiVersion" not in written:
            YAML().dump(around, file)
    (tmp_path / "rules.baseline").touch()

    assert load_cluster(tmp_path, load_plugins())


@pytest.mark.parametrize("block", blocks("yaml lock"), ids=str)
def test_a_lock_file_is_read(block: Block, tmp_path: Path):
    cluster = load_cluster(_written(tmp_path / "cluster.yaml", AROUND), load_plugins())
    (tmp_path / "cluster.lock.yaml").write_text(f"lock: kvmdecl-lock/v1\ncluster: office\n{block.text}")

    assert read_lock(tmp_path / "cluster.lock.yaml", cluster)


@pytest.mark.parametrize("block", blocks("yaml consents"), ids=str)
def test_a_file_of_consents_is_read(block: Block, tmp_path: Path):
    (tmp_path / "consents.yaml").write_text(block.text)

    assert read_consents(tmp_path / "consents.yaml")


def _written(path: Path, manifest: object) -> Path:
    with path.open("w") as file:
        YAML().dump(manifest, file)
    return path


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_is_toml(block: Block):
    assert tomllib.loads(block.text)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_is_python_and_imports_what_there_is(block: Block):
    imports = [each for each in ast.walk(ast.parse(block.text)) if isinstance(each, ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), str(block), "exec"))
