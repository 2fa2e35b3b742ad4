"""What plan, apply and destroy share: a manifest and its hosts -> a plan, and a plan -> an exit code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl.asking import Relock
from kvmdecl.cli import common, judging
from kvmdecl.cli.choosing import WHOLE, Part, choose
from kvmdecl.cluster import PlacedCluster, ResolvedCluster
from kvmdecl.deep import deepen
from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.hosts.fleet import ConvertingFleet, ReadingFleet
from kvmdecl.hosts.protocol import HostReader, Scope
from kvmdecl.hosts.sanity import believable
from kvmdecl.images import Care
from kvmdecl.lock import Lock, new_lock
from kvmdecl.pipeline import (
    ManagerReader,
    compile_cluster,
    facts_of,
    in_schedule,
    load_cluster,
    place_cluster,
    plan_cluster,
    profile_vms,
    read_from,
    rehearse,
    scope_of,
)
from kvmdecl.plan import Plan
from kvmdecl.planner.clusters import without_hollow
from kvmdecl.planner.destroy import make_destroy_plan
from kvmdecl.pluginhost import Plugins, load_plugins
from kvmdecl.snapshot import SnapshotReader, load_manager
from kvmdecl.state import HostSnapshot, Observation
from kvmdecl.text import did_you_mean, hint_for_vm, is_member, quoted, with_entries

if TYPE_CHECKING:
    from kvmdecl.capacity import Capacity
    from kvmdecl.failover import Survival
    from kvmdecl.homes import HomeMap
    from kvmdecl.manager import Manager, ManagerStatus, Observed, Reach
    from kvmdecl.state import Artifact
    from kvmdecl.takeover import Proof
    from kvmdecl.whatif import Whereabouts


def read_cluster(path: Path, plugins: Plugins, care: Care = Care.IGNORE) -> ResolvedCluster:
    """Load the manifest; in a rehearsal its hosts are the lab's. `care` is for its images.

    Raises:
        Rejected: with everything that is wrong in the manifest.
    """
    cluster = load_cluster(path, plugins, care)
    return rehearse(cluster, common.host_uris(cluster)) if common.rehearsing() else cluster


def make(
    path: Path,
    facts: Path | None = None,
    *,
    deep: bool = False,
    scheduled: bool = False,
    forget: Iterable[str] = (),
    new: Iterable[str] = (),
    foreign: bool = False,
    to_apply: bool = False,
    policies: Path | None = None,
    part: Part = WHOLE,
) -> Made:
    """Plan the manifest at `path` against its hosts, or against saved facts.

    `deep` asks the hosts' libvirt about each domain, over read-write connections; not with `facts`. `scheduled` lets
    vms of `restart: scheduled` restart. `forget` names hosts that left the cluster for good, `new` vms that exist on no
    host. `foreign` adds what nobody declares. `to_apply` reads the hosts over read-write connections, which tell more.
    `policies` is a file of policies that the plan is held against besides the manifest's. `part` is what of it is
    wanted.

    Raises:
        Rejected: with everything that stands in the way of a plan.
    """
    plugins = load_plugins()
    cluster = read_cluster(path, plugins, Care.VERIFY)
    cluster = replace(cluster, forgotten=frozenset(forget), newcomers=_newcomers(cluster, new))
    cluster = judging.with_policies(cluster, policies)
    uris = read_from(cluster)
    if scheduled:
        cluster = in_schedule(cluster)
    if facts is not None:
        hosts = _Remembering(SnapshotReader(facts, uris))
        plan, warnings = plan_cluster(
            cluster, hosts, plugins, foreign=foreign, managed=_recorded(facts), prove=True
        )
        warnings += judging.idle(cluster, plan)
        plan = choose(plan, part, cluster, path, hosts.seen, plugins)
        return Made(judging.judge(replace(plan, warnings=warnings), plugins, "plan"), hosts.seen)
    with ReadingFleet(uris) as fleet:
        hosts = _Remembering(fleet)
        plan, warnings = plan_cluster(
            cluster,
            hosts,
            plugins,
            foreign=foreign,
            to_apply=to_apply,
            managed=asked(common.reach(uris)),
            prove=True,
        )
    warnings += judging.idle(cluster, plan)
    plan = choose(plan, part, cluster, path, hosts.seen, plugins)
    if deep:
        with ConvertingFleet(uris) as converter:
            plan = without_hollow(deepen(plan, converter))
    plan = judging.judge(replace(plan, warnings=warnings), plugins, "apply" if to_apply else "plan")
    return Made(plan, hosts.seen)


def _newcomers(cluster: ResolvedCluster, named: Iterable[str]) -> frozenset[str]:
    """The vms that are named, each by itself or by its entry."""
    names, found = [vm.name for vm in cluster.vms], set[str]()
    for name in named:
        vms = {vm for vm in names if is_member(vm, name)}
        if not vms:
            hint = did_you_mean(name, with_entries(names))
            raise Rejected([Diagnostic("plan.unknown-vm", f"there is no vm {quoted(name)}", hint=hint)])
        found |= vms
    return frozenset(found)


def asked(reach: Reach) -> ManagerReader:
    """What cluster managers go by, as they say it themselves."""
    return lambda _name, manager, cluster, up: manager.observe(cluster, reach, up)


def _recorded(facts: Path) -> ManagerReader:
    """What cluster managers went by when facts were saved."""

    def read(name: str, manager: Manager, cluster: ResolvedCluster, _up: frozenset[str]) -> Observed | None:
        return load_manager(facts, name, manager) if manager.manages(cluster) else None

    return read


class Made(NamedTuple):
    """A plan with what was found on the way to it, and how the hosts were."""

    plan: Plan
    seen: Mapping[str, Observation]


@dataclass
class _Remembering:
    """A HostReader that asks another one, and keeps what it answered."""

    reader: HostReader
    seen: Mapping[str, Observation] = field(default_factory=dict)

    def observe(self, scope: Scope) -> Mapping[str, Observation]:
        self.seen = self.reader.observe(scope)
        return self.seen


def count_room(path: Path, facts: Path | None) -> tuple[tuple[Capacity, ...], bool]:
    """How many more vms of each kind of the manifest at `path` fit, and whether all hosts were read.

    Raises:
        Rejected: with everything that stands in the way of a placement.
    """
    from kvmdecl.whatif import kinds, room_for  # no plan needs it

    plugins = load_plugins()
    placed, seen = place(read_cluster(path, plugins), facts, plugins)
    wider, profiles = profile_vms(path, plugins)
    if common.rehearsing():
        profiles = {name: replace(vm, type="qemu") for name, vm in profiles.items()}
    found = room_for(placed, seen, kinds(placed, profiles), plugins.solver(wider.solver))
    return found, _all_read(seen)


def lose_hosts(path: Path, facts: Path | None, lose: int) -> tuple[Survival, bool]:
    """What comes of the loss of any `lose` hosts of the manifest at `path`, and whether all hosts were read.

    Raises:
        Rejected: `failover.too-few-hosts`, or with everything that stands in the way of a placement.
    """
    from kvmdecl.whatif import survives  # no plan needs it

    plugins = load_plugins()
    cluster = read_cluster(path, plugins)
    _require_hosts(cluster, lose)
    placed, seen = place(cluster, facts, plugins)
    return survives(placed, seen, lose, plugins.solver(placed.cluster.solver)), _all_read(seen)


def _require_hosts(cluster: ResolvedCluster, lose: int) -> None:
    there = len(cluster.hosts)
    if lose > there:
        summary = f"{lose} hosts cannot be lost: the cluster has {there}"
        hint = f"write a number up to {there} after `--lose`"
        raise Rejected(
            [Diagnostic("failover.too-few-hosts", summary, cluster.origin.find("hosts"), hint=hint)]
        )


def find_vm(name: str, path: Path, facts: Path | None) -> Whereabouts:
    """Where a vm of the manifest at `path` is, and why.

    Raises:
        Rejected: `explain.unknown-vm`, or with everything that stands in the way of a placement.
    """
    from kvmdecl.whatif import whereabouts  # no plan needs it

    plugins = load_plugins()
    placed, seen = place(read_cluster(path, plugins), facts, plugins)
    vms = {vm.name: vm for vm in placed.cluster.vms}
    if name not in vms:
        summary = f"there is no vm {quoted(name)}"
        raise Rejected([Diagnostic("explain.unknown-vm", summary, hint=hint_for_vm(name, vms))])
    return whereabouts(placed, seen, vms[name], plugins.solver(placed.cluster.solver))


def emit_section(path: Path, facts: Path | None, section: str) -> tuple[Artifact, ...]:
    """The files of a section of the manifest at `path`, for its hosts or those of saved facts.

    Raises:
        Rejected: with everything that stands in the way of them, `ha.no-section` if the manifest does not have it.
    """
    plugins = load_plugins()
    placed, seen = _with_section(path, facts, section, plugins)
    artifacts = plugins.emit(placed, facts_of(seen))
    return tuple(artifact for artifact in artifacts if artifact.section == section)


def simulate(path: Path, facts: Path | None, section: str, lose: int | None) -> Proof:
    """What the cluster manager would do about the loss of any `lose` hosts, or of as many as the section says.

    Raises:
        Rejected: with everything that stands in the way of an answer, `ha.no-section` if the manifest does not have it,
            `failover.too-few-hosts`.
    """
    from kvmdecl.survivors import prove

    plugins = load_plugins()
    placed, seen = _with_section(path, facts, section, plugins)
    _require_hosts(placed.cluster, lose or 1)
    said = getattr(placed.cluster.sections[section], "survive", 1)
    return prove(placed, seen, lose or max(1, said), plugins)


def home_map(path: Path, facts: Path | None, section: str) -> HomeMap:
    """Where the vms of the section's cluster manager are, may be, and go when their hosts are lost.

    Raises:
        Rejected: as `simulate`.
    """
    from kvmdecl.homes import home_map as mapped
    from kvmdecl.survivors import prove

    plugins = load_plugins()
    placed, seen = _with_section(path, facts, section, plugins)
    return mapped(placed, facts_of(seen), prove(placed, seen, 1, plugins))


def manager_status(path: Path, section: str) -> ManagerStatus:
    """How the cluster is that the manifest at `path` describes, as its manager sees it.

    Raises:
        Rejected: with everything that is wrong in the manifest, `ha.no-section`, and what keeps from asking.
    """
    plugins = load_plugins()
    cluster = read_cluster(path, plugins)
    _require_section(cluster, section)
    manager = plugins.managers()[_MANAGERS[section]]
    return manager.status(cluster, common.reach(read_from(cluster)))


_MANAGERS = {"ha": "pacemaker"}
"""Who manages what a section is about."""


def _require_section(cluster: ResolvedCluster, section: str) -> None:
    if section not in cluster.sections:
        hint = f"add `{section}:`; docs/{section}.md says what it can hold"
        summary = f"the manifest has no section `{section}`"
        raise Rejected([Diagnostic("ha.no-section", summary, cluster.origin.at, hint=hint)])


def _with_section(
    path: Path, facts: Path | None, section: str, plugins: Plugins
) -> tuple[PlacedCluster, Mapping[str, Observation]]:
    """A cluster that has the section, placed and checked, and how its hosts are; warnings are told."""
    cluster = read_cluster(path, plugins)
    _require_section(cluster, section)
    uris = read_from(cluster)
    if facts is not None:
        seen = believable(SnapshotReader(facts, uris).observe(scope_of(cluster)))
    else:
        with ReadingFleet(uris) as fleet:
            seen = believable(fleet.observe(scope_of(cluster)))
    compiled = compile_cluster(cluster, seen, plugins)
    common.report(compiled.warnings)
    return compiled.placed, seen


def make_lock(path: Path, facts: Path | None, relock: Relock) -> tuple[Lock, bool]:
    """The lock file of the manifest at `path`, and whether all hosts were read.

    Raises:
        Rejected: with everything that stands in the way of a placement.
    """
    plugins = load_plugins()
    placed, seen = place(read_cluster(path, plugins), facts, plugins, relock)
    return new_lock(placed), _all_read(seen)


def place(
    cluster: ResolvedCluster, facts: Path | None, plugins: Plugins, relock: Relock | None = None
) -> tuple[PlacedCluster, Mapping[str, Observation]]:
    """Place the vms on the cluster's hosts, or on those of saved facts, and say how these are.

    Raises:
        Rejected: with everything that stands in the way of a placement.
    """
    uris = read_from(cluster)
    if facts is not None:
        return place_cluster(cluster, SnapshotReader(facts, uris), plugins, relock)
    with ReadingFleet(uris) as fleet:
        return place_cluster(cluster, fleet, plugins, relock)


def _all_read(seen: Mapping[str, Observation]) -> bool:
    return all(isinstance(host, HostSnapshot) for host in seen.values())


def make_from(
    path: Path, plugins: Plugins, observations: Mapping[str, Observation], texts: Mapping[Path, str]
) -> Plan:
    """Plan a manifest as it is going to be (`texts` by file) against hosts that were read before.

    Raises:
        Rejected: with everything that stands in the way of a plan.
    """
    cluster = load_cluster(path, plugins, Care.IGNORE, texts)
    if common.rehearsing():
        cluster = rehearse(cluster, {host.name: host.uri for host in cluster.hosts})
    return plan_cluster(cluster, _Read(observations), plugins)[0]


@dataclass(frozen=True)
class _Read:
    """A HostReader of hosts that were read before."""

    observations: Mapping[str, Observation]

    def observe(self, scope: Scope) -> Mapping[str, Observation]:
        return self.observations


def make_destroy(
    path: Path, volumes: frozenset[str], secrets: frozenset[str], policies: Path | None
) -> tuple[ResolvedCluster, Made]:
    """Plan the end of the cluster that the manifest at `path` describes.

    Raises:
        Rejected: with everything that is wrong in the manifest.
    """
    plugins = load_plugins()
    cluster = judging.with_policies(read_cluster(path, plugins), policies)
    with ReadingFleet(read_from(cluster)) as fleet:
        observations = believable(fleet.observe(replace(scope_of(cluster), filters=True, secrets=True)))
    plan = make_destroy_plan(cluster, observations, volumes, secrets)
    return cluster, Made(judging.judge(plan, plugins, "destroy"), observations)


def exit_code(plan: Plan, *, detailed: bool) -> common.Exit:
    """What `plan` ends with. Limits and policies outweigh hosts that did not answer, and these the rest."""
    if plan.exceeded or plan.denied:
        return common.Exit.BLOCKED
    if not plan.complete:
        return common.Exit.PARTIAL
    if plan.blocked:
        return common.Exit.ERROR
    return common.Exit.CHANGES if detailed and not plan.settled else common.Exit.OK
