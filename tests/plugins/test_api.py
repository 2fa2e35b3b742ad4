"""What plugins may rely on: the API, the hooks and their manual, and that ours have no other way in."""

from __future__ import annotations

import ast
import inspect
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from kvmdecl import api, hooks
from kvmdecl.pluginhost import HOOKS, load_plugins
from tests.plugins.hook_manual import MANUAL, hook_manual, written

ROOT = Path(__file__).parents[2]


def test_the_api_is_what_it_was() -> None:
    """A name is added here on purpose, and never taken away."""
    assert sorted(api.__all__) == [
        "Action", "Address", "Agent", "Answer", "Artifact", "Bool", "Budget", "Cell", "CellDemand",
        "CellPlace", "CellRoom", "Change", "ChangeOrigin", "Comparison", "Configuration",
        "ConfigureManager", "Definition", "DeviceDemand", "Diagnostic", "DomainSupport", "Duration",
        "Effect", "Failure", "Fate", "FieldChange", "Finding", "Footprint", "Form", "Function",
        "Gate", "GateRequest", "Group", "Guest", "GuestType", "Holder", "HostCpu", "HostFacts",
        "HostInterface", "HostPath", "HostRoom", "HostState", "HostStatus", "Impact", "Integer",
        "IpAddress", "Kind", "Link", "Load", "Mac", "Machine", "Manager", "ManagerStatus", "Mdev",
        "MdevType", "MemberState", "Moved", "Name", "NoAnswer", "NodeDevice", "Note", "Notifier",
        "Observed", "ObservedDomain", "ObservedNetwork", "ObservedPool", "Origin", "Outcome",
        "PagePool", "Passed", "PciDevice", "PciTree", "Place", "PlaceAnswer", "PlaceRequest",
        "PlacedCluster", "Plan", "PlanPolicy", "PlannedHost", "PolicyContext", "PolicyVerdict",
        "Positive", "Prospect", "Reach", "Rejected", "Renamed", "ResolvedCluster", "ResolvedDisk",
        "ResolvedHost", "ResolvedImage", "ResolvedNetwork", "ResolvedNic", "ResolvedPool",
        "ResolvedVm", "ResourceState", "Rule", "Said", "ScsiDevice", "Section", "Severity", "Shape",
        "Shell", "Site", "Size", "Solver", "Span", "Step", "Subnet", "Takeover", "Takeovers",
        "TaskFailed", "Unknown", "UsbDevice", "Use", "Verdict", "VmToPlace", "about_size",
        "did_you_mean", "footprint", "format_duration", "format_size", "groups_of", "holders",
        "homes", "hookimpl", "is_member", "mdev_types", "mdevs", "networks_of", "nodes_of",
        "numbers_of", "passed_on", "pci_tree", "pools_of", "quoted", "refusal", "reject_errors",
        "room_of", "safe_text", "scsi_devices", "set_aside", "spread_over", "usb_devices",
        "whole_domain", "with_uses",
    ]  # fmt: skip
    assert all(hasattr(api, name) for name in api.__all__)


def test_the_api_offers_nothing_that_it_does_not_list() -> None:
    public = {
        name for name, value in vars(api).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(api.__all__)


def test_the_manual_is_what_the_hooks_say() -> None:
    again = "run `python -m tests.plugins.hook_manual`"
    assert written(MANUAL.read_text(encoding="utf-8")) == hook_manual(), again


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_says_what_it_gets_and_what_it_returns(hook: str) -> None:
    function = getattr(hooks, hook)
    manual = inspect.getdoc(function) or ""
    assert "Returns:" in manual
    assert all(f"    {argument}:" in manual for argument in inspect.signature(function).parameters)


def test_the_entry_points_are_those_of_pyproject() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["kvmdecl"]
    installed = {
        entry.name: entry.value
        for entry in entry_points(group="kvmdecl")
        if entry.dist is not None and entry.dist.name == "kvmdecl"
    }
    assert installed == declared, "entry points are install metadata: run `pip install -e .` again"


def test_every_folder_of_plugins_is_declared_and_loads() -> None:
    folders = {folder.name for folder in (ROOT / "plugins").iterdir() if folder.is_dir()}
    assert {info.module for info in load_plugins().installed() if info.built_in} == folders


def test_our_plugins_import_the_api_and_nothing_else_of_the_core() -> None:
    """import-linter checks the same; this says it where a plugin's author looks for an example."""
    for file in (ROOT / "plugins").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            ours = {name for name in names if name.partition(".")[0] == "kvmdecl"}
            assert ours <= {"kvmdecl.api"}, file


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_implemented_by_a_plugin_that_is_shipped_or_tested(hook: str) -> None:
    folders = (ROOT / "plugins", ROOT / "tests" / "example_plugin" / "kvmdecl_example")
    assert any(f"def {hook}(" in file.read_text() for folder in folders for file in folder.rglob("*.py"))
