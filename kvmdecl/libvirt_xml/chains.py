"""The files that disks are made of: the one that a guest writes to, and those beneath it, as snapshots leave them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kvmdecl.libvirt_xml.safe import Element, parse_xml


@dataclass(frozen=True, slots=True)
class DiskFiles:
    """A disk. `files` begin with the one that the guest writes to; each stands on the next.

    `snapped` says whether a snapshot of the guest can take the disk along: not drives, read-only or shared disks, nor
    what is no file. `encrypted` disks have a key, which a new file on top would lack.
    """

    target: str
    files: tuple[str, ...]
    snapped: bool
    encrypted: bool


def disk_files(xml: str) -> tuple[DiskFiles, ...]:
    """All disks of a definition. That of a running guest tells all files, an inactive one some.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    return tuple(_disk(disk) for disk in parse_xml(xml).iterfind("devices/disk"))


def writes_to(xml: str, pool: str, name: str, path: str) -> bool:
    """Whether a guest that runs by this definition writes to a volume: it is the top of one of its disks.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    for disk in parse_xml(xml).iterfind("devices/disk"):
        source = disk.find("source")
        if source is None or disk.find("readonly") is not None:
            continue
        if path in map(source.get, ("file", "dev", "name")):
            return True
        if (source.get("pool"), source.get("volume")) == (pool, name):
            return True
    return False


def _disk(disk: Element) -> DiskFiles:
    target = disk.find("target")
    files = tuple(_files(disk))
    apart = any(disk.find(tag) is not None for tag in ("readonly", "shareable", "transient"))
    plain = disk.get("device", "disk") == "disk" and not apart
    return DiskFiles(
        "" if target is None else target.get("dev", ""),
        files,
        plain and bool(files),
        next(disk.iter("encryption"), None) is not None,
    )


def _files(layer: Element | None) -> Iterator[str]:
    while layer is not None:
        source = layer.find("source")
        file = source.get("file") if source is not None else None
        if file is None:
            return
        yield file
        layer = layer.find("backingStore")
