"""The cluster with nothing implicit left: references linked, names derived, then a host for every vm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import BaseModel

from kvmdecl.manifest import Firmware, Graphics, Network, Pool, Watchdog
from kvmdecl.state import FileContent, Origin, SeedContent
from kvmdecl.uri import HostUri


@dataclass(frozen=True, slots=True)
class ResolvedHost:
    """A host of the manifest. Reserves: CPUs, and bytes of memory, that are not for guests."""

    name: str
    uri: HostUri
    reserved_cpus: int
    reserved_memory: int
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True)
class ResolvedPool:
    """A pool and the hosts that get it."""

    name: str
    uuid: str
    spec: Pool
    hosts: tuple[str, ...]
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True)
class ResolvedNetwork:
    """A network and the hosts that get it. `bridge` is the device: the host's own, or the one libvirt makes.

    `uuid` is empty for `mode: bridge`, which needs no object of libvirt's.
    """

    name: str
    uuid: str
    spec: Network
    bridge: str
    hosts: tuple[str, ...]
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image; `volume` is the name of its volume in a pool and carries the content's digest."""

    name: str
    volume: str
    format: str
    content: FileContent
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True)
class ResolvedDisk:
    """A disk of a vm. `volume` is its volume's name in `pool`; `size` in bytes, None for the image's own."""

    name: str
    pool: str
    volume: str
    size: int | None
    image: str | None
    format: str
    preallocation: str
    bus: str
    cache: str | None
    discard: str | None
    serial: str
    boot_order: int | None


@dataclass(frozen=True, slots=True)
class ResolvedNic:
    """A NIC. `source` is a bridge device where `is_bridge`, else a libvirt network's name."""

    mac: str
    network: str
    source: str
    is_bridge: bool
    model: str
    link: str
    mtu: int | None
    boot_order: int | None


@dataclass(frozen=True, slots=True)
class ResolvedVm:
    """A vm with everything derived but its host (`host` is None until placement, unless the manifest names one).

    `memory` and `max_memory` in bytes. `seed` is the content of its cloud-init image, in volume
    `seed_volume` of `seed_pool`.
    """

    name: str
    uuid: str
    host: str | None
    state: str
    autostart: bool
    description: str | None
    type: str
    arch: str
    machine: str
    cpus: int
    max_cpus: int
    cpu_model: str
    memory: int
    max_memory: int
    firmware: Firmware
    disks: tuple[ResolvedDisk, ...]
    nics: tuple[ResolvedNic, ...]
    serial: bool
    graphics: Graphics
    agent: bool
    rng: bool
    balloon: bool
    watchdog: Watchdog | None
    seed: SeedContent | None = None
    seed_pool: str = ""
    seed_volume: str = ""
    origin: Origin = field(compare=False, default=Origin())

    def on(self, host: str) -> ResolvedVm:
        """The same vm with its host decided."""
        return replace(self, host=host)


@dataclass(frozen=True, slots=True)
class ResolvedCluster:
    """The whole manifest, linked. `sections` are the validated sections of plugins, by name."""

    name: str
    revision: str
    solver: str
    hosts: tuple[ResolvedHost, ...]
    pools: tuple[ResolvedPool, ...]
    networks: tuple[ResolvedNetwork, ...]
    images: tuple[ResolvedImage, ...]
    vms: tuple[ResolvedVm, ...]
    sections: Mapping[str, BaseModel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlacedCluster:
    """A cluster in which every vm has a host, but those in `undecided`: the host that may hold them did not answer."""

    cluster: ResolvedCluster
    vms: tuple[ResolvedVm, ...]
    undecided: tuple[str, ...] = ()
