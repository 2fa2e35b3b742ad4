"""What plan, apply and destroy share: a manifest and its hosts -> a plan, and a plan -> an exit code."""

from __future__ import annotations

from pathlib import Path

from kvmdecl.cli import common
from kvmdecl.cluster import ResolvedCluster
from kvmdecl.diagnostics import Diagnostic
from kvmdecl.hosts.fleet import ReadingFleet
from kvmdecl.pipeline import load_cluster, plan_cluster, rehearse
from kvmdecl.plan import Plan
from kvmdecl.pluginhost import Plugins, load_plugins
from kvmdecl.snapshot import SnapshotReader


def read_cluster(path: Path, plugins: Plugins) -> ResolvedCluster:
    """Load the manifest; in a rehearsal its hosts are the lab's.

    Raises:
        Rejected: with everything that is wrong in the manifest.
    """
    cluster = load_cluster(path, plugins)
    return rehearse(cluster, common.host_uris(cluster)) if common.rehearsing() else cluster


def make(path: Path, facts: Path | None = None) -> tuple[Plan, tuple[Diagnostic, ...]]:
    """Plan the manifest at `path` against its hosts, or against saved facts.

    Raises:
        Rejected: with everything that stands in the way of a plan.
    """
    plugins = load_plugins()
    cluster = read_cluster(path, plugins)
    if facts is not None:
        return plan_cluster(cluster, SnapshotReader(facts, [host.name for host in cluster.hosts]), plugins)
    with ReadingFleet({host.name: host.uri for host in cluster.hosts}) as fleet:
        return plan_cluster(cluster, fleet, plugins)


def exit_code(plan: Plan, *, detailed: bool) -> common.Exit:
    """What `plan` ends with. A host that did not answer outweighs the rest: the plan is not whole."""
    if not plan.complete:
        return common.Exit.PARTIAL
    if plan.blocked:
        return common.Exit.ERROR
    return common.Exit.CHANGES if detailed and plan.steps else common.Exit.OK
