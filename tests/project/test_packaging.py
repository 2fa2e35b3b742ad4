"""What is shipped: a wheel that works away from the checkout, and metadata that says what is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution, entry_points
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; all but kvmdecl is borrowed from the one that runs."""
    import venv

    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for library in Path(distribution("typer").locate_file("")).iterdir():
        if "kvmdecl" not in library.name and not (site / library.name).exists():
            (site / library.name).symlink_to(library)
    for processed in site.glob("*.pth"):  # an editable kvmdecl would come back through one
        processed.unlink()
    return folder / "bin" / "python"


def run_away(python: Path, folder: Path, *args: str) -> str:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "KVMDECL"))
    }
    answer = subprocess.run(
        [python, *args], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_the_installed_wheel_is_what_runs(installed: Path, tmp_path: Path):
    where = run_away(installed, tmp_path, "-c", "import kvmdecl; print(kvmdecl.__file__)")

    assert Path(where.strip()).is_relative_to(installed.parents[1])


def test_the_installed_program_answers_finds_its_plugins_and_starts_a_cluster(
    installed: Path, tmp_path: Path
):
    def kvmdecl(*args: str) -> str:
        return run_away(installed, tmp_path, "-m", "kvmdecl", *args)

    assert kvmdecl("--version") == f"kvmdecl {distribution('kvmdecl').version}\n"
    assert kvmdecl("--help") == (ROOT / "kvmdecl/cli/help/kvmdecl.txt").read_text()
    assert "spread" in kvmdecl("plugins")
    assert kvmdecl("explain", "init.exists").startswith("# init.exists")
    kvmdecl("init", "site")
    assert kvmdecl("validate", "site").startswith("site is valid")


def test_the_wheel_holds_what_the_checkout_holds_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if not re.search(r"\.(dist-info|data)/", name)}

    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "kvmdecl", "plugins"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert shipped == {name.removeprefix("plugins/") for name in tracked if (ROOT / name).exists()}


def test_the_man_pages_are_shipped_where_man_finds_them(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name.partition(".data/data/")[2] for name in archive.namelist() if ".data/" in name}

    assert shipped == {f"share/man/man1/{path.name}" for path in (ROOT / "docs/man").iterdir()}


def test_the_license_is_shipped(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        [license_] = [name for name in archive.namelist() if name.endswith("/LICENSE")]
        assert b"Apache License" in archive.read(license_)


@pytest.mark.parametrize("group", ["kvmdecl", "pytest11"])
def test_the_entry_points_that_are_installed_are_those_of_pyproject(group: str):
    declared = PROJECT["project"]["entry-points"][group]
    found = {
        entry.name: entry.value
        for entry in entry_points(group=group)
        if entry.dist is not None and entry.dist.name == "kvmdecl"
    }

    assert found == declared, "entry points are install metadata: install again (make test does)"


def test_every_built_in_plugin_is_shipped_declared_and_held_to_the_contracts():
    declared = {value.partition(":")[0] for value in PROJECT["project"]["entry-points"]["kvmdecl"].values()}
    shipped = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    contracts = {one["type"]: one for one in PROJECT["tool"]["importlinter"]["contracts"]}

    assert sorted(declared) == PLUGINS
    assert sorted(shipped) == ["kvmdecl", *(f"plugins/{name}" for name in PLUGINS)]
    assert sorted(PROJECT["tool"]["importlinter"]["root_packages"]) == ["kvmdecl", *PLUGINS]
    assert sorted(contracts["forbidden"]["forbidden_modules"]) == PLUGINS
    for name in PLUGINS:
        assert f"{name}.** -> kvmdecl.api" in contracts["protected"]["ignore_imports"]
        assert (ROOT / "plugins" / name / "py.typed").exists()


@pytest.mark.parametrize("lock", ["run", "dev", "site"])
def test_the_locks_pin_all_that_is_wanted_by_hash(lock: str):
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    pinned = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))
    wanted = [] if lock == "site" else PROJECT["project"]["dependencies"]
    wanted = [*wanted, *PROJECT["dependency-groups"].get(lock, [])]

    names = {
        re.split(r"[><=~! ]", requirement)[0].lower().replace(".", "-").replace("_", "-")
        for requirement in wanted
    }
    assert names <= pinned.keys(), "run `make lock`"
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "http" not in text, "an index or an address of this machine is in the lock"


def test_what_runs_is_what_is_locked():
    for line in re.findall(r"^[a-z].*(?= \\$)", (ROOT / "requirements/run.txt").read_text(), re.MULTILINE):
        locked = Requirement(line)
        if locked.marker is None or locked.marker.evaluate():
            found = distribution(locked.name).version
            assert locked.specifier.contains(found), f"{line} is locked; `make test` installs it"
