"""`kvmdecl plugins`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmdecl.pluginhost import PluginInfo


def run(
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
) -> None:
    """List the plugins that are loaded: from where, and what they bring.

    Every installed plugin is loaded, those that come with kvmdecl in the same way as all others.

    Examples:
      kvmdecl plugins
      kvmdecl plugins --format json

    Exit codes: 0 listed, 1 a plugin is broken.
    """
    from kvmdecl.pluginhost import load_plugins

    plugins = load_plugins().installed()
    if format_ is common.Format.JSON:
        common.say(_json(plugins))
    else:
        common.say("\n".join(line for plugin in plugins for line in _lines(plugin)) or "no plugins")


def _lines(plugin: PluginInfo) -> Iterator[str]:
    from kvmdecl.text import safe_text

    origin = "built in" if plugin.built_in else plugin.distribution
    yield safe_text(f"{plugin.name} {plugin.version} ({origin}, {plugin.module})")
    yield f"  hooks: {', '.join(plugin.hooks)}"
    for what, names in (("sections", plugin.sections), ("solvers", plugin.solvers), ("gates", plugin.gates)):
        if names:
            yield safe_text(f"  {what}: {', '.join(names)}")


def _json(plugins: Iterable[PluginInfo]) -> str:
    import json
    from dataclasses import asdict

    found = [{**asdict(plugin), "built_in": plugin.built_in} for plugin in plugins]
    return json.dumps({"version": 1, "plugins": found}, indent=2)
