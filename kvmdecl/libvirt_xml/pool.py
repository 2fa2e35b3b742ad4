"""A storage pool as libvirt XML, and where a disk finds a volume of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.overlay import to_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.cluster import ResolvedPool
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest import Pool

_TARGETS = {"iscsi": "/dev/disk/by-path", "scsi": "/dev/disk/by-path"}
"""Where links to units appear; a stable name where `/dev` alone has none (virStorageBackendSCSINewLun)."""


def pool_xml(pool: ResolvedPool) -> str:
    """The declared definition of a pool."""
    spec = pool.spec
    target = spec.place or _TARGETS.get(spec.type)
    parts = tuple(_source(pool))
    return to_text(
        node(
            "pool",
            node("name", pool.name),
            node("uuid", pool.uuid),
            bool(parts) and node("source", *parts),
            target is not None and node("target", node("path", target)),
            type=spec.type,
        )
    )


def _source(pool: ResolvedPool) -> Iterator[Element]:
    spec = pool.spec
    for server in (spec.server, *spec.servers):
        if server is not None:
            yield host(server)
    for device in (*spec.devices, *filter(None, [spec.target])):
        yield node("device", path=device)
    if spec.export is not None:
        yield node("dir", path=spec.export)
    elif spec.type == "gluster":
        yield node("dir", path="/")
    if spec.adapter is not None:
        yield _adapter(spec)
    if spec.source is not None:
        yield node("name", spec.source)
    if spec.initiator is not None:
        yield node("initiator", node("iqn", name=spec.initiator))
    if spec.auth is not None:
        kind = "ceph" if spec.type == "rbd" else "chap"
        yield node("auth", node("secret", uuid=pool.secret), type=kind, username=spec.auth.user)
    if spec.format is not None:
        yield node("format", type=spec.format)
    if spec.protocol_version is not None:
        yield node("protocol", ver=spec.protocol_version)


def _adapter(spec: Pool) -> Element:
    adapter = spec.adapter
    if adapter is None or isinstance(adapter, str):
        return node("adapter", type="scsi_host", name=adapter)
    return node("adapter", type="fc_host", parent=adapter.parent, wwnn=adapter.wwnn, wwpn=adapter.wwpn)


def folder_pool(name: str, path: str, mode: str | None) -> str:
    """The definition of a pool over a folder, which is given a `mode` (octal) if it is built."""
    permissions = mode is not None and node("permissions", node("mode", mode))
    return to_text(
        node("pool", node("name", name), node("target", node("path", path), permissions), type="dir")
    )


def volume_source(pool: Pool, name: str, volume: str, secret: str | None = None) -> tuple[str, Element]:
    """The type of a disk on a volume, and its source.

    A source that names pool and volume would be shorter, but AppArmor's helper, which runs without a
    connection, cannot resolve it, least of all a backing chain (virt-aa-helper.c), so that on Ubuntu and
    Debian such guests do not start. A path also stays what it is after snapshots and block copies, and it is
    what other tools write. Only where the path is not known beforehand (units of a storage server) libvirt has to
    find it.
    """
    if pool.place is not None:
        kind, attribute = ("file", "file") if pool.traits.holds == "files" else ("block", "dev")
        return kind, node("source", **{attribute: f"{pool.place}/{volume}"})
    if pool.traits.holds == "objects":
        servers = [server for server in (pool.server, *pool.servers) if server is not None]
        path = f"{pool.source}/{volume}"
        proof = node("secret", type="ceph", uuid=secret)
        user = node("auth", proof, username=pool.auth.user) if pool.auth else None
        parts = (*map(host, servers), user)
        return "network", node("source", *parts, protocol=pool.type, name=path)
    return "volume", node("source", pool=name, volume=volume)


def host(server: str) -> Element:
    """`HOST`, `HOST:PORT`, or `[IPv6]` with or without a port, as an element."""
    name, _, port = server.rpartition(":") if not server.endswith("]") else (server, "", "")
    name, port = (name, port) if name else (server, "")
    return node("host", name=name.strip("[]"), port=port or None)
