"""What a disk is that is there already, as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node, pci_address
from kvmdecl.libvirt_xml.pool import host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest.disk_sources import Source


def existing_source(source: Source, secret: str | None) -> tuple[str, Element]:
    """The type of a disk, and its source; `secret` is the UUID of what it proves with who the host is."""
    if source.path is not None:
        return path_source(source.path)
    if source.nvme is not None:
        place = node("address", **pci_address(source.nvme))
        managed, namespace = _yes_no(source.managed), str(source.namespace or 1)
        return "nvme", node("source", place, type="pci", managed=managed, namespace=namespace)
    tls = None if source.tls is None else _yes_no(source.tls)
    return "network", node(
        "source",
        *_parts(source, secret),
        protocol=source.protocol,
        name=source.name,
        query=source.query,
        tls=tls,
    )


def path_source(path: str) -> tuple[str, Element]:
    """The same of a path on the host: block devices have their place in `/dev`."""
    if path.startswith("/dev/"):
        return "block", node("source", dev=path)
    return "file", node("source", file=path)


def _parts(source: Source, secret: str | None) -> Iterator[Element]:
    yield from map(host, source.servers)
    if source.socket is not None:
        yield node("host", transport="unix", socket=source.socket)
    if source.snapshot is not None:
        yield node("snapshot", name=source.snapshot)
    if source.config_file is not None:
        yield node("config", file=source.config_file)
    if source.auth is not None:
        kind = "ceph" if source.protocol == "rbd" else "iscsi"
        yield node("auth", node("secret", type=kind, uuid=secret), username=source.auth.user)
    if source.initiator is not None:
        yield node("initiator", node("iqn", name=source.initiator))
    if source.verify is not None:
        yield node("ssl", verify=_yes_no(source.verify))
    if source.readahead is not None:
        yield node("readahead", size=str(source.readahead))
    if source.timeout is not None:
        yield node("timeout", seconds=str(source.timeout))


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
