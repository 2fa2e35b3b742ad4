"""The files that disks are made of: the one that a guest writes to, and those beneath it, as snapshots leave them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.overlay import to_text
from kvmdecl.libvirt_xml.safe import Element, parse_xml
from kvmdecl.state import ObservedDomain, ObservedPool


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


@dataclass(frozen=True, slots=True)
class Layer:
    """A file of a disk, and its format."""

    file: str
    format: str


def layers(xml: str) -> dict[str, tuple[Layer, ...]]:
    """The files of each disk of a definition, by its target, as far as the definition tells; the topmost first.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    return {_target(disk): tuple(_layers(disk)) for disk in parse_xml(xml).iterfind("devices/disk")}


def _target(disk: Element) -> str:
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def _layers(disk: Element) -> Iterator[Layer]:
    driver = disk.find("driver")
    format_ = "" if driver is None else driver.get("type", "")
    layer: Element | None = disk
    while layer is not None:
        source = layer.find("source")
        file = source.get("file") if source is not None else None
        if file is None:
            return
        yield Layer(file, format_)
        layer = layer.find("backingStore")
        below = layer.find("format") if layer is not None else None
        format_ = "" if below is None else below.get("type", "")


def with_layers(xml: str, disks: Mapping[str, tuple[Layer, ...]]) -> str:
    """The definition with these files for its disks, by target.

    libvirt finds out by itself what a file stands on when it starts a guest; written out, it is known before.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    root = parse_xml(xml)
    for disk in root.iterfind("devices/disk"):
        if (target := _target(disk)) in disks:
            _set_layers(disk, *disks[target])
    return to_text(root)


def _set_layers(disk: Element, top: Layer, *beneath: Layer) -> None:
    for old in disk.findall("backingStore"):
        disk.remove(old)
    for driver in disk.iterfind("driver"):
        driver.set("type", top.format)
    chain: Element | None = None
    for layer in reversed(beneath):
        format_ = node("format", type=layer.format) if layer.format else None
        chain = node("backingStore", format_, node("source", file=layer.file), chain, type="file")
    for source in disk.iterfind("source"):
        source.set("file", top.file)
        if chain is not None:
            source.addnext(chain)


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


def guests_on(pool: ObservedPool, domains: Iterable[ObservedDomain]) -> Iterator[ObservedDomain]:
    """The guests that run on volumes of a pool; none of a directory, whose files stay where they are.

    Raises:
        BadXml: a definition is not acceptable XML.
    """
    if parse_xml(pool.xml).get("type") == "dir":
        return
    paths = frozenset(volume.path for volume in pool.volumes)
    for domain in domains:
        if domain.active and _stands_on(domain.live_xml or domain.xml, pool.name, paths):
            yield domain


def _stands_on(xml: str, pool: str, paths: Container[str]) -> bool:
    return any(
        source.get("pool") == pool or any(source.get(place) in paths for place in ("file", "dev"))
        for source in parse_xml(xml).iterfind("devices/disk//source")
    )


def _disk(disk: Element) -> DiskFiles:
    files = tuple(_files(disk))
    apart = any(disk.find(tag) is not None for tag in ("readonly", "shareable", "transient"))
    plain = disk.get("device", "disk") == "disk" and not apart
    return DiskFiles(
        _target(disk),
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
