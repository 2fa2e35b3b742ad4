"""A cluster on hosts that exist on paper, some of them silent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.hosts.fake import FakeReader
from kvmdecl.pipeline import load_cluster, plan_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host
from kvmdecl.state import HostSnapshot, HostState, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.plan import Plan
    from kvmdecl.state import Observation

BEFORE = Path(__file__).parents[1] / "scenarios/before/db"
PLUGINS = load_plugins()


def plan_for(manifest: Path, observations: Mapping[str, Observation], new: Iterable[str] = ()) -> Plan:
    """Plan a manifest; a host that nothing is said about is empty. `new` are vms that the user says exist nowhere.

    Raises:
        Rejected: with everything that stands in the way.
    """
    cluster = replace(load_cluster(manifest, PLUGINS), newcomers=frozenset(new))
    hosts = {host.name: observations.get(host.name) or example_host(host.name) for host in cluster.hosts}
    plan, _ = plan_cluster(cluster, FakeReader(hosts), PLUGINS)
    return plan


def silent(host: str) -> Unreachable:
    """A host that does not answer."""
    return Unreachable(host, Diagnostic("host.unreachable", f"{host} does not answer"))


def with_state(host: str, state: HostState) -> HostSnapshot:
    """An example host that holds these objects."""
    return replace(example_host(host), state=state)
