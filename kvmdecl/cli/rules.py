"""`kvmdecl rules`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmdecl.rules import Rule


def run(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH",
            help="Show only the rules that hold for this manifest, a file or a folder.",
            show_default=False,
        ),
    ] = None,
    write_baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write what is found in PATH now into this file, so that it is not shown again.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
) -> None:
    """List the known pitfalls that manifests are held against by `validate`, `plan` and `apply`.

    Errors stop a plan, warnings are shown, and advice is shown to who selects it. `rules:` in a manifest chooses, and
    accepts findings up to a day; `kvmdecl explain CODE` says why a rule is there and shows an example of each.

    A baseline is for an estate that was there before the rules: name the file as `rules: {baseline: FILE}`, and only
    what is new is shown.

    Examples:
      kvmdecl rules
      kvmdecl rules clusters/demo
      kvmdecl rules clusters/demo --write-baseline clusters/demo/rules.baseline

    Exit codes: 0 listed or written, 1 error.
    """
    from kvmdecl.pipeline import load_cluster
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.rules import baseline, selected, site_of

    if write_baseline is not None and path is None:
        raise typer.BadParameter("--write-baseline needs the PATH of a manifest")
    plugins = load_plugins()
    rules = plugins.rules()
    if path is not None:
        site = site_of(load_cluster(path, plugins))
        if write_baseline is not None:
            common.write_file(write_baseline, baseline(rules, site))
            common.say(f"wrote {write_baseline}")
            return
        rules = selected(rules, site)
    common.say(_json(rules) if format_ is common.Format.JSON else "\n".join(_lines(rules)))


def _lines(rules: tuple[Rule, ...]) -> Iterable[str]:
    from kvmdecl.text import safe_text

    width = max((len(rule.code) for rule in rules), default=0)
    for rule in rules:
        yield safe_text(f"{rule.code:<{width}}  {rule.weight:<7}  {rule.title}")


def _json(rules: Iterable[Rule]) -> str:
    import json

    keys = ("code", "title", "why", "source", "fix", "bad", "good")
    found = [
        {
            **{key: getattr(rule, key) for key in keys},
            "severity": rule.weight,
            "needsHosts": rule.needs_hosts,
        }
        for rule in rules
    ]
    return json.dumps({"formatVersion": "1.0", "rules": found}, indent=2)
