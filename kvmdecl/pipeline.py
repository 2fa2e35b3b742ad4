"""The stages in order, and nothing else. Only `observe` (a HostReader) touches a host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

from kvmdecl.asking import Relock
from kvmdecl.baseline import with_baselines
from kvmdecl.check import check, check_filters, check_support
from kvmdecl.cluster import PlacedCluster, ResolvedCluster, ResolvedVm
from kvmdecl.diagnostics import Diagnostic, Rejected, in_order, reject_errors
from kvmdecl.emit import emit
from kvmdecl.facts import HostFacts
from kvmdecl.gatekeeper import gate_faults
from kvmdecl.hosts.identity import check_identities
from kvmdecl.hosts.protocol import HostReader, Scope
from kvmdecl.hosts.sanity import believable
from kvmdecl.images import Care, read_inputs
from kvmdecl.load import NO_TEXTS, LoadedManifest, load, profile_names
from kvmdecl.lock import lock_path, read_lock
from kvmdecl.manager import Manager, Observed
from kvmdecl.membership import membership_faults
from kvmdecl.passed import passed_on
from kvmdecl.placement import place, with_elsewhere
from kvmdecl.plan import Plan
from kvmdecl.planner import make_plan
from kvmdecl.planner.clusters import bounded, with_manager, with_proofs
from kvmdecl.pluginhost import Plugins
from kvmdecl.policyfile import overdue
from kvmdecl.resolve import resolve
from kvmdecl.rules import accepted, choice_faults, idle_waivers, judge, placed_site
from kvmdecl.seating import with_guests
from kvmdecl.state import DesiredState, HostSnapshot, HostState, Observation
from kvmdecl.takeover import Proof
from kvmdecl.tasks import DefineDomain, MoveDomain, WriteDefinition
from kvmdecl.uri import HostUri, parse_manifest_uri

ManagerReader = Callable[[str, Manager, ResolvedCluster, frozenset[str]], Observed | None]
"""Name of a cluster manager, the manager, a cluster, its hosts that answered -> what it goes by, None for nothing."""


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
    return link(loaded, path, plugins, care, loaded.digest)


def link(
    loaded: LoadedManifest, path: Path, plugins: Plugins, care: Care, revision: str = ""
) -> ResolvedCluster:
    """The same of a manifest that is read already. `revision` as for `resolve`.

    Raises:
        Rejected: as `load_cluster`.
    """
    cluster = resolve(loaded, read_inputs(loaded, care), revision)
    plugins.solver(cluster.solver, loaded.span("placement", "solver"))
    reject_errors(gate_faults(loaded, cluster, plugins))
    today = datetime.now(UTC).date()
    reject_errors([*choice_faults(plugins.rules(), cluster, today), *overdue(cluster.policies, today)])
    return replace(cluster, lock=read_lock(lock_path(path), cluster))


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
    are no part of a rehearsal. Among each other they listen on TCP, by their names.
    """
    hosts = tuple(
        replace(
            host,
            uri=uris[host.name],
            peer_uri=parse_manifest_uri(f"qemu+tcp://{host.name}/system"),
            huge_pages=(),
            ksm=(),
        )
        for host in cluster.hosts
    )
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
    placed, warnings = check_cluster(cluster, observations, plugins)
    definitions = plugins.definitions(placed, facts_of(observations))
    return Compiled(placed, emit(placed, observations, definitions), warnings)


def check_cluster(
    cluster: ResolvedCluster, observations: Mapping[str, Observation], plugins: Plugins
) -> tuple[PlacedCluster, tuple[Diagnostic, ...]]:
    """Linked cluster and observed hosts -> every vm with its host, and the warnings of checks and rules.

    Raises:
        Rejected: as `compile_cluster`.
    """
    reject_errors(membership_faults(cluster, observations))
    solver = plugins.solver(cluster.solver)
    placed, told = with_baselines(place(cluster, observations, solver), observations)
    placed = with_elsewhere(placed, observations, solver)
    unknown = reject_errors(told)
    facts = facts_of(observations)
    reject_errors(check_filters(placed, observations))
    states = states_of(observations)
    judged = judge(plugins.rules(), placed_site(placed, facts, states))
    checked = accepted(cluster, (*check(placed, facts, plugins, states), *idle_waivers(cluster)))
    return placed, (*placed.stays, *unknown, *reject_errors((*checked, *judged)))


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
    managed: ManagerReader | None = None,
    prove: bool = False,
) -> tuple[Plan, tuple[Diagnostic, ...]]:
    """Read the hosts, compile, compare. Returns the plan, with what nobody declares if `foreign`, and the warnings.

    What cluster managers go by is what `managed` tells of each; without, it is left out. `prove` adds what they do when
    hosts are lost, and holds their configuration back where not every vm that has to run would run again.

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
    plan = with_guests(plan, compiled.placed, observations)
    proofs = _prover(compiled.placed, observations, plugins) if prove else None
    if managed is not None:
        plan = _with_managers(plan, compiled.placed, observations, plugins, managed, proofs)
        plan = bounded(plan, cluster, compiled.desired, observations)
    plan = with_proofs(plan, proofs) if proofs is not None else plan
    changed = {step.task.name for step in plan.steps if isinstance(step.task, DefineDomain | MoveDomain)}
    changed |= {step.task.owner for step in plan.steps if isinstance(step.task, WriteDefinition)}
    found = reject_errors(check_support(compiled.placed, support, changed))
    return plan, in_order((*compiled.warnings, *found))


def _with_managers(
    plan: Plan,
    placed: PlacedCluster,
    observations: Mapping[str, Observation],
    plugins: Plugins,
    managed: ManagerReader,
    proofs: Callable[[], tuple[Proof, ...]] | None,
) -> Plan:
    facts = facts_of(observations)
    for name, manager in plugins.managers().items():
        observed = managed(name, manager, placed.cluster, frozenset(facts))
        if observed is not None:
            compare, way = partial(manager.compare, placed, facts), manager.way(placed.cluster)
            plan = with_manager(plan, name, observed, compare, proofs, way)
    return plan


def _prover(
    placed: PlacedCluster, observations: Mapping[str, Observation], plugins: Plugins
) -> Callable[[], tuple[Proof, ...]] | None:
    """What proves that hosts may be lost; None if nobody would start vms elsewhere."""
    from kvmdecl.survivors import prove_all  # most clusters need none of it

    managed = any(vm.spec.is_ha and vm.state != "absent" for vm in placed.vms)
    return cache(partial(prove_all, placed, observations, plugins)) if managed else None


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
