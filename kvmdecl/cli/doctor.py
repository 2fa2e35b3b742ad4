"""`kvmdecl doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.answers import Answer
    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.inside import Certificate, Inside, Unseen
    from kvmdecl.pluginhost import Plugins
    from kvmdecl.state import Observation
    from kvmdecl.uri import HostUri


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
    ssh: Annotated[
        str,
        typer.Option(
            metavar="TARGET",
            help="How SSH gets to hosts whose URIs lead to libvirt alone: `root@{name}`, `{name}` being the host.",
            show_default=False,
        ),
    ] = "",
    libvirt_only: Annotated[
        bool, typer.Option("--libvirt-only", help="Ask libvirt alone, and run no programs on hosts.")
    ] = False,
) -> None:
    """Examine the hosts of a manifest: what does not work, what could be better, and how to mend it.

    It asks whether each host is reached safely, which versions it has, whether KVM, IOMMU, firmware, TPM, pools,
    networks and confinement are there as far as the manifest wants them, and how long guests wait for CPUs; through
    programs of the host (by SSH, or on this machine) its clock, huge pages, inodes, ports for migration, certificates
    and fencing; and of all hosts together whether guests can move between them. Nothing is changed.

    Examples:
      kvmdecl doctor clusters/demo
      kvmdecl doctor clusters/demo --host kvm-1 --read-write --verbose
      kvmdecl doctor clusters/demo --ssh root@{name}
      kvmdecl doctor clusters/demo --textfile /var/lib/node_exporter/hosts.prom

    Exit codes: 0 all works, 1 error, 2 something that is wanted does not work, 3 a host did not answer.
    """
    import time

    from kvmdecl.cli import planning
    from kvmdecl.doctor import examine, with_choice
    from kvmdecl.inside import Unseen
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.state import Unreachable
    from kvmdecl.views.doctor import render_doctor, render_doctor_json, render_doctor_metrics

    plugins = load_plugins()
    cluster = planning.read_cluster(path, plugins)
    every = {resolved.name: resolved.uri for resolved in cluster.hosts}
    uris = {name: every[name] for name in common.chosen_hosts(host, every)}
    seen = _seen(cluster, uris, facts, read_write)
    up = [name for name, each in seen.items() if not isinstance(each, Unreachable)]
    if facts is not None or libvirt_only:
        why = "files hold what libvirt told" if facts is not None else "libvirt alone was asked"
        looks = _Looks(dict.fromkeys(up, Unseen(why)), {}, ())
    else:
        looks = _looked(cluster, plugins, uris, up, ssh)
    findings = examine(
        cluster, seen, looks.inside, looks.certificates, now=time.time(), is_lab=common.rehearsing() and facts is None
    )  # fmt: skip
    findings = with_choice(cluster, (*findings, *looks.more))
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


@dataclass(frozen=True, slots=True)
class _Looks:
    """What was seen past libvirt."""

    inside: Mapping[str, Inside | Unseen]
    certificates: Mapping[str, Certificate]
    more: tuple[Answer, ...]


def _seen(
    cluster: ResolvedCluster, uris: Mapping[str, HostUri], facts: Path | None, read_write: bool
) -> Mapping[str, Observation]:
    from dataclasses import replace

    from kvmdecl.hosts.fleet import ReadingFleet
    from kvmdecl.hosts.sanity import believable
    from kvmdecl.pipeline import scope_of
    from kvmdecl.snapshot import SnapshotReader

    scope = replace(scope_of(cluster), interfaces=True, settings=True, loads=True, domain_support=read_write)
    if facts is not None:
        return SnapshotReader(facts, uris).observe(scope)
    with ReadingFleet(uris) as fleet:
        return believable(fleet.observe(scope))


def _looked(
    cluster: ResolvedCluster, plugins: Plugins, uris: Mapping[str, HostUri], up: list[str], ssh: str
) -> _Looks:
    from kvmdecl.hosts.certificates import certificates
    from kvmdecl.hosts.inside import look
    from kvmdecl.inside import NO_WAY, Unseen
    from kvmdecl.manager import NoAnswer

    reach = common.reach(uris, ssh)
    shells = {name: reach.shell(name) for name in up}
    pools = [pool for pool in cluster.pools if pool.spec.path is not None]
    paths = {name: [str(pool.spec.path) for pool in pools if name in pool.hosts] for name in up}
    addresses = {host.name: host.migration_address for host in cluster.hosts if host.migration_address}
    found = look({name: shell for name, shell in shells.items() if shell is not None}, paths, addresses)
    by_hand = "see that `ssh -o BatchMode=yes` gets there as this user, and that `sh` answers"
    inside = {name: found.get(name, NO_WAY) for name in up}
    told = {
        name: Unseen(str(each), by_hand) if isinstance(each, NoAnswer) else each
        for name, each in inside.items()
    }
    return _Looks(told, certificates(uris), plugins.doctor(cluster, reach, up))
