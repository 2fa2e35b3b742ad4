"""`kvmdecl facts`."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.manager import Configuration, Manager
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
    pools, volumes). It is sorted, so that git shows what changed. Secrets are left out. What a cluster manager goes
    by (`ha`) is in a file of its own, managers/NAME.json.

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
    found = Read(_saved(from_xml, host)) if from_xml is not None else _read(path, host, read_write)
    for file in _write(out, found):
        common.say(f"wrote {file}")
    common.report((*found.failed, *found.notes))
    raise typer.Exit(common.Exit.PARTIAL if found.failed else common.Exit.OK)


class Read(NamedTuple):
    """What was read, who did not answer, and what else there is to know. `managers` are cluster managers by name."""

    snapshots: list[HostSnapshot]
    managers: Mapping[str, tuple[Manager, Configuration]] = MappingProxyType({})
    failed: tuple[Diagnostic, ...] = ()
    notes: tuple[Diagnostic, ...] = ()


def _read(path: Path, wanted: list[str] | None, domain_support: bool) -> Read:
    from dataclasses import replace

    from kvmdecl.cli import planning
    from kvmdecl.diagnostics import reject_errors
    from kvmdecl.hosts.fleet import ReadingFleet
    from kvmdecl.hosts.identity import check_identities
    from kvmdecl.manager import Configuration, Unknown
    from kvmdecl.pipeline import scope_of
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.state import HostSnapshot, Unreachable

    plugins = load_plugins()
    cluster = planning.read_cluster(path, plugins)
    uris = {resolved.name: resolved.uri for resolved in cluster.hosts}
    names = common.chosen_hosts(wanted, uris)
    scope = replace(
        scope_of(cluster), devices=True, filters=True, settings=True, domain_support=domain_support
    )
    with ReadingFleet({name: uris[name] for name in names}) as fleet:
        seen: Mapping[str, Observation] = fleet.observe(scope)
    reject_errors(check_identities(seen))
    snapshots = [each for each in seen.values() if isinstance(each, HostSnapshot)]
    up, reach = frozenset(each.host for each in snapshots), common.reach(uris)
    managers = plugins.managers()
    told = {name: manager.observe(cluster, reach, up) for name, manager in managers.items()}
    silent = [each for each in told.values() if isinstance(each, Unknown)]
    return Read(
        snapshots,
        {name: (managers[name], each) for name, each in told.items() if isinstance(each, Configuration)},
        (
            *(each.diagnostic for each in seen.values() if isinstance(each, Unreachable)),
            *(each.diagnostic for each in silent if each.asked),
        ),
        tuple(each.diagnostic for each in silent if not each.asked),
    )


def _saved(directory: Path, wanted: list[str] | None) -> list[HostSnapshot]:
    from kvmdecl.saved_xml import from_xml_dir

    snapshots = from_xml_dir(directory)
    return [snapshots[name] for name in common.chosen_hosts(wanted, snapshots)]


def _write(directory: Path, found: Read) -> list[Path]:
    from kvmdecl.snapshot import write_manager, write_snapshots

    try:
        write_snapshots(directory, found.snapshots)
        managers = [
            write_manager(directory, name, manager, configuration)
            for name, (manager, configuration) in found.managers.items()
        ]
    except OSError as error:
        raise common.not_written(str(directory), error) from error
    return [*(directory / f"{snapshot.host}.json" for snapshot in found.snapshots), *managers]
