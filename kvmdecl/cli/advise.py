"""`kvmdecl advise`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.pluginhost import Plugins
    from kvmdecl.proposals import Advice
    from kvmdecl.state import Observation


class Workload(StrEnum):
    """What a guest is for."""

    WEB = "web"
    DATABASE = "database"
    LATENCY = "latency"
    GPU = "gpu"
    WINDOWS = "windows"
    VDI = "vdi"


def run(
    vm: Annotated[str, typer.Argument(help="Name of the vm, or of its entry if it has a count.")],
    path: common.ClusterPath = common.DEFAULT_PATH,
    workload: Annotated[
        Workload, typer.Option("--workload", "-w", help="What it is for.", show_default=False)
    ] = ...,  # type: ignore[assignment]  # typer's word for "required"
    facts: Annotated[
        Path | None,
        typer.Option(help="Take the hosts into account, as the files of `kvmdecl facts` describe them."),
    ] = None,
    ask_hosts: Annotated[
        bool, typer.Option("--ask-hosts", help="Take the hosts into account, and read them for it.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Make the changes in the manifest, after showing them.")
    ] = False,
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
) -> None:
    """Propose what a vm should have for what it is for, as a patch of the manifest with the reasons.

    The rules of the group `workload` and others that matter for it are asked; each change is tried before it is shown:
    the manifest is valid with it, and, where hosts are known, everybody still has a place on them. It is made in the
    vm's own entry, so that others of its profile stay as they are, and no other byte changes. Afterwards these rules
    find nothing, but for what is left to you, which is listed.

    Contacts nobody unless told to. `patch -p0` and `git apply -p0` take what it prints.

    Examples:
      kvmdecl advise db-north clusters/edge --workload database
      kvmdecl advise web clusters/edge -w web --facts facts/
      kvmdecl advise web clusters/edge -w web --write

    Exit codes: 0 shown or written, 1 error.
    """
    from kvmdecl.source import read_ahead

    if facts is not None and ask_hosts:
        raise typer.BadParameter("--facts and --ask-hosts exclude each other")
    read_ahead(path)

    from kvmdecl.advise import advise
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.views.advice import render_advice, render_advice_json

    plugins = load_plugins()
    seen = _seen(path, plugins, facts) if facts is not None or ask_hosts else None
    advice = advise(path, vm, workload.value, plugins, seen, _stage)
    render = render_advice_json if format_ is common.Format.JSON else render_advice
    common.say(render(advice), end="")
    if write and advice.before != advice.after:
        _write(advice)


def _stage(cluster: ResolvedCluster) -> ResolvedCluster:
    from kvmdecl.pipeline import rehearse

    return rehearse(cluster, common.host_uris(cluster)) if common.rehearsing() else cluster


def _seen(path: Path, plugins: Plugins, facts: Path | None) -> Mapping[str, Observation]:
    from kvmdecl.cli import planning
    from kvmdecl.hosts.fleet import ReadingFleet
    from kvmdecl.hosts.sanity import believable
    from kvmdecl.pipeline import read_from, scope_of
    from kvmdecl.snapshot import SnapshotReader

    cluster = planning.read_cluster(path, plugins)
    uris = read_from(cluster)
    if facts is not None:
        return believable(SnapshotReader(facts, uris).observe(scope_of(cluster)))
    with ReadingFleet(uris) as fleet:
        return believable(fleet.observe(scope_of(cluster)))


def _write(advice: Advice) -> None:
    from kvmdecl.source import BYTE_ORDER_MARK

    begins = advice.file.read_bytes().startswith(BYTE_ORDER_MARK.encode())
    common.write_file(advice.file, (BYTE_ORDER_MARK if begins else "") + advice.after)
    common.complain(f"wrote {advice.file}")
