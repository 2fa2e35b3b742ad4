"""What planning one object comes to, and the view of one host that the planners of all kinds share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from kvmdecl.cluster import ResolvedCluster, ResolvedHost
from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.libvirt_xml.fingerprint import fingerprint
from kvmdecl.names import derive_uuid
from kvmdecl.plan import Action, Change, ChangeOrigin, HostStatus, Impact, PlannedHost, Step
from kvmdecl.state import (
    DEFINITION_SUFFIX,
    Address,
    Desired,
    DesiredDomain,
    DesiredNetwork,
    DesiredPool,
    HostSnapshot,
    HostState,
    Kind,
    Ledger,
    LedgerEntry,
    Observation,
    Observed,
    ObservedDomain,
    ObservedFilter,
    ObservedNetwork,
    ObservedPool,
    ObservedSecret,
    ObservedSettings,
    ObservedVolume,
    Unreachable,
)
from kvmdecl.tasks import Task


@dataclass(frozen=True, slots=True)
class Verdict:
    """A step, or the reason why there can be none, or neither: the object is as declared. Notes go with any of them.

    `usable` says of a blocked object that what needs it may go on with it as it is.
    """

    step: Step | None = None
    blocked: Diagnostic | None = None
    usable: bool = True
    notes: tuple[Diagnostic, ...] = ()


AS_DECLARED = Verdict()


@dataclass(frozen=True)
class Surroundings:
    """What all hosts that answered tell, where one alone does not know: of pools that they share, and of guests.

    `complete`: every host answered.
    """

    cluster: str
    states: Mapping[str, HostState]
    complete: bool = True

    @cached_property
    def makers(self) -> Mapping[str, str]:
        """The host that noted a volume, by `POOL/NAME`; the first of them."""
        found: dict[str, str] = {}
        for host, state in self.states.items():
            for entry in state.ledger(self.cluster).entries:
                if entry.kind is Kind.VOLUME:
                    found.setdefault(entry.name, host)
        return found

    @cached_property
    def files(self) -> Mapping[str, LedgerEntry]:
        """What was noted of the file from which a cluster manager starts a vm, or did, by the vm; of one of several."""
        found: dict[str, LedgerEntry] = {}
        for state in self.states.values():
            for entry in state.ledger(self.cluster).entries:
                if entry.kind is Kind.VOLUME and entry.name.endswith(f"/{entry.owner}{DEFINITION_SUFFIX}"):
                    found.setdefault(entry.owner, entry)
        return found

    def entry(self, volume: str) -> LedgerEntry | None:
        """What its maker noted of a volume."""
        maker = self.makers.get(volume)
        return self.states[maker].ledger(self.cluster).find(Kind.VOLUME, volume) if maker else None

    def volume(self, volume: str) -> ObservedVolume | None:
        """A volume as its maker sees it: libvirt does not see by itself what another host put into a pool."""
        return self._volumes.get((self.makers.get(volume, ""), volume))

    @cached_property
    def _volumes(self) -> Mapping[tuple[str, str], ObservedVolume]:
        return {
            (host, f"{volume.pool}/{volume.name}"): volume
            for host, state in self.states.items()
            for pool in state.pools
            for volume in pool.volumes
        }

    @cached_property
    def having(self) -> Mapping[str, tuple[str, ...]]:
        """The hosts that have a guest, whether it runs there or not, by its UUID."""
        found: dict[str, tuple[str, ...]] = {}
        for host, state in self.states.items():
            for domain in state.domains:
                found[domain.uuid] = (*found.get(domain.uuid, ()), host)
        return found

    @cached_property
    def running(self) -> Mapping[str, tuple[tuple[str, ObservedDomain], ...]]:
        """The hosts on which a guest runs, with what they tell of it, by its UUID: one, but while it moves."""
        found: dict[str, tuple[tuple[str, ObservedDomain], ...]] = {}
        for host, state in self.states.items():
            for domain in state.domains:
                if domain.active:
                    found[domain.uuid] = (*found.get(domain.uuid, ()), (host, domain))
        return found


@dataclass(frozen=True)
class HostView:
    """One host's observed objects, looked up by name. `libvirt` is its version, 0 if that does not matter."""

    host: str
    cluster: str
    revision: str
    state: HostState
    libvirt: int = 0
    around: Surroundings = Surroundings("", {})

    @cached_property
    def domains(self) -> Mapping[str, ObservedDomain]:
        """Domains by name."""
        return {domain.name: domain for domain in self.state.domains}

    @cached_property
    def domains_by_uuid(self) -> Mapping[str, ObservedDomain]:
        """Domains by UUID."""
        return {domain.uuid: domain for domain in self.state.domains}

    @cached_property
    def networks(self) -> Mapping[str, ObservedNetwork]:
        """Networks by name."""
        return {network.name: network for network in self.state.networks}

    @cached_property
    def filters(self) -> Mapping[str, ObservedFilter]:
        """Network filters by name."""
        return {found.name: found for found in self.state.filters}

    @cached_property
    def pools(self) -> Mapping[str, ObservedPool]:
        """Pools by name."""
        return {pool.name: pool for pool in self.state.pools}

    @cached_property
    def secrets(self) -> Mapping[str, ObservedSecret]:
        """Secrets by UUID: that is all that names them."""
        return {secret.uuid: secret for secret in self.state.secrets}

    @cached_property
    def settings(self) -> Mapping[str, ObservedSettings]:
        """The host's own numbers, `huge-pages` and `ksm`; empty where they were not read."""
        return {found.name: found for found in self.state.settings}

    @cached_property
    def volumes(self) -> Mapping[str, ObservedVolume]:
        """Volumes by `POOL/NAME`."""
        return {
            f"{volume.pool}/{volume.name}": volume for pool in self.state.pools for volume in pool.volumes
        }

    @cached_property
    def ledger(self) -> Ledger:
        """What kvmdecl did for this cluster to objects that cannot carry a marker."""
        return self.state.ledger(self.cluster)


def host_views(
    cluster: str, revision: str, observations: Mapping[str, Observation], *, versions: bool = False
) -> dict[str, HostView]:
    """The views of all hosts that answered, in the order given; with the versions of libvirt if they matter."""
    seen = {name: found for name, found in observations.items() if isinstance(found, HostSnapshot)}
    states = {name: found.state for name, found in seen.items()}
    around = Surroundings(cluster, states, complete=len(seen) == len(observations))
    return {
        name: HostView(name, cluster, revision, found.state, found.facts.libvirt if versions else 0, around)
        for name, found in seen.items()
    }


def planned_hosts(
    cluster: ResolvedCluster, observations: Mapping[str, Observation]
) -> tuple[PlannedHost, ...]:
    """The hosts of a plan that does not come from a desired state, so that nothing is noted and nothing frozen."""
    return tuple(_planned(host, observations[host.name]) for host in cluster.hosts)


def _planned(host: ResolvedHost, seen: Observation) -> PlannedHost:
    name, uri = host.name, str(host.uri)
    if isinstance(seen, Unreachable):
        return PlannedHost(name, uri, HostStatus.UNREACHABLE, seen.diagnostic.summary, labels=host.labels)
    return PlannedHost(name, uri, HostStatus.OK, machine=seen.facts.uuid, labels=host.labels)


def step(
    desired: Desired,
    action: Action,
    task: Task,
    observed: Observed | None,
    summary: str,
    *,
    changes: tuple[Change, ...] = (),
    impact: Impact | None = None,
    after: tuple[Address, ...] = (),
    notes: tuple[Diagnostic, ...] = (),
) -> Verdict:
    """A verdict with one step; its impact is the worst of its changes unless it is given."""
    worst = max((change.impact for change in changes), default=Impact.NONE) if impact is None else impact
    return Verdict(
        Step(
            address=desired.address,
            action=action,
            impact=worst,
            changes=changes,
            summary=summary,
            precondition=fingerprint(observed),
            task=task,
            after=after,
            at=desired.origin.at,
        ),
        notes=notes,
    )


def blocked(
    desired: Desired, code: str, summary: str, cause: str, hint: str, *, key: str = "", usable: bool = False
) -> Verdict:
    """A verdict that says why the object cannot be brought to what is declared."""
    at = desired.origin.find(key)
    found = Diagnostic(code, summary, at, cause, hint, subject=str(desired.address))
    return Verdict(blocked=found, usable=usable)


def note(
    desired: Desired, code: str, summary: str, cause: str = "", hint: str = "", key: str = ""
) -> Diagnostic:
    """A warning that belongs to an object."""
    at = desired.origin.find(key)
    return Diagnostic(code, summary, at, cause, hint, severity=Severity.WARNING, subject=str(desired.address))


def not_ours(desired: Desired, what: str) -> Verdict:
    """The verdict for an object of the declared name that kvmdecl did not make for this cluster."""
    return blocked(
        desired,
        "plan.not-ours",
        f"{desired.address.host} has a {what} {desired.address.name} that this cluster did not make",
        "kvmdecl changes only what it made itself; it never takes over an object because of its name.",
        "choose another name, or rename or remove the existing one yourself if nobody needs it.",
    )


def still_starting(desired: Desired, observed: ObservedDomain, view: HostView) -> Verdict | None:
    """Why a guest that is being started, perhaps for ever, is left as it is, if it is."""
    if not observed.starting:
        return None
    name = observed.name
    return blocked(
        desired,
        "plan.still-starting",
        f"{name} was being started on {view.host} all the time that it was looked at; it is left as it is",
        "libvirt does nothing else with a guest until it has started. If libvirtd was killed meanwhile, it never will.",
        f"plan again when it has started. If it never does and no QEMU of it runs on {view.host}: stop libvirtd there"
        f" (other guests go on), delete /run/libvirt/qemu/{name}.xml, and start libvirtd; then plan again.",
    )


def may_have_gone_on(desired: DesiredDomain, observed: ObservedDomain, view: HostView) -> Verdict | None:
    """Why a guest that a migration halted on the host of `view` is left as it is, if it is.

    libvirt defines a guest on its new host before it goes on there (VIR_MIGRATE_PERSIST_DEST). So where no other host
    has it, it did not; where one has, it may have run since, and what is halted is older than its disks.
    """
    if not observed.halted:
        return None
    others = [host for host in view.around.having.get(observed.uuid, ()) if host != view.host]
    if view.around.complete and not others:
        return None
    where = (
        f"{' and '.join(others)} {'has' if len(others) == 1 else 'have'} it, too"
        if others
        else "a host is silent"
    )
    name = observed.name
    return blocked(
        desired,
        "move.halted",
        f"{name} was halted on {view.host} by a migration, and {where}; it is left as it is",
        "It may have gone on there, and ended since. Then what is halted is older than what is on its disks.",
        f"if it ran there since, end it on {view.host} (`virsh destroy {name}`), and start it where it ran; if you know"
        f" that it did not, have it go on (`virsh resume {name}`). Then plan again.",
    )


def is_derived(address: Address, uuid: str, view: HostView) -> bool:
    """Whether an object's UUID says by itself that it is this cluster's; one that the manifest gives does not."""
    return uuid == derive_uuid(view.cluster, address.kind, address.name)


def power_changes(
    desired: DesiredPool | DesiredNetwork, observed: ObservedPool | ObservedNetwork, functions: str
) -> tuple[Change, ...]:
    """Whether a pool or network has to be started, or started with its host.

    `functions` is what the names of libvirt's functions for it begin with.
    """
    changes = []
    if not observed.active:
        at, origin = desired.origin.at, ChangeOrigin.DRIFT  # no manifest says that it be inactive
        how = f"{functions}Create"
        changes.append(
            Change("active", "state", "inactive", "active", Impact.NONE, how, at=at, origin=origin)
        )
    if observed.autostart != desired.autostart:
        before, after = str(observed.autostart).lower(), str(desired.autostart).lower()
        at, how = desired.origin.find("autostart"), f"{functions}SetAutostart"
        changes.append(Change("autostart", "autostart", before, after, Impact.NONE, how, at=at))
    return tuple(changes)


def held_back(step: Step, waits_for: str, cause: str) -> Diagnostic:
    """That a step is not in the plan, for what it waits for does not come."""
    return Diagnostic(
        code="plan.held",
        summary=f"{step.address} waits for {waits_for}",
        at=step.at,
        cause=cause,
        hint="mend that one first.",
        subject=str(step.address),
    )
