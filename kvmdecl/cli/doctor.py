"""`kvmdecl doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.state import Observation


def run(
    path: common.ClusterPath = common.DEFAULT_PATH,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Examine this host only. May be repeated.", show_default="all"),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what is well, too.")] = False,
    read_write: Annotated[
        bool,
        typer.Option(
            "--read-write",
            help="Open full connections, to see firmware, TPM and devices too: libvirt denies them to read-only ones. "
            "Nothing is changed.",
        ),
    ] = False,
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
    textfile: Annotated[
        Path | None,
        typer.Option(help="Write metrics for Prometheus's node exporter to this file.", show_default=False),
    ] = None,
    facts: Annotated[
        Path | None, typer.Option(help="Look offline, at the files that `kvmdecl facts` wrote.")
    ] = None,
) -> None:
    """Examine the hosts of a manifest: what does not work, what could be better, and how to mend it.

    It asks whether each host is reached safely, which versions it has, whether KVM, IOMMU, firmware, TPM, pools,
    networks and confinement are there as far as the manifest wants them, and how long guests wait for CPUs; and of all
    hosts together whether guests can move between them. Nothing is changed.

    Examples:
      kvmdecl doctor clusters/demo
      kvmdecl doctor clusters/demo --host kvm-1 --read-write --verbose
      kvmdecl doctor clusters/demo --textfile /var/lib/node_exporter/hosts.prom

    Exit codes: 0 all works, 1 error, 2 something that is wanted does not work, 3 a host did not answer.
    """
    from kvmdecl.cli import planning
    from kvmdecl.doctor import examine
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.state import Unreachable
    from kvmdecl.views.doctor import render_doctor, render_doctor_json, render_doctor_metrics

    cluster = planning.read_cluster(path, load_plugins())
    seen = _seen(cluster, host, facts, read_write)
    findings = examine(cluster, seen)
    if textfile is not None:
        common.write_file(textfile, render_doctor_metrics(cluster.name, findings))
    if format_ is common.Format.JSON:
        common.say(render_doctor_json(findings), end="")
    else:
        common.say(render_doctor(findings, verbose=verbose), end="")
    if any(isinstance(each, Unreachable) for each in seen.values()):
        raise typer.Exit(common.Exit.PARTIAL)
    failing = any(finding.outcome == "failure" for finding in findings)
    raise typer.Exit(common.Exit.CHANGES if failing else common.Exit.OK)


def _seen(
    cluster: ResolvedCluster, wanted: list[str] | None, facts: Path | None, read_write: bool
) -> Mapping[str, Observation]:
    from dataclasses import replace

    from kvmdecl.hosts.fleet import ReadingFleet
    from kvmdecl.hosts.sanity import believable
    from kvmdecl.pipeline import scope_of
    from kvmdecl.snapshot import SnapshotReader

    uris = {resolved.name: resolved.uri for resolved in cluster.hosts}
    names = common.chosen_hosts(wanted, uris)
    scope = replace(scope_of(cluster), interfaces=True, settings=True, loads=True, domain_support=read_write)
    if facts is not None:
        return SnapshotReader(facts, {name: uris[name] for name in names}).observe(scope)
    with ReadingFleet({name: uris[name] for name in names}) as fleet:
        return believable(fleet.observe(scope))
