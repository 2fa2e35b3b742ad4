"""PlacedCluster -> DesiredState: what each host should hold. Pure and sorted; linear in what there is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.declared import declared_domain, declared_network, declared_pool
from kvmdecl.libvirt_xml.nwfilter import filter_xml
from kvmdecl.libvirt_xml.secret import secret_xml
from kvmdecl.names import MIB
from kvmdecl.pages import needs_of
from kvmdecl.pinning import noted
from kvmdecl.settings import HUGE_PAGES, KSM, shares
from kvmdecl.source import gc_paused
from kvmdecl.state import (
    PLAINLY,
    Absent,
    Address,
    DesiredDefinition,
    DesiredDomain,
    DesiredFilter,
    DesiredNetwork,
    DesiredPool,
    DesiredSecret,
    DesiredSettings,
    DesiredState,
    DesiredVolume,
    Existing,
    HostSnapshot,
    Kind,
    Leg,
    MigrationPolicy,
    PowerOff,
    Role,
    VolumeOptions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedCluster, ResolvedDisk, ResolvedImage, ResolvedVm
    from kvmdecl.manifest import Pool
    from kvmdecl.state import Definition, Desired, Observation, ObservedDomain


def emit(
    placed: PlacedCluster, observations: Mapping[str, Observation], definitions: Iterable[Definition] = ()
) -> DesiredState:
    """Write out every object of every host, also of hosts that did not answer.

    A vm that shall be absent is `Absent` on each host where it was seen; its volumes stay. What a vm that a cluster
    manager runs stands on is written out for each host that it may run on, with its file where `definitions` say, and
    the vm itself where it was seen.
    """
    cluster, places = placed.cluster, {found.vm: found for found in definitions}
    with gc_paused():
        resources: dict[Address, Desired] = {}
        for resource in (
            *_settings(cluster, observations),
            *_secrets(placed, {found.vm: found.hosts for found in places.values()}),
            *_pools(cluster),
            *_networks(cluster),
            *_filters(cluster),
            *_guests(placed, observations, places),
            *_absent_domains(placed, observations, places),
        ):
            resources.setdefault(resource.address, resource)  # an image serves many vms
        ordered = tuple(resources[address] for address in sorted(resources))
    return DesiredState(
        cluster.name,
        cluster.revision,
        ordered,
        placed.undecided,
        placed.frozen,
        placed.baselines,
        _legs(placed),
    )


def _settings(cluster: ResolvedCluster, observations: Mapping[str, Observation]) -> Iterator[Desired]:
    """Which cells a host has only itself can say; one that did not answer is left alone anyway."""
    for host in cluster.hosts:
        seen = observations.get(host.name)
        cells = seen.facts.cells if isinstance(seen, HostSnapshot) else ()
        for name, values in ((HUGE_PAGES, shares(host.huge_pages, cells)), (KSM, dict(host.ksm))):
            if values:
                address = Address(host.name, Kind.HOST, name)
                yield DesiredSettings(address, tuple(sorted(values.items())), host.origin)


def _secrets(placed: PlacedCluster, hosts_of: Mapping[str, tuple[str, ...]]) -> Iterator[Desired]:
    """A secret is put onto the hosts where something asks for it, and onto no other.

    `hosts_of` a vm are all that it may run on, where those are several.
    """
    by_uuid = {secret.uuid: secret for secret in placed.cluster.secrets}
    for gone in (secret for secret in placed.cluster.secrets if secret.spec.state == "absent"):
        for there in placed.cluster.hosts:
            yield Absent(Address(there.name, Kind.SECRET, gone.name), gone.origin)
    asked_for = sorted(set(_asked_for(placed, hosts_of)))
    xml = {uuid: secret_xml(by_uuid[uuid]) for _, uuid in asked_for}
    for host, uuid in asked_for:
        secret, address = by_uuid[uuid], Address(host, Kind.SECRET, by_uuid[uuid].name)
        spec = secret.spec
        yield DesiredSecret(
            address, uuid, spec.usage, secret.usage_id, spec.ephemeral, spec.version, secret.source, xml[uuid],
            secret.origin,
        )  # fmt: skip


def _asked_for(placed: PlacedCluster, hosts_of: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Host and UUID of each secret that a pool, a disk or a TPM asks for."""
    for pool in placed.cluster.pools:
        if pool.secret is not None and pool.spec.state == "active":
            yield from ((host, pool.secret) for host in pool.hosts)
    for vm in placed.vms:
        if vm.host is not None and vm.state != "absent":
            hosts = hosts_of.get(vm.name, (vm.host,))
            yield from ((host, uuid) for uuid in _secrets_of(vm) for host in hosts)


def _secrets_of(vm: ResolvedVm) -> list[str]:
    asked = [
        vm.tpm_secret,
        *(disk.encryption for disk in vm.disks),
        *(disk.server_secret for disk in vm.disks),
    ]
    return [uuid for uuid in asked if uuid is not None]


def _pools(cluster: ResolvedCluster) -> Iterator[Desired]:
    for pool in cluster.pools:
        xml = declared_pool(pool)
        for host in pool.hosts:
            address = Address(host, Kind.POOL, pool.name)
            if pool.spec.state == "absent":
                yield Absent(address, pool.origin)
            else:
                spec = pool.spec
                needs = _needed_secrets(cluster, host, [pool.secret])
                yield DesiredPool(address, pool.uuid, xml, spec.autostart, spec.build, needs, pool.origin)


def _needed_secrets(cluster: ResolvedCluster, host: str, uuids: Iterable[str | None]) -> tuple[Address, ...]:
    return tuple(
        Address(host, Kind.SECRET, secret.name) for secret in cluster.secrets if secret.uuid in uuids
    )


def _networks(cluster: ResolvedCluster) -> Iterator[Desired]:
    for network in cluster.networks:
        if not network.uuid:
            continue  # the hosts' own
        xml = declared_network(network)
        for host in network.hosts:
            address = Address(host, Kind.NETWORK, network.name)
            if network.spec.state == "absent":
                yield Absent(address, network.origin)
            else:
                yield DesiredNetwork(address, network.uuid, xml, network.spec.autostart, network.origin)


def _filters(cluster: ResolvedCluster) -> Iterator[Desired]:
    for filter_ in cluster.filters:
        xml = filter_xml(filter_)
        for host in cluster.hosts:
            address = Address(host.name, Kind.NWFILTER, filter_.name)
            if filter_.spec.state == "absent":
                yield Absent(address, filter_.origin)
            else:
                needs = tuple(Address(host.name, Kind.NWFILTER, name) for name in filter_.needs)
                yield DesiredFilter(address, filter_.uuid, xml, needs, filter_.origin)


def _guests(
    placed: PlacedCluster, observations: Mapping[str, Observation], definitions: Mapping[str, Definition]
) -> Iterator[Desired]:
    made = _Foundations(placed)
    seen = _seen(placed, observations)
    awaited = _awaited(placed)
    addresses = {host.name: host.migration_address for host in placed.cluster.hosts}
    for vm in placed.vms:
        if vm.host is None or vm.state == "absent":
            continue
        xml = declared_domain(vm, made.pools)
        if vm.spec.is_ha:
            if vm.name in definitions:
                others = placed.elsewhere.get(vm.name, {})
                texts = {host: declared_domain(each, made.pools) for host, each in others.items()}
                texts[vm.host] = xml
                yield from _handed_over(vm, texts, made, definitions[vm.name], seen.get(vm.uuid, ()))
            continue
        source = placed.moves.get(vm.name, "")
        resources, needs = made.of(vm, vm.host, source)
        yield from resources
        place = placed.places.get(vm.name)
        yield DesiredDomain(
            address=Address(vm.host, Kind.DOMAIN, vm.name),
            uuid=vm.uuid,
            xml=xml if place is None else noted(xml, place),
            running=_RUNNING[vm.state],
            autostart=vm.spec.autostart,
            restart=vm.spec.restart,
            power_off=_power_off(vm),
            agent_within=awaited.get(vm.name, 0),
            needs=needs,
            moves_from=source,
            migration=_policy(vm, addresses[vm.host]) if source else PLAINLY,
            copied=tuple(f"{disk.pool}/{disk.volume}" for disk in _brought(vm, made.pools)) if source else (),
            kept=_kept(vm, made.pools, placed.stuck) if source else (),
            devices=tuple(_shared_devices(vm, made.pools)) if source else (),
            drops_left=vm.spec.migration.left == "delete",
            origin=vm.origin,
        )


def _seen(
    placed: PlacedCluster, observations: Mapping[str, Observation]
) -> Mapping[str, tuple[tuple[str, ObservedDomain], ...]]:
    """The hosts that have a vm which a cluster manager runs, with what they have, by its UUID."""
    found: dict[str, list[tuple[str, ObservedDomain]]] = {vm.uuid: [] for vm in placed.vms if vm.spec.is_ha}
    for host in placed.cluster.hosts if found else ():
        snapshot = observations.get(host.name)
        for domain in snapshot.state.domains if isinstance(snapshot, HostSnapshot) else ():
            if domain.uuid in found:
                found[domain.uuid].append((host.name, domain))
    return {uuid: tuple(there) for uuid, there in found.items()}


def _handed_over(
    vm: ResolvedVm,
    texts: Mapping[str, str],
    made: _Foundations,
    definition: Definition,
    seen: Iterable[tuple[str, ObservedDomain]],
) -> Iterator[Desired]:
    """What a vm stands on, and its file, on each host that it may run on; and the vm where it was seen.

    `texts` are what is declared of it by host, where that differs; then each has a file of its own.

    A guest that is changed while it runs is changed first, and its file then. One of which libvirt still keeps a
    definition has to have its file before it loses that.
    """
    there, xml = tuple(seen), texts[vm.host or ""]
    homes = {host: made.of(vm, host) for host in definition.hosts}
    changed = tuple(Address(host, Kind.DOMAIN, vm.name) for host, found in there if not found.persistent)
    files = tuple(Address(host, Kind.VOLUME, definition.volume) for host in homes if definition.pool)
    is_shared = bool(definition.pool) and made.pools[definition.pool].is_shared
    for host, (resources, needs) in homes.items():
        yield from resources
        if definition.pool:
            yield DesiredDefinition(
                address=Address(host, Kind.VOLUME, definition.volume),
                vm=vm.name,
                uuid=vm.uuid,
                xml=texts.get(host, xml),
                by=definition.by,
                shared=is_shared,
                bound_to=vm.host or "" if is_shared and vm.spec.is_placed and len(homes) > 1 else "",
                readers=tuple(homes) if is_shared else (),
                needs=(*needs, *changed),
                origin=vm.origin,
            )
    for host, found in there:
        needs = homes[host][1] if host in homes else ()
        yield DesiredDomain(
            address=Address(host, Kind.DOMAIN, vm.name),
            uuid=vm.uuid,
            xml=texts.get(host, xml),
            running=None,
            autostart=False,
            needs=(*needs, *files) if found.persistent else needs,
            run_by=definition,
            origin=vm.origin,
        )


class _Foundations:
    """What guests stand on: volumes, and what they need of the rest."""

    def __init__(self, placed: PlacedCluster) -> None:
        cluster = placed.cluster
        self.pools = {pool.name: pool.spec for pool in cluster.pools}
        self._cluster = cluster
        self._images = {image.name: image for image in cluster.images}
        self._networks = {network.name: network for network in cluster.networks}
        self._filters = {filter_.name for filter_ in cluster.filters}

    def of(self, vm: ResolvedVm, host: str, source: str = "") -> tuple[list[Desired], tuple[Address, ...]]:
        """The objects that are there for a vm on a host, and all that has to be there before the vm itself."""
        made: list[Desired] = []
        listened = vm.spec.graphics.networks
        for name in (*(nic.network for nic in vm.nics), *listened):
            network = self._networks[name] if name else None
            if network is not None and network.spec.mode == "existing":
                made.append(Existing(Address(host, Kind.NETWORK, network.name), network.origin))
        needs = [
            Address(host, Kind.NETWORK, nic.network) for nic in vm.nics if nic.network and not nic.is_bridge
        ]
        needs += [Address(host, Kind.NETWORK, name) for name in listened]
        needs += [Address(host, Kind.POOL, pool) for disk in vm.disks for pool in disk.pools]
        needs += (  # one that is there already may be another vm's, made in the same run
            Address(host, Kind.VOLUME, f"{disk.pool}/{disk.volume}")
            for disk in vm.disks
            if disk.spec.volume is not None
        )
        named = {nic.spec.filter.name for nic in vm.nics if nic.spec.filter} & self._filters
        needs += (Address(host, Kind.NWFILTER, name) for name in named)
        needs += _needed_secrets(self._cluster, host, _secrets_of(vm))
        if any(needs_of(vm)):
            needs.append(Address(host, Kind.HOST, HUGE_PAGES))
        brought = {disk.volume for disk in _brought(vm, self.pools)} if source else set()
        for of in _volumes(vm, host, self._images, self.pools):
            volume = _as_it_comes(of, source) if of.name in brought else of
            made.append(_with_secret(volume, self._cluster))
            # Else it is a disk's own need; but what a disk stands on that comes along has to be there before.
            if volume.role is not Role.IMAGE or brought or _is_medium(volume, vm):
                needs += (Address(host, Kind.POOL, volume.pool), volume.address)
        return made, tuple(sorted(set(needs)))


_RUNNING = {"running": True, "stopped": False, "unmanaged": None}


def _awaited(placed: PlacedCluster) -> dict[str, int]:
    """Seconds that a vm's agent has after the vm's start, for those whose agent others wait for."""
    awaited: dict[str, int] = {}
    for vm in placed.vms:
        for other in vm.spec.after:
            if other.until == "agent":
                awaited[other.vm] = max(awaited.get(other.vm, 0), other.timeout)
    return awaited


def _volumes(
    vm: ResolvedVm, host: str, images: Mapping[str, ResolvedImage], pools: Mapping[str, Pool]
) -> Iterator[DesiredVolume]:
    """Volumes that are made; those that are there already are none of them."""
    for disk in vm.disks:
        if not disk.volume:
            continue  # the host has it
        image = images[disk.image] if disk.image else None
        if image is not None:
            yield _image(image, host, disk.pool, pools)
        if disk.spec.volume is None:
            yield _disk(vm, disk, host, image, pools)
    for drive in vm.cdroms:
        if drive.volume:
            yield _image(images[drive.image], host, drive.pool, pools)
    if vm.seed is not None:
        address = Address(host, Kind.VOLUME, f"{vm.seed_pool}/{vm.seed_volume}")
        shared = pools[vm.seed_pool].is_shared
        yield DesiredVolume(
            address, Role.SEED, "raw", None, content=vm.seed, vm=vm.name, shared=shared, origin=vm.origin
        )


def _with_secret(volume: DesiredVolume, cluster: ResolvedCluster) -> DesiredVolume:
    """The volume, in need of the secret that it is encrypted with."""
    if volume.encryption is None:
        return volume
    secrets = _needed_secrets(cluster, volume.address.host, [volume.encryption])
    return replace(volume, needs=(*volume.needs, *secrets))


def _is_medium(volume: DesiredVolume, vm: ResolvedVm) -> bool:
    return any((drive.pool, drive.volume) == (volume.pool, volume.name) for drive in vm.cdroms)


def _image(image: ResolvedImage, host: str, pool: str, pools: Mapping[str, Pool]) -> DesiredVolume:
    return DesiredVolume(
        address=Address(host, Kind.VOLUME, f"{pool}/{image.volume}"),
        role=Role.IMAGE,
        format=image.format,
        capacity=None,
        content=image.content,
        shared=pools[pool].is_shared,
        origin=image.origin,
    )


def _disk(
    vm: ResolvedVm,
    disk: ResolvedDisk,
    host: str,
    image: ResolvedImage | None,
    pools: Mapping[str, Pool],
) -> DesiredVolume:
    return DesiredVolume(
        address=Address(host, Kind.VOLUME, f"{disk.pool}/{disk.volume}"),
        role=Role.DISK,
        format=disk.spec.format,
        capacity=disk.size,
        preallocation=disk.spec.preallocation,
        backing=image.volume if image and disk.clone is None else None,
        clone=disk.clone,
        vm=vm.name,
        shared=pools[disk.pool].is_shared,
        encryption=disk.encryption,
        needs=_original(disk, host),
        options=VolumeOptions(disk.spec.cluster_size, disk.spec.lazy_refcounts, disk.spec.nocow),
        origin=vm.origin,
    )


def _original(disk: ResolvedDisk, host: str) -> tuple[Address, ...]:
    """What a disk is copied from, if it is: the pool, and the volume of an image, which may have to be made first."""
    if disk.clone is None:
        return ()
    pool = Address(host, Kind.POOL, disk.clone.partition("/")[0])
    return (pool, Address(host, Kind.VOLUME, disk.clone)) if disk.image else (pool,)


def _absent_domains(
    placed: PlacedCluster, observations: Mapping[str, Observation], definitions: Mapping[str, Definition]
) -> Iterator[Absent]:
    """Where they were seen, and where one may be that its manifest puts on a host without an answer.

    With the files of those that a cluster manager runs.
    """
    gone = {vm.uuid: vm for vm in placed.cluster.vms if vm.state == "absent"}
    files = [(vm, found) for vm in gone.values() if (found := definitions.get(vm.name)) and found.pool]
    for absent, file in files:
        for host in file.hosts:
            address = Address(host, Kind.VOLUME, file.volume)
            yield Absent(address, absent.origin, uuid=absent.uuid, run_by=file.by)
    answered = {name: seen for name, seen in observations.items() if isinstance(seen, HostSnapshot)}
    for host, snapshot in sorted(answered.items()) if gone else ():
        for domain in snapshot.state.domains:
            if vm := gone.get(domain.uuid):
                yield Absent(Address(host, Kind.DOMAIN, vm.name), vm.origin, _power_off(vm), vm.uuid)
    for vm in placed.vms:
        if vm.state == "absent" and vm.host is not None and vm.host not in answered:
            yield Absent(Address(vm.host, Kind.DOMAIN, vm.name), vm.origin, _power_off(vm), vm.uuid)


def _legs(placed: PlacedCluster) -> tuple[Leg, ...]:
    if not placed.legs:
        return ()
    addresses = {host.name: host.migration_address for host in placed.cluster.hosts}
    return tuple(replace(leg, address=addresses[leg.target]) for leg in placed.legs)


def _brought(vm: ResolvedVm, pools: Mapping[str, Pool]) -> Iterator[ResolvedDisk]:
    """Disks that only its host sees, and that were made for the vm: it takes them along when it moves."""
    return (
        disk
        for disk in vm.disks
        if disk.volume and disk.spec.volume is None and not pools[disk.pool].is_shared
    )


def _shared_devices(vm: ResolvedVm, pools: Mapping[str, Pool]) -> Iterator[str]:
    """Devices of its disks that the hosts of their pools see alike."""
    for disk in vm.disks:
        pool = pools[disk.pool] if disk.volume else None
        if pool is not None and pool.is_shared and pool.place is not None and pool.traits.holds != "files":
            yield f"{pool.place}/{disk.volume}"


def _kept(vm: ResolvedVm, pools: Mapping[str, Pool], stuck: Mapping[str, str]) -> tuple[str, ...]:
    return (*_not_brought(vm, pools), *([stuck[vm.name]] if vm.name in stuck else []))


def _not_brought(vm: ResolvedVm, pools: Mapping[str, Pool]) -> Iterator[str]:
    """Why other disks cannot come along when it moves."""
    for disk in vm.disks:
        if disk.spec.volume is not None and not pools[disk.pool].is_shared:
            yield f"its disk {disk.name} is a volume of {disk.pool} that was not made for it"
        elif disk.encryption is not None and disk.volume and not pools[disk.pool].is_shared:
            yield f"its disk {disk.name} is encrypted and would have to be copied"


def _as_it_comes(volume: DesiredVolume, source: str) -> DesiredVolume:
    """An empty volume, whatever the disk began as: all that is in it comes from where the guest was."""
    return replace(volume, backing=None, clone=None, capacity=None, needs=(), moves_from=source)


def _policy(vm: ResolvedVm, address: str) -> MigrationPolicy:
    said = vm.spec.migration
    return MigrationPolicy(
        mode=said.mode,
        hosts_lead=said.control == "hosts",
        auto_converge=said.auto_converge,
        bandwidth=(said.bandwidth or 0) // MIB,
        max_downtime=said.max_downtime or 0,
        timeout=said.timeout,
        on_timeout=said.on_timeout,
        parallel=said.parallel or 0,
        compressed=said.compressed,
        tls=said.tls,
        address=address,
    )


def _power_off(vm: ResolvedVm) -> PowerOff:
    return PowerOff(vm.spec.shutdown.timeout, vm.spec.shutdown.force)
