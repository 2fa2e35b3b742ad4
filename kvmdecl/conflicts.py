"""What cannot be twice in one cluster, or on one host: found on the linked cluster, told with both places."""

from __future__ import annotations

import ipaddress
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from kvmdecl.diagnostics import Diagnostic, Note

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from kvmdecl.cluster import (
        ResolvedCluster,
        ResolvedDisk,
        ResolvedFilter,
        ResolvedImage,
        ResolvedNetwork,
        ResolvedPool,
        ResolvedVm,
    )
    from kvmdecl.diagnostics import Span

    _Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
    _Thing = TypeVar("_Thing", ResolvedPool, ResolvedNetwork)
    _User = tuple[ResolvedDisk, ResolvedVm] | tuple[ResolvedImage, ResolvedImage]


def conflicts(cluster: ResolvedCluster) -> Iterator[Diagnostic]:
    """Find everything of a cluster that excludes something else of it."""
    return chain(
        _same_uris(cluster),
        _same_paths(cluster.pools),
        _same_bridges(cluster.networks),
        _overlapping_subnets(cluster.networks),
        _same_volumes(cluster),
        _same_sources(cluster),
        _same_cids(cluster),
        _waiting_rings(cluster.vms),
        _filter_rings(cluster.filters),
        _same_taps(cluster),
        _same_uuids(cluster),
    )


def _same_uris(cluster: ResolvedCluster) -> Iterator[Diagnostic]:
    first: dict[str, str] = {}
    origins = {host.name: host.origin for host in cluster.hosts}
    for host in cluster.hosts:
        uri = str(host.uri)
        if host.uri.driver == "test":
            continue  # libvirt's test driver is a world of its own in every process
        if uri in first:
            yield _twice(
                "reference.duplicate-uri",
                f"hosts {first[uri]} and {host.name} have the same URI",
                host.origin.find("uri"),
                origins[first[uri]].find("uri"),
                "They would be one machine, and each would take the other's objects for its own.",
                "correct one of the URIs",
            )
        first.setdefault(uri, host.name)


def _same_paths(pools: Iterable[ResolvedPool]) -> Iterator[Diagnostic]:
    active = [pool for pool in pools if pool.spec.state == "active"]
    for pool, other in _shared((pool, pool.spec.path) for pool in active if pool.spec.path):
        yield _twice(
            "reference.duplicate-path",
            f"pools {other.name} and {pool.name} have the same path on a host",
            pool.origin.find("path"),
            other.origin.find("path"),
            "Each would list, and could delete, the volumes of the other.",
            "give each pool a directory of its own, or use one pool",
        )
    for pool, other in _shared((pool, pool.spec.behind) for pool in active if pool.spec.behind):
        yield _twice(
            "reference.duplicate-path",
            f"pools {other.name} and {pool.name} have the same storage behind them on a host",
            pool.origin.at,
            other.origin.at,
            "Each would list, and could delete, the volumes of the other.",
            "use one pool for both",
        )


def _same_bridges(networks: Iterable[ResolvedNetwork]) -> Iterator[Diagnostic]:
    for network, other in _shared((n, n.bridge) for n in networks if n.spec.state == "active"):
        yield _twice(
            "reference.duplicate-bridge",
            f"networks {other.name} and {network.name} have the same bridge {network.bridge} on a host",
            network.origin.find("bridge"),
            other.origin.find("bridge"),
            "A bridge is one network; libvirt starts only one of two that name it.",
            "name another bridge, or use one network",
        )


def _shared(things: Iterable[tuple[_Thing, Hashable]]) -> Iterator[tuple[_Thing, _Thing]]:
    """Pairs with the same value on a common host, each thing with the first that it meets."""
    first: dict[tuple[str, Hashable], _Thing] = {}
    for thing, value in things:
        other = next((first[host, value] for host in thing.hosts if (host, value) in first), None)
        if other is not None:
            yield thing, other
        for host in thing.hosts:
            first.setdefault((host, value), thing)


def _overlapping_subnets(networks: Iterable[ResolvedNetwork]) -> Iterator[Diagnostic]:
    """Networks in CIDR notation overlap only if one holds the other: one pass over sorted ones finds all."""
    subnets = [
        (ipaddress.ip_network(entry.subnet), network)
        for network in networks
        if network.spec.state == "active"
        for entry in network.spec.ranges
    ]
    subnets.sort(key=lambda s: (s[0].version, int(s[0].network_address), s[0].prefixlen, s[1].name))
    around: list[tuple[_Subnet, ResolvedNetwork]] = []
    for subnet, network in subnets:
        while around and not _holds(around[-1][0], subnet):
            around.pop()
        for wide, other in around:
            if set(other.hosts) & set(network.hosts):
                yield _twice(
                    "reference.overlapping-subnets",
                    f"subnet {subnet} of network {network.name} overlaps {wide} of {other.name}",
                    network.origin.find("subnet"),
                    other.origin.find("subnet"),
                    "Their host would have two routes to the same addresses, and guests lose packets.",
                    "choose a free subnet",
                )
                break
        around.append((subnet, network))


def _holds(outer: _Subnet, inner: _Subnet) -> bool:
    return outer.version == inner.version and int(outer.broadcast_address) >= int(inner.broadcast_address)


def _same_volumes(cluster: ResolvedCluster) -> Iterator[Diagnostic]:
    """Names of volumes are built of other names; two different ones may come out the same."""
    images = {image.name: image for image in cluster.images}
    first: dict[tuple[str, str], _User] = {}
    yield from _same_existing_volumes(cluster)
    used: dict[tuple[str, str], ResolvedImage] = {}
    for vm in cluster.vms:
        for disk in vm.disks:
            if not disk.volume or disk.spec.volume is not None:
                continue
            other = first.setdefault((disk.pool, disk.volume), (disk, vm))
            if other[0] is not disk:
                yield _one_volume(disk.pool, disk.volume, (disk, vm), other)
            if disk.image in images:
                used[disk.pool, disk.image] = images[disk.image]
    for (pool, _), image in used.items():
        other = first.setdefault((pool, image.volume), (image, image))
        if other[0] is not image:
            yield _one_volume(pool, image.volume, (image, image), other)


def _one_volume(pool: str, volume: str, one: _User, other: _User) -> Diagnostic:
    return _twice(
        "reference.duplicate-volume",
        f"{_words(other)} and {_words(one)} would be one volume, {volume} in pool {pool}",
        one[1].origin.at,
        other[1].origin.at,
        "The one would overwrite the other.",
        "rename one of them",
    )


def _words(user: _User) -> str:
    thing, of = user
    return f"image {thing.name}" if thing is of else f"disk {thing.name} of {of.name}"


def _same_existing_volumes(cluster: ResolvedCluster) -> Iterator[Diagnostic]:
    """A volume that is another disk's, too, where that is known: the hosts share it, or the vms have one host."""
    if not any(disk.spec.volume is not None for vm in cluster.vms for disk in vm.disks):
        return
    shared = {pool.name for pool in cluster.pools if pool.spec.is_shared}
    first: dict[tuple[str, str, str], tuple[ResolvedVm, ResolvedDisk]] = {}
    for vm in cluster.vms:
        for disk in vm.disks if vm.state != "absent" else ():
            where = "" if disk.pool in shared else vm.host
            if not disk.volume or where is None:
                continue
            other, its_disk = first.setdefault((where, disk.pool, disk.volume), (vm, disk))
            if its_disk is disk or (disk.spec.shareable and its_disk.spec.shareable):
                continue
            if disk.spec.volume is None and its_disk.spec.volume is None:
                continue  # told by what their names are made of
            yield _twice(
                "reference.duplicate-volume",
                f"disk {its_disk.name} of {other.name} and disk {disk.name} of {vm.name} are one volume,"
                f" {disk.volume} in pool {disk.pool}",
                vm.origin.find(f"{disk.key}.volume"),
                other.origin.find(f"{its_disk.key}.volume"),
                "Two guests that write to one disk destroy what is on it.",
                "name another volume, or say `shareable: true` of both if the guests agree who writes where",
            )


def _same_sources(cluster: ResolvedCluster) -> Iterator[Diagnostic]:
    """What two disks have for their source: a server's is one everywhere, a path or socket is one on one host."""
    first: dict[Hashable, tuple[ResolvedVm, ResolvedDisk]] = {}
    for vm in cluster.vms:
        for disk in vm.disks if vm.state != "absent" else ():
            source = disk.spec.source
            where = "" if source is not None and source.is_elsewhere else vm.host
            if source is None or where is None:
                continue
            other, its_disk = first.setdefault((where, source.identity), (vm, disk))
            both = (disk.spec, its_disk.spec)
            if (
                its_disk is disk
                or all(spec.shareable for spec in both)
                or all(spec.readonly for spec in both)
            ):
                continue
            yield _twice(
                "reference.duplicate-source",
                f"disk {its_disk.name} of {other.name} and disk {disk.name} of {vm.name} are one",
                vm.origin.find(f"{disk.key}.source"),
                other.origin.find(f"{its_disk.key}.source"),
                "Two guests that write to one disk destroy what is on it.",
                "name another source, or say `shareable: true` of both if the guests agree who writes where",
            )


def _same_cids(cluster: ResolvedCluster) -> Iterator[Diagnostic]:
    """Cluster-wide, though a host would do: a guest may be started on any host after this one."""
    first: dict[int | str, ResolvedVm] = {}
    for vm in cluster.vms:
        if vm.spec.vsock is None or vm.spec.vsock.cid == "auto" or vm.state == "absent":
            continue
        other = first.setdefault(vm.spec.vsock.cid, vm)
        if other is not vm:
            yield _twice(
                "reference.duplicate-cid",
                f"{other.name} and {vm.name} have the same vsock address {vm.spec.vsock.cid}",
                vm.origin.find("vsock.cid"),
                other.origin.find("vsock.cid"),
                "On one host, only one of them could start.",
                "give one of them another, or write `vsock: auto`",
            )


def _same_uuids(cluster: ResolvedCluster) -> Iterator[Diagnostic]:
    """Derived ones differ, so one of the two was given."""
    first: dict[str, ResolvedVm] = {}
    for vm in cluster.vms:
        other = first.setdefault(vm.uuid, vm)
        if other is not vm:
            yield _twice(
                "reference.duplicate-uuid",
                f"{other.name} and {vm.name} have the same UUID {vm.uuid}",
                vm.origin.find("uuid"),
                other.origin.find("uuid"),
                "A UUID is the identity of one domain.",
                "keep it where it belongs; `virsh domuuid NAME` prints a domain's",
            )


def _same_taps(cluster: ResolvedCluster) -> Iterator[Diagnostic]:
    """Cluster-wide, for the same reason."""
    first: dict[str, tuple[ResolvedVm, str]] = {}
    for vm in cluster.vms:
        for index, nic in enumerate(vm.spec.nics if vm.state != "absent" else ()):
            if nic.tap is None:
                continue
            key = f"nics.{index}.tap"
            other, there = first.setdefault(nic.tap, (vm, key))
            if (other.name, there) != (vm.name, key):
                yield _twice(
                    "reference.duplicate-tap",
                    f"a NIC of {other.name} and one of {vm.name} have the same device {nic.tap}",
                    vm.origin.find(key),
                    other.origin.find(there),
                    "On one host, only one of them could start.",
                    "give one of them another `tap:`, or leave it out",
                )


def _waiting_rings(vms: Iterable[ResolvedVm]) -> Iterator[Diagnostic]:
    """Vms that wait for each other."""
    waiting = {vm.name: vm for vm in vms if vm.spec.after}
    for ring in _rings({name: [other.vm for other in vm.spec.after] for name, vm in waiting.items()}):
        yield Diagnostic(
            "reference.ring",
            f"vms wait for each other: {' waits for '.join([*ring, ring[0]])}",
            waiting[ring[-1]].origin.find("after"),
            "None of them could be started before the others.",
            "take one of the `after:` out",
            subject=f"vm/{ring[0]}",
        )


def _filter_rings(filters: Iterable[ResolvedFilter]) -> Iterator[Diagnostic]:
    """Filters whose rules lead back to them."""
    named = {filter_.name: filter_ for filter_ in filters if filter_.spec.state == "active"}
    for ring in _rings({name: filter_.needs for name, filter_ in named.items()}):
        last = named[ring[-1]]
        index = next(index for index, rule in enumerate(last.spec.rules) if rule.filter == ring[0])
        yield Diagnostic(
            "reference.filter-cycle",
            f"filters name each other: {' names '.join([*ring, ring[0]])}"
            if len(ring) > 1
            else f"filter {ring[0]} names itself",
            last.origin.find(f"rules.{index}.filter"),
            "The rules of a filter that is named apply in its place, and so would have no end.",
            "put the common rules into a filter of their own",
        )


def _rings(edges: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Names that lead back to themselves, each ring once. Not recursive: a chain may be as long as the manifest."""
    done: set[str] = set()
    for start in edges:
        # From `start` to where we are, each with the names that are left to try.
        path: dict[str, Iterator[str]] = {}
        name: str | None = start if start not in done else None
        while name is not None or path:
            if name is not None and name not in path:
                path[name] = iter([other for other in edges.get(name, ()) if other not in done])
            elif name is not None:
                yield list(path)[list(path).index(name) :]
            last = next(reversed(path))
            name = next(path[last], None)
            if name is None:
                done.add(last)
                del path[last]


def _twice(code: str, summary: str, at: Span | None, other: Span | None, cause: str, hint: str) -> Diagnostic:
    return Diagnostic(code, summary, at, cause, hint, notes=(Note("the other one is here", other),))
