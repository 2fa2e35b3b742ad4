"""The stages in order, and nothing else. Only `observe` (a HostReader) touches a host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from kvmdecl.asking import Relock
from kvmdecl.baseline import with_baselines
from kvmdecl.check import check, check_filters, check_support
from kvmdecl.cluster import PlacedCluster, ResolvedCluster, ResolvedVm
from kvmdecl.diagnostics import Diagnostic, Rejected, in_order, reject_errors
from kvmdecl.emit import emit
from kvmdecl.facts import HostFacts
from kvmdecl.hosts.identity import check_identities
from kvmdecl.hosts.protocol import HostReader, Scope
from kvmdecl.hosts.sanity import believable
from kvmdecl.images import Care, read_inputs
from kvmdecl.load import NO_TEXTS, LoadedManifest, load, profile_names
from kvmdecl.lock import lock_path, read_lock
from kvmdecl.manager import Reach
from kvmdecl.membership import membership_faults
from kvmdecl.passed import passed_on
from kvmdecl.placement import place
from kvmdecl.plan import Plan
from kvmdecl.planner import make_plan
from kvmdecl.planner.clusters import with_manager
from kvmdecl.pluginhost import Plugins
from kvmdecl.resolve import resolve
from kvmdecl.rules import accepted, choice_faults, judge, placed_site
from kvmdecl.state import DesiredState, HostSnapshot, HostState, Observation
from kvmdecl.tasks import DefineDomain, MoveDomain, WriteDefinition
from kvmdecl.uri import HostUri


@dataclass(frozen=True, slots=True)
class Compiled:
    """What every host should hold, and the warnings on the way there."""

    placed: PlacedCluster
    desired: DesiredState
    warnings: tuple[Diagnostic, ...]


def load_cluster(
    path: Path, plugins: Plugins, care: Care = Care.LOOK, texts: Mapping[Path, str] = NO_TEXTS
) -> ResolvedCluster:
    """Manifest file or folder -> linked cluster. Contacts nobody. `texts` are files as they are going to be.

    Raises:
        Rejected: with everything that is wrong in the manifest.
    """
    loaded = load(path, plugins.sections(), texts)
    cluster = resolve(loaded, read_inputs(loaded, care), loaded.digest)
    plugins.solver(cluster.solver, loaded.span("placement", "solver"))
    reject_errors(_gate_faults(loaded, cluster, plugins))
    reject_errors(choice_faults(plugins.rules(), cluster, datetime.now(UTC).date()))
    return replace(cluster, lock=read_lock(lock_path(path), cluster))


def _gate_faults(loaded: LoadedManifest, cluster: ResolvedCluster, plugins: Plugins) -> Iterator[Diagnostic]:
    """What gates cannot be told."""
    for number, gate in enumerate(cluster.rollout.gates if cluster.rollout else ()):
        offered = plugins.gate(gate.check, loaded.span("rollout", "gates", number, "check"))
        yield from loaded.faults(offered.options, "rollout", "gates", number, "with")


def profile_vms(path: Path, plugins: Plugins) -> tuple[ResolvedCluster, Mapping[str, ResolvedVm]]:
    """For each profile of a manifest a vm that is nothing else, and a cluster with all of them.

    A profile that is no whole guest is left out: what is missing in it is for its vms to say.

    Raises:
        Rejected: with everything that is wrong in the manifest itself.
    """
    names = profile_names(path)
    found = _with_profiles(path, plugins, names)
    if found is None:
        whole = [name for name in names if _with_profiles(path, plugins, (name,)) is not None]
        found = _with_profiles(path, plugins, whole)
    cluster = found or load_cluster(path, plugins, Care.IGNORE)
    by_name = {vm.name: vm for vm in cluster.vms}
    return cluster, {name: by_name[vm] for name in names if (vm := _vm_of(name)) in by_name}


def _with_profiles(path: Path, plugins: Plugins, names: Iterable[str]) -> ResolvedCluster | None:
    lines = "".join(f"  {_vm_of(name)}: {{profile: {name}}}\n" for name in names)
    beside = (path if path.is_dir() else path.parent) / ".profiles.yaml"
    try:
        return load_cluster(path, plugins, Care.IGNORE, {beside: f"vms:\n{lines}"} if lines else NO_TEXTS)
    except Rejected:
        return None


def _vm_of(profile: str) -> str:
    return f"profile.{profile}"


def rehearse(cluster: ResolvedCluster, uris: Mapping[str, HostUri]) -> ResolvedCluster:
    """The same cluster on stand-ins for its hosts: other URIs, and guests emulated, since a lab has no KVM to lend.

    Nor has it memory or devices of its own: what hosts set aside, how they merge pages, and devices that vms ask for
    are no part of a rehearsal.
    """
    hosts = tuple(replace(host, uri=uris[host.name], huge_pages=(), ksm=()) for host in cluster.hosts)
    retired = tuple(replace(host, uri=uris.get(host.name)) for host in cluster.retired)
    vms = tuple(_without_devices(replace(vm, type="qemu")) for vm in cluster.vms)
    return replace(cluster, hosts=hosts, retired=retired, vms=vms)


def _without_devices(vm: ResolvedVm) -> ResolvedVm:
    """The vm as it is with nothing of what it asks for of its host's devices."""
    if not vm.spec.device_requests:
        return vm
    kept = {"devices": (), "nics": tuple(nic for nic in vm.spec.nics if nic.vf is None)}
    nics = tuple(nic for nic in vm.nics if nic.spec.vf is None)
    return replace(vm, spec=vm.spec.model_copy(update=kept), nics=nics)


def read_from(cluster: ResolvedCluster) -> dict[str, HostUri]:
    """Where the hosts are that a plan has to read: those in use, and those that are let go and have a URI."""
    retired = {host.name: host.uri for host in cluster.retired if host.uri is not None}
    return {host.name: host.uri for host in cluster.hosts} | retired


def in_schedule(cluster: ResolvedCluster) -> ResolvedCluster:
    """The same cluster in a run in which vms of `restart: scheduled` may restart."""
    return replace(cluster, vms=tuple(_now(vm) for vm in cluster.vms))


def _now(vm: ResolvedVm) -> ResolvedVm:
    if vm.spec.restart != "scheduled":
        return vm
    return replace(vm, spec=vm.spec.model_copy(update={"restart": "now"}))


def scope_of(cluster: ResolvedCluster, *, foreign: bool = False) -> Scope:
    """How much of the hosts has to be read to plan this cluster; all kinds of objects where others' are shown."""
    named = any(network.spec.mode == "bridge" or network.spec.device for network in cluster.networks)
    named = named or any(nic.spec.device for vm in cluster.vms for nic in vm.nics)
    filtered = any(nic.spec.filter for vm in cluster.vms for nic in vm.nics)
    return Scope(
        pools=frozenset(pool.name for pool in cluster.pools),
        devices=_is_about_devices(cluster),
        interfaces=named,
        secrets=foreign or bool(cluster.secrets),
        pool_types=any(pool.spec.type != "dir" for pool in cluster.pools),
        filters=foreign or bool(cluster.filters) or filtered,
        settings=any(host.huge_pages or host.ksm for host in cluster.hosts),
    )


def _is_about_devices(cluster: ResolvedCluster) -> bool:
    """Whether something of the manifest cannot be judged without knowing the hosts' devices."""
    if any(host.sriov for host in cluster.hosts) or any(n.spec.mode == "hostdev" for n in cluster.networks):
        return True
    return any(vm.spec.hostdevs or vm.spec.device_requests or next(passed_on(vm), None) for vm in cluster.vms)


def compile_cluster(
    cluster: ResolvedCluster, observations: Mapping[str, Observation], plugins: Plugins
) -> Compiled:
    """Linked cluster and observed hosts -> desired state. Same input, same output, no I/O.

    Raises:
        Rejected: when a host that is let go is not empty, a vm fits nowhere, or a check finds an error.
    """
    reject_errors(membership_faults(cluster, observations))
    placed, told = with_baselines(place(cluster, observations, plugins.solver(cluster.solver)), observations)
    unknown = reject_errors(told)
    facts = facts_of(observations)
    reject_errors(check_filters(placed, observations))
    states = states_of(observations)
    judged = judge(plugins.rules(), placed_site(placed, facts, states))
    checked = accepted(cluster, check(placed, facts, plugins, states))
    warnings = reject_errors((*checked, *judged))
    return Compiled(
        placed,
        emit(placed, observations, plugins.definitions(placed, facts)),
        (*placed.stays, *unknown, *warnings),
    )


def place_cluster(
    cluster: ResolvedCluster, reader: HostReader, plugins: Plugins, relock: Relock | None = None
) -> tuple[PlacedCluster, Mapping[str, Observation]]:
    """Read the hosts and place the vms as the lock file says, or anew as far as `relock` says.

    Raises:
        Rejected: when a vm fits nowhere, or two hosts turn out to be one machine.
    """
    observations = believable(reader.observe(scope_of(cluster)))
    reject_errors(check_identities(observations))
    reject_errors(membership_faults(cluster, observations))
    return place(cluster, observations, plugins.solver(cluster.solver), relock), observations


def plan_cluster(
    cluster: ResolvedCluster,
    reader: HostReader,
    plugins: Plugins,
    *,
    foreign: bool = False,
    to_apply: bool = False,
    reach: Reach | None = None,
) -> tuple[Plan, tuple[Diagnostic, ...]]:
    """Read the hosts, compile, compare. Returns the plan, with what nobody declares if `foreign`, and the warnings.

    Cluster managers are asked by way of `reach`; without, what they go by is left out.

    `to_apply` also asks the hosts what new guests can have (virConnectGetDomainCapabilities), for which libvirt demands
    read-write connections, and holds the vms against it that the plan makes or changes.

    Raises:
        Rejected: as `compile_cluster`, and when two hosts turn out to be one machine.
    """
    scope = scope_of(cluster, foreign=foreign)
    if to_apply:
        guests = frozenset((vm.arch, vm.type, vm.machine) for vm in cluster.vms if vm.state != "absent")
        scope = replace(scope, domain_support=bool(guests), guests=guests)
    observations = believable(reader.observe(scope))
    reject_errors(check_identities(observations))
    support = facts_of(observations) if to_apply else {}
    if to_apply:
        observations = {name: _without_support(seen) for name, seen in observations.items()}
    compiled = compile_cluster(cluster, observations, plugins)
    plan = make_plan(cluster, compiled.desired, observations, foreign=foreign)
    if reach is not None:
        plan = _with_managers(plan, compiled.placed, observations, plugins, reach)
    changed = {step.task.name for step in plan.steps if isinstance(step.task, DefineDomain | MoveDomain)}
    changed |= {step.task.owner for step in plan.steps if isinstance(step.task, WriteDefinition)}
    found = reject_errors(check_support(compiled.placed, support, changed))
    return plan, in_order((*compiled.warnings, *found))


def _with_managers(
    plan: Plan,
    placed: PlacedCluster,
    observations: Mapping[str, Observation],
    plugins: Plugins,
    reach: Reach,
) -> Plan:
    facts = facts_of(observations)
    for name, manager in plugins.managers().items():
        observed = manager.observe(placed.cluster, reach, frozenset(facts))
        if observed is not None:
            plan = with_manager(plan, name, observed, partial(manager.compare, placed, facts))
    return plan


def facts_of(observations: Mapping[str, Observation]) -> dict[str, HostFacts]:
    """What each host that answered is."""
    return {name: seen.facts for name, seen in observations.items() if isinstance(seen, HostSnapshot)}


def states_of(observations: Mapping[str, Observation]) -> dict[str, HostState]:
    """What is on each host that answered."""
    return {name: seen.state for name, seen in observations.items() if isinstance(seen, HostSnapshot)}


def _without_support(seen: Observation) -> Observation:
    if not isinstance(seen, HostSnapshot):
        return seen
    return replace(seen, facts=replace(seen.facts, domain_support=()))
