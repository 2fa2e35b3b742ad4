"""`kvmdecl devices`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.devicemap import DeviceMap
    from kvmdecl.state import Observation


def run(
    host: Annotated[
        str | None,
        typer.Argument(metavar="HOST", help="Host to show; all of them if not given.", show_default=False),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH",
            help="Manifest file, or folder whose *.yaml files are one manifest; as KVMDECL_CLUSTER says if not given.",
            show_default=str(common.DEFAULT_PATH),
        ),
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
    """Show the devices of hosts: ports, IOMMU groups, who has what, and what is free to be passed on.

    PCI functions stand below the ports that they are behind, each with its group. Of what is not free it says why: who
    has it, what on the host depends on it, who else is in its group. USB and mediated devices, too. Reads
    the hosts over read-only connections and changes nothing.

    A first argument that is a file or a folder is taken for PATH. With --facts no manifest is needed; then nobody
    knows whose guests they are. docs/devices.md explains what is told, and what libvirt cannot tell.

    Examples:
      kvmdecl devices kvm-1
      kvmdecl devices clusters/demo --out devices.html
      kvmdecl devices kvm-1 clusters/demo --facts facts/ --format json

    Exit codes: 0 shown, 1 error, 3 a host did not answer.
    """
    if out is not None and (out.suffix not in {".svg", ".html"} or format_ is common.Format.JSON):
        raise typer.BadParameter("--out draws a picture, into a file that ends in .svg or .html")
    only = host
    if host is not None and path is None and Path(host).exists():
        only, path = None, Path(host)
    manifest = path or Path(os.environ.get("KVMDECL_CLUSTER") or common.DEFAULT_PATH)
    if facts is not None and path is None and not manifest.exists():
        devices = _without_manifest(facts, only)
    else:
        devices = _of_cluster(manifest, facts, only)
    if out is not None:
        common.write_file(out, _picture(devices, out))
        common.say(f"wrote {out}")
    elif format_ is common.Format.JSON:
        from kvmdecl.views.devices_json import render_devices_json

        common.say(render_devices_json(devices), end="")
    else:
        from kvmdecl.views.devices_text import render_devices

        common.say(render_devices(devices, color=common.color()), end="")
    raise typer.Exit(common.Exit.OK if devices.complete else common.Exit.PARTIAL)


def _of_cluster(path: Path, facts: Path | None, only: str | None) -> DeviceMap:
    """The devices of the hosts of a manifest, or of one of them. Nothing is placed: who is nowhere has none."""
    from kvmdecl.cli import planning
    from kvmdecl.devicemap import device_map
    from kvmdecl.hosts.fleet import ReadingFleet
    from kvmdecl.hosts.protocol import Scope
    from kvmdecl.hosts.sanity import believable
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.snapshot import SnapshotReader

    cluster = planning.read_cluster(path, load_plugins())
    uris = {host.name: host.uri for host in cluster.hosts}
    wanted = {name: uris[name] for name in _chosen(only, uris)}
    scope = Scope(devices=True)
    if facts is not None:
        return device_map(believable(SnapshotReader(facts, wanted).observe(scope)), cluster)
    with ReadingFleet(wanted) as fleet:
        return device_map(believable(fleet.observe(scope)), cluster)


def _without_manifest(facts: Path, only: str | None) -> DeviceMap:
    from kvmdecl.devicemap import device_map
    from kvmdecl.snapshot import load_snapshots

    found: Mapping[str, Observation] = load_snapshots(facts)
    return device_map({name: found[name] for name in _chosen(only, found)})


def _chosen(only: str | None, known: Iterable[str]) -> list[str]:
    from kvmdecl.diagnostics import Rejected

    names = list(known)
    if only is not None and only not in names:
        raise Rejected([common.unknown_host("devices.unknown-host", only, names)])
    return [name for name in names if only in {None, name}]


def _picture(devices: DeviceMap, out: Path) -> str:
    from kvmdecl.views.devices_svg import render_html, render_svg

    return render_html(devices) if out.suffix == ".html" else render_svg(devices)
