"""What every plugin has to keep, as tests that its author inherits.

    from kvmdecl.contract import PluginContract


    class TestContract(PluginContract):
        name = "house"
        manifest = "..."   # for which the plugin finds something

The tests need the plugin installed, and pytest, as `pip install 'kvmdecl[testing]'` brings it.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from kvmdecl.explain import codes
from kvmdecl.pluginhost import load_plugins
from kvmdecl.testing import TryManifest


class PluginContract:
    """Tests of one plugin, of which a subclass says what it is called and for which manifest it speaks."""

    name: ClassVar[str]
    """Of its entry point."""
    manifest: ClassVar[str]
    """Text of a manifest for which its hooks answer something."""

    def test_it_loads_and_has_a_hook(self) -> None:
        """It is found by its entry point, and answers something."""
        loaded = {plugin.name: plugin for plugin in load_plugins().installed()}

        assert self.name in loaded, "install the plugin again: its entry point is what is found"
        assert loaded[self.name].hooks

    def test_it_imports_nothing_of_kvmdecl_but_its_api(self) -> None:
        """What else there is may change with any version."""
        imported = {name for tree in _sources(self.name).values() for name in _imports(tree)}

        assert {name for name in imported if re.match(r"kvmdecl(\.|$)", name)} <= {"kvmdecl.api"}

    def test_the_same_manifest_gives_the_same_again(self, try_manifest: TryManifest) -> None:
        """Plans are compared and reviewed: no clock, no chance, nothing kept from before."""
        first, again = try_manifest(self.manifest), try_manifest(self.manifest)

        assert (first.diagnostics, first.placed) == (again.diagnostics, again.placed)

    def test_what_it_finds_is_about_a_place_in_the_manifest(self, try_manifest: TryManifest) -> None:
        """A finding without a line is one that nobody finds."""
        found = [each for each in try_manifest(self.manifest).diagnostics if each.code in _codes(self.name)]

        assert [each.code for each in found if each.at is None] == []

    def test_each_code_has_a_page_that_begins_with_it(self) -> None:
        """`kvmdecl explain CODE` shows it."""
        for code in _codes(self.name):
            assert code in codes(), f"write codes/{code}.md beside the plugin's modules"
            assert re.match(rf"# {re.escape(code)}: \S", codes()[code].read_text("utf-8"))


@cache
def _sources(name: str) -> dict[Path, ast.Module]:
    """The modules of a plugin's package, read and not imported."""
    [entry] = [entry for entry in entry_points(group="kvmdecl") if entry.name == name]
    spec = find_spec(entry.module.partition(".")[0])
    assert spec is not None
    assert spec.origin is not None
    package = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = [file for folder in package for file in sorted(folder.rglob("*.py"))] or [Path(spec.origin)]
    return {file: ast.parse(file.read_text("utf-8")) for file in files}


def _imports(tree: ast.Module) -> set[str]:
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return plain | {
        node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level
    }


def _codes(name: str) -> set[str]:
    """The codes that a plugin's diagnostics have: what is handed to `Diagnostic` first, or as `code`."""
    calls = [
        node for tree in _sources(name).values() for node in ast.walk(tree) if isinstance(node, ast.Call)
    ]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Diagnostic"]
    handed = [
        value
        for call in made
        for value in (*call.args[:1], *(word.value for word in call.keywords if word.arg == "code"))
    ]
    return {
        value.value for value in handed if isinstance(value, ast.Constant) and isinstance(value.value, str)
    }
