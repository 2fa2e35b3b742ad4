"""`kvmdecl facts`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.state import HostSnapshot, Observation


def run(
    path: common.ClusterPath = common.DEFAULT_PATH,
    out: Annotated[Path, typer.Option(help="Folder to write to, one file for each host.")] = Path("facts"),
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Read this host only. May be repeated.", show_default="all"),
    ] = None,
    from_xml: Annotated[
        Path | None,
        typer.Option("--from-xml", help="Read saved XML instead of hosts.", show_default=False),
    ] = None,
    read_write: Annotated[
        bool,
        typer.Option(
            "--read-write",
            help="Open full connections, to read domain capabilities (CPU models, firmware) too: libvirt "
            "denies them to read-only ones. Nothing is changed.",
        ),
    ] = False,
) -> None:
    """Read hosts into files, for `kvmdecl plan --facts`.

    Each file holds what a host is (CPUs, memory, devices, versions) and what exists on it (domains, networks,
    pools, volumes). It is sorted, so that git shows what changed. Secrets are left out.

    --from-xml makes the same of what virsh printed, for hosts that cannot be reached from here. A folder for
    each host holds capabilities.xml (virsh capabilities) and, as far as wanted, domcapabilities.xml,
    version.txt (virsh version --daemon), nodedev/*.xml, interfaces/*.xml, domains/*.xml (virsh dumpxml
    --inactive), domains-live/*.xml, networks/*.xml, pools/*.xml and volumes/POOL/*.xml. docs/hosts.md tells
    the rest.

    Examples:
      kvmdecl facts clusters/demo --out facts
      kvmdecl facts --from-xml bug-report --out facts
      kvmdecl plan clusters/demo --facts facts

    Exit codes: 0 all read, 1 error, 3 a host did not answer; the others are written.
    """
    snapshots, failed = (
        (_saved(from_xml, host), ()) if from_xml is not None else _read(path, host, read_write)
    )
    _write(out, snapshots)
    for snapshot in snapshots:
        common.say(f"wrote {out / f'{snapshot.host}.json'}")
    common.report(failed)
    raise typer.Exit(common.Exit.PARTIAL if failed else common.Exit.OK)


def _read(
    path: Path, wanted: list[str] | None, domain_support: bool
) -> tuple[list[HostSnapshot], tuple[Diagnostic, ...]]:
    from dataclasses import replace

    from kvmdecl.cli import planning
    from kvmdecl.diagnostics import reject_errors
    from kvmdecl.hosts.fleet import ReadingFleet
    from kvmdecl.hosts.identity import check_identities
    from kvmdecl.pipeline import scope_of
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.state import HostSnapshot, Unreachable

    cluster = planning.read_cluster(path, load_plugins())
    uris = {resolved.name: resolved.uri for resolved in cluster.hosts}
    names = common.chosen_hosts(wanted, uris)
    scope = replace(
        scope_of(cluster), devices=True, filters=True, settings=True, domain_support=domain_support
    )
    with ReadingFleet({name: uris[name] for name in names}) as fleet:
        seen: Mapping[str, Observation] = fleet.observe(scope)
    reject_errors(check_identities(seen))
    return (
        [each for each in seen.values() if isinstance(each, HostSnapshot)],
        tuple(each.diagnostic for each in seen.values() if isinstance(each, Unreachable)),
    )


def _saved(directory: Path, wanted: list[str] | None) -> list[HostSnapshot]:
    from kvmdecl.saved_xml import from_xml_dir

    snapshots = from_xml_dir(directory)
    return [snapshots[name] for name in common.chosen_hosts(wanted, snapshots)]


def _write(directory: Path, snapshots: list[HostSnapshot]) -> None:
    from kvmdecl.snapshot import write_snapshots

    try:
        write_snapshots(directory, snapshots)
    except OSError as error:
        raise common.not_written(str(directory), error) from error
