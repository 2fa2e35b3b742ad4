"""The example plugin, installed by pip as its author would do it, in a place of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kvmdecl

EXAMPLE = Path(__file__).parents[1] / "example_plugin"
MANIFEST = """\
apiVersion: kvmdecl/v1
cluster: demo
hosts: {kvm-1: "qemu+tls://kvm-1.example/system"}
placement: pack
quota: 4
vms: {web: {cpus: 2}}
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example's source, and beside it `site`, where pip put the plugin."""
    folder = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, folder / "source")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        *options,
        "--target",
        str(folder / "site"),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(installed / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "PYTHONPATH": paths, "NO_COLOR": "1"},
        cwd=installed,
        capture_output=True,
        text=True,
    )


def test_it_is_listed_beside_ours(installed: Path) -> None:
    listed = run(installed, "kvmdecl", "plugins")
    assert listed.stdout == (
        "example 1.0 (kvmdecl-example, kvmdecl_example)\n"
        "  hooks: kvmdecl_check, kvmdecl_policies, kvmdecl_sections, kvmdecl_solvers\n"
        "  sections: quota\n"
        "  solvers: pack\n"
        f"gates {kvmdecl.__version__} (built in, kvmdecl_gates)\n"
        "  hooks: kvmdecl_gates\n"
        "  gates: agent, command, lease, running, settle, tcp\n"
        f"numa {kvmdecl.__version__} (built in, kvmdecl_numa)\n"
        "  hooks: kvmdecl_solvers\n"
        "  solvers: exact, numa\n"
        f"pacemaker {kvmdecl.__version__} (built in, kvmdecl_pacemaker)\n"
        "  hooks: kvmdecl_check, kvmdecl_definitions, kvmdecl_doctor, kvmdecl_emit, kvmdecl_gates, "
        "kvmdecl_managers, kvmdecl_sections, kvmdecl_takeover, kvmdecl_validate\n"
        "  sections: ha\n"
        "  gates: pacemaker\n"
        f"rules {kvmdecl.__version__} (built in, kvmdecl_rules)\n"
        "  hooks: kvmdecl_rules\n"
        f"spread {kvmdecl.__version__} (built in, kvmdecl_spread)\n"
        "  hooks: kvmdecl_solvers\n"
        "  solvers: spread\n"
        f"vfio {kvmdecl.__version__} (built in, kvmdecl_vfio)\n"
        "  hooks: kvmdecl_check\n"
        f"webhook {kvmdecl.__version__} (built in, kvmdecl_webhook)\n"
        "  hooks: kvmdecl_notifiers\n"
    ), listed.stderr


def test_it_is_listed_as_json(installed: Path) -> None:
    found = json.loads(run(installed, "kvmdecl", "plugins", "--format", "json").stdout)["plugins"]
    listed = {plugin["name"]: plugin for plugin in found}
    assert (listed["example"]["built_in"], listed["example"]["sections"]) == (False, ["quota"])
    assert {name for name, plugin in listed.items() if not plugin["built_in"]} == {"example"}
    assert {"numa", "spread"} < listed.keys()


def test_its_section_is_a_part_of_the_manifest(installed: Path) -> None:
    (installed / "cluster.yaml").write_text(MANIFEST)
    valid = run(installed, "kvmdecl", "validate", "cluster.yaml")
    assert (valid.returncode, valid.stderr) == (0, "")
    (installed / "cluster.yaml").write_text(MANIFEST.replace("quota: 4", "quota: many"))
    refused = run(installed, "kvmdecl", "validate", "cluster.yaml")
    assert refused.returncode == 1
    assert "cluster.yaml:5:8" in refused.stdout + refused.stderr


def test_a_key_that_it_called_otherwise_before_is_told_and_migrated(installed: Path) -> None:
    manifest = installed / "cluster.yaml"
    manifest.write_text(MANIFEST.replace("quota: 4", "quota: {vcpus: 4}  # each"))
    refused = run(installed, "kvmdecl", "validate", "cluster.yaml")
    assert "it is called `cpus` since example 1.0; `kvmdecl migrate` renames it" in refused.stderr
    assert "manifest.missing-key" not in refused.stderr
    migrated = run(installed, "kvmdecl", "migrate", "cluster.yaml")
    assert migrated.stdout == "cluster.yaml:5:9: `vcpus` is `cpus` since example 1.0: as vms call it\n"
    assert manifest.read_text() == MANIFEST.replace("quota: 4", "quota: {cpus: 4}  # each")


def test_without_it_its_section_is_an_unknown_key(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(MANIFEST)
    refused = run(tmp_path, "kvmdecl", "validate", "cluster.yaml")
    assert refused.returncode == 1
    assert "manifest.unknown-key" in refused.stdout + refused.stderr


def test_its_codes_are_explained(installed: Path) -> None:
    assert run(installed, "kvmdecl", "explain", "quota.too-many-cpus").stdout.startswith(
        "# quota.too-many-cpus:"
    )


def test_its_own_tests_pass_with_the_fixture_that_kvmdecl_ships(installed: Path) -> None:
    tests = str(installed / "source" / "tests")
    outcome = run(installed, "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tests, tests)
    assert outcome.returncode == 0, outcome.stdout
    assert "10 passed" in outcome.stdout
