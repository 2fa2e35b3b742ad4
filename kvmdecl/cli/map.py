"""`kvmdecl map`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from kvmdecl.hostmap import HostMap


def run(
    path: common.ClusterPath = common.DEFAULT_PATH,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Show this host only. May be repeated.", show_default="all"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Draw a picture into this file instead: .svg, or .html.", show_default=False),
    ] = None,
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
    facts: Annotated[
        Path | None, typer.Option(help="Look offline, at the files that `kvmdecl facts` wrote.")
    ] = None,
) -> None:
    """Show who sits where: hosts, their NUMA cells, cores and pages, and the guests on them.

    It shows what would be after an apply: where vms are, where the lock file puts them, and where they would go if
    there is none. What is new is marked, and so is who would get other CPUs. Reads the hosts over read-only connections
    and changes nothing.

    A picture is one file that loads nothing and runs nothing; what is pointed at says what it is. docs/map.md
    explains both.

    Examples:
      kvmdecl map clusters/demo
      kvmdecl map clusters/demo --host kvm-1 --host kvm-2
      kvmdecl map clusters/demo --facts facts/ --out map.html

    Exit codes: 0 shown, 1 error, 3 a host did not answer.
    """
    if out is not None and (out.suffix not in {".svg", ".html"} or format_ is common.Format.JSON):
        raise typer.BadParameter("--out draws a picture, into a file that ends in .svg or .html")
    hosts = _mapped(path, facts, frozenset(host or ()))
    if out is not None:
        common.write_file(out, _picture(hosts, out))
        common.say(f"wrote {out}")
    elif format_ is common.Format.JSON:
        from kvmdecl.views.map_json import render_map_json

        common.say(render_map_json(hosts), end="")
    else:
        from kvmdecl.views.map_text import render_map

        common.say(render_map(hosts, color=common.color()), end="")
    raise typer.Exit(common.Exit.OK if hosts.complete else common.Exit.PARTIAL)


def _mapped(path: Path, facts: Path | None, only: frozenset[str]) -> HostMap:
    """The map of all hosts of the manifest, or of some `only`."""
    from dataclasses import replace

    from kvmdecl.cli import planning
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.hostmap import host_map
    from kvmdecl.pluginhost import load_plugins

    plugins = load_plugins()
    cluster = planning.read_cluster(path, plugins)
    names = [host.name for host in cluster.hosts]
    if strangers := sorted(only.difference(names)):
        raise Rejected(common.unknown_host("map.unknown-host", name, names) for name in strangers)
    found = host_map(*planning.place(cluster, facts, plugins))
    return replace(found, hosts=tuple(host for host in found.hosts if not only or host.name in only))


def _picture(hosts: HostMap, out: Path) -> str:
    from kvmdecl.views.map_svg import render_html, render_svg

    return render_html(hosts) if out.suffix == ".html" else render_svg(hosts)
