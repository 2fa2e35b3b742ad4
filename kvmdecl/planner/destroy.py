"""Everything that a cluster made on its hosts -> the plan that takes it away again; volumes, secrets only by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kvmdecl.cluster import ResolvedCluster
from kvmdecl.diagnostics import Diagnostic, Severity, in_order
from kvmdecl.libvirt_xml.fingerprint import fingerprint
from kvmdecl.libvirt_xml.marker import belongs, owned_by, read_marker
from kvmdecl.libvirt_xml.nwfilter import filters_in
from kvmdecl.libvirt_xml.protection import may_be_protected
from kvmdecl.libvirt_xml.safe import Element, parse_xml
from kvmdecl.membership import membership
from kvmdecl.names import derive_uuid, format_size
from kvmdecl.plan import Action, Impact, Plan, Step
from kvmdecl.planner.departed import departed_hosts
from kvmdecl.planner.domains import protected
from kvmdecl.planner.limits import data_faults
from kvmdecl.planner.managed import was_handed_over
from kvmdecl.planner.order import in_turn
from kvmdecl.planner.secrets import what_goes_with
from kvmdecl.planner.settings import settings_left
from kvmdecl.planner.verdict import HostView, host_views, planned_hosts
from kvmdecl.state import (
    Address,
    DesiredState,
    Kind,
    Observation,
    ObservedDomain,
    ObservedSecret,
    ObservedVolume,
)
from kvmdecl.tasks import DeleteDomain, DeleteFilter, DeleteNetwork, DeletePool, DeleteSecret, DeleteVolume


def make_destroy_plan(
    cluster: ResolvedCluster,
    observations: Mapping[str, Observation],
    volumes: frozenset[str],
    secrets: frozenset[str] = frozenset(),
) -> Plan:
    """Plan the deletion of the cluster's domains, networks, network filters and pool definitions.

    While a guest runs that a cluster manager started, nothing is: it would be started again, or lose what it stands on.
    `volumes` are those to delete too, each as `HOST/volume/POOL/NAME`, and `secrets`, each as `HOST/secret/NAME`; all
    others are kept, and so is everything on a host that does not answer. Nothing is deleted if a guest is protected.

    Raises:
        Rejected: never; a volume or secret that does not exist is a note.
    """
    views = list(host_views(cluster.name, cluster.revision, dict(sorted(observations.items()))).values())
    kept = (*_managed(cluster, views), *(found for view in views for found in _protected(view)))
    doomed = () if kept else (step for view in views for step in _host_steps(view, volumes, secrets))
    steps = in_turn(cluster, tuple(doomed))
    return Plan(
        cluster=cluster.name,
        revision=cluster.revision,
        hosts=planned_hosts(cluster, observations),
        steps=steps,
        unchanged=0,
        blocked=in_order(kept),
        policies=cluster.policies,
        exceeded=in_order(data_faults(cluster, steps, {view.host: view for view in views})),
        notes=in_order(
            [
                *_kept(views, volumes),
                *_in_use(views, volumes),
                *_missing(views, volumes),
                *_secret_notes(views, secrets),
                *departed_hosts(cluster, membership(cluster, observations), ())[1],
                *settings_left(DesiredState(cluster.name, cluster.revision, ()), views),
            ]
        ),
    )


def _managed(cluster: ResolvedCluster, views: list[HostView]) -> Iterator[Diagnostic]:
    """Guests that a cluster manager runs."""
    uuids = {vm.uuid for vm in cluster.vms if vm.spec.is_ha}
    for view in views:
        for domain in view.state.domains:
            if not domain.persistent and (domain.uuid in uuids or was_handed_over(domain.name, view)):
                yield Diagnostic(
                    code="destroy.managed",
                    summary=f"nothing is destroyed: {domain.name} on {view.host} is run by a cluster manager",
                    cause="It would start the guest again, or the guest would lose what it stands on.",
                    hint="take its resource out of the cluster manager, which stops it, then destroy again.",
                    subject=f"{view.host}/domain/{domain.name}",
                )


def _protected(view: HostView) -> Iterator[Diagnostic]:
    """Guests that stay, and with them all that the cluster has: nothing is taken away from under them."""
    for domain in view.state.domains:
        marker = read_marker(domain.xml)
        if owned_by(marker, view.cluster, domain.uuid) and may_be_protected(marker):
            yield protected(Address(view.host, Kind.DOMAIN, domain.name), marker)


def _host_steps(view: HostView, volumes: frozenset[str], secrets: frozenset[str]) -> Iterator[Step]:
    """Guests first, then what they stood on, in the order in which nothing is taken away from under another."""
    domains = tuple(_domains(view, volumes))
    gone = tuple(step.address for step in domains)
    doomed = tuple(_volumes(view, volumes, gone))
    yield from domains
    yield from _networks(view, gone)
    yield from _filters(view, gone)
    yield from doomed
    pools = tuple(_pools(view, gone + tuple(step.address for step in doomed)))
    yield from pools
    yield from _secrets(view, secrets, gone + tuple(step.address for step in pools))


def _domains(view: HostView, volumes: frozenset[str]) -> Iterator[Step]:
    doomed = {volume.path for volume in _doomed(view, volumes)}
    for domain in view.state.domains:
        if belongs(domain.xml, view.cluster, domain.uuid):
            gone = "shut down and undefined" if domain.active else "undefined"
            kept = (
                "its other volumes stay" if doomed.intersection(_used(domain, view)) else "its volumes stay"
            )
            impact = Impact.DOWNTIME if domain.active else Impact.NONE
            address = Address(view.host, Kind.DOMAIN, domain.name)
            task = DeleteDomain(domain.name, domain.uuid, stop=domain.active)
            yield Step(address, Action.DELETE, impact, (), f"{gone}; {kept}", fingerprint(domain), task)


def _networks(view: HostView, after: tuple[Address, ...]) -> Iterator[Step]:
    for network in view.state.networks:
        if belongs(network.xml, view.cluster, network.uuid):
            address = Address(view.host, Kind.NETWORK, network.name)
            task = DeleteNetwork(network.name, network.uuid)
            impact = Impact.DOWNTIME if network.active else Impact.NONE
            yield Step(
                address, Action.DELETE, impact, (), "stopped and undefined", fingerprint(network), task, after
            )


def _filters(view: HostView, after: tuple[Address, ...]) -> Iterator[Step]:
    """Those that name others first. One that a guest of somebody else uses is refused by the host."""
    ours = [found for found in view.state.filters if view.ledger.find(Kind.NWFILTER, found.name)]
    for found in ours:
        if found.uuid == derive_uuid(view.cluster, Kind.NWFILTER, found.name):
            naming = (other.name for other in ours if found.name in filters_in(other.xml))
            first = (*after, *(Address(view.host, Kind.NWFILTER, name) for name in naming))
            address = Address(view.host, Kind.NWFILTER, found.name)
            task = DeleteFilter(found.name, found.uuid)
            yield Step(address, Action.DELETE, Impact.NONE, (), "undefined", fingerprint(found), task, first)


def _volumes(view: HostView, volumes: frozenset[str], after: tuple[Address, ...]) -> Iterator[Step]:
    for volume in _doomed(view, volumes):
        address = Address(view.host, Kind.VOLUME, f"{volume.pool}/{volume.name}")
        task = DeleteVolume(volume.pool, volume.name)
        summary = f"deleted with what is in it ({format_size(volume.capacity)})"
        yield Step(address, Action.DELETE, Impact.DATA_LOSS, (), summary, fingerprint(volume), task, after)


def _doomed(view: HostView, volumes: frozenset[str]) -> list[ObservedVolume]:
    """The volumes that are named, ours, and needed by nothing that stays."""
    needed = _needed(view, volumes)
    return [volume for volume in _ours(view) if _name(view, volume) in volumes and volume.path not in needed]


def _pools(view: HostView, after: tuple[Address, ...]) -> Iterator[Step]:
    for pool in view.state.pools:
        if pool.uuid == derive_uuid(view.cluster, Kind.POOL, pool.name):
            address = Address(view.host, Kind.POOL, pool.name)
            task = DeletePool(pool.name, pool.uuid)
            summary = "stopped and undefined; the files in it stay"
            yield Step(address, Action.DELETE, Impact.NONE, (), summary, fingerprint(pool), task, after)


def _secrets(view: HostView, secrets: frozenset[str], after: tuple[Address, ...]) -> Iterator[Step]:
    """Those that are named. One that something of somebody else uses is refused by the host."""
    for address, found in _our_secrets(view):
        if str(address) in secrets:
            summary, impact = what_goes_with(found)
            task = DeleteSecret(address.name, found.uuid)
            yield Step(address, Action.DELETE, impact, (), summary, fingerprint(found), task, after)


def _our_secrets(view: HostView) -> Iterator[tuple[Address, ObservedSecret]]:
    for entry in view.ledger.entries:
        found = view.secrets.get(derive_uuid(view.cluster, Kind.SECRET, entry.name))
        if entry.kind is Kind.SECRET and found is not None:
            yield Address(view.host, Kind.SECRET, entry.name), found


def _needed(view: HostView, doomed: frozenset[str]) -> frozenset[str]:
    """Paths that something which stays stands on: a volume's image, the disks of guests that are not this cluster's."""
    backing = {
        volume.backing
        for volume in view.volumes.values()
        if volume.backing and _name(view, volume) not in doomed
    }
    others = (domain for domain in view.state.domains if not belongs(domain.xml, view.cluster, domain.uuid))
    return frozenset(backing.union(*(_used(domain, view) for domain in others)))


def _used(domain: ObservedDomain, view: HostView) -> Iterator[str]:
    """What the disks of a guest are on, by its definition and as it runs."""
    for xml in (domain.xml, domain.live_xml):
        for source in parse_xml(xml).iterfind("devices/disk//source") if xml else ():
            yield from _paths(source, view)


def _paths(source: Element, view: HostView) -> Iterator[str]:
    """What a disk is on: a file, a device, an object of a storage cluster by its name, or a volume by its pool."""
    yield from (path for name in ("file", "dev", "name") if (path := source.get(name)))
    if volume := view.volumes.get(f"{source.get('pool')}/{source.get('volume')}"):
        yield volume.path


def _name(view: HostView, volume: ObservedVolume) -> str:
    return f"{view.host}/volume/{volume.pool}/{volume.name}"


def _ours(view: HostView) -> Iterator[ObservedVolume]:
    for entry in view.ledger.entries:
        if entry.kind is Kind.VOLUME and entry.name in view.volumes:
            yield view.volumes[entry.name]


def _kept(views: list[HostView], volumes: frozenset[str]) -> Iterator[Diagnostic]:
    for view in views:
        names = [_name(view, volume) for volume in _ours(view)]
        kept = [name for name in names if name not in volumes]
        if kept:
            yield Diagnostic(
                code="destroy.volumes-kept",
                summary=f"{len(kept)} volumes on {view.host} are kept: {', '.join(kept)}",
                hint="to delete one with what is in it, name it: `--volume HOST/volume/POOL/NAME`.",
                severity=Severity.WARNING,
                subject=f"host/{view.host}",
            )


def _in_use(views: list[HostView], volumes: frozenset[str]) -> Iterator[Diagnostic]:
    for view in views:
        needed = _needed(view, volumes)
        for volume in _ours(view):
            name = _name(view, volume)
            if name in volumes and volume.path in needed:
                yield Diagnostic(
                    code="destroy.volume-in-use",
                    summary=f"{name} is kept: a volume or guest that stays stands on it",
                    cause="Without it that one could not be read any more.",
                    hint="name the volumes that stand on it too, if nobody needs them.",
                    severity=Severity.WARNING,
                    subject=name,
                )


def _missing(views: list[HostView], volumes: frozenset[str]) -> Iterator[Diagnostic]:
    for name in sorted(volumes - {_name(view, volume) for view in views for volume in _ours(view)}):
        yield Diagnostic(
            code="destroy.no-such-volume",
            summary=f"no volume of this cluster is called {name}",
            hint="volumes are named HOST/volume/POOL/NAME.",
            severity=Severity.WARNING,
        )


def _secret_notes(views: list[HostView], secrets: frozenset[str]) -> Iterator[Diagnostic]:
    known = {str(address): view.host for view in views for address, _ in _our_secrets(view)}
    for view in views:
        kept = [name for name, host in known.items() if host == view.host and name not in secrets]
        if kept:
            yield Diagnostic(
                code="destroy.secrets-kept",
                summary=f"{len(kept)} secrets on {view.host} are kept: {', '.join(kept)}",
                cause="They open volumes that stay.",
                hint="to delete one with its value, name it: `--secret HOST/secret/NAME`.",
                severity=Severity.WARNING,
                subject=f"host/{view.host}",
            )
    for name in sorted(secrets - known.keys()):
        yield Diagnostic(
            code="destroy.no-such-secret",
            summary=f"no secret of this cluster is called {name}",
            hint="secrets are named HOST/secret/NAME.",
            severity=Severity.WARNING,
        )
