"""The cluster with nothing implicit left: references linked, names derived, then a host for every vm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel

from kvmdecl.diagnostics import Diagnostic, Span
from kvmdecl.manifest import (
    Cdrom,
    DeviceAlias,
    Disk,
    Limits,
    Network,
    NetworkFilter,
    Nic,
    Pool,
    Rollout,
    Secret,
    Section,
    Vm,
)
from kvmdecl.manifest.hostdevs import HostDevice
from kvmdecl.names import DIGEST_LENGTH
from kvmdecl.policy import NO_POLICIES, Policies
from kvmdecl.solver import Place
from kvmdecl.state import Baseline, FileContent, Leg, Origin, SecretSource, SeedContent
from kvmdecl.uri import HostUri
from kvmdecl.waivers import Waiver


@dataclass(frozen=True, slots=True)
class ResolvedHost:
    """A host of the manifest. Reserves: CPUs, and bytes of memory, that are not for guests.

    `huge_pages` are those that it sets aside: size in bytes, number of a cell or None for all cells together, and how
    many. `ksm` are KSM's numbers by name. `dedicated` are the CPUs that vCPUs may have for themselves; at most
    `overcommit` vCPUs share one of the others. `sriov` is how many virtual functions its cards have, by address.
    `migration_address` is where guests are migrated to, empty for the name that the host has. `peer_uri` is how the
    other hosts reach its libvirt, None for as `uri` says.
    """

    name: str
    uri: HostUri
    reserved_cpus: int
    reserved_memory: int
    huge_pages: tuple[tuple[int, int | None, int], ...] = ()
    ksm: tuple[tuple[str, int], ...] = ()
    dedicated: frozenset[int] = frozenset()
    overcommit: float = 4
    labels: Mapping[str, str] = field(default_factory=dict)
    maintenance: bool = False
    sriov: tuple[tuple[str, int], ...] = ()
    migration_address: str = ""
    origin: Origin = field(compare=False, default=Origin())
    peer_uri: HostUri | None = None


@dataclass(frozen=True, slots=True)
class RetiredHost:
    """A host that the manifest lets go (`state: absent`). Without a URI it is not asked whether it is empty."""

    name: str
    uri: HostUri | None
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True)
class ResolvedSecret:
    """A secret. `usage_id` tells it from others of its usage on a host; `source` is where its value is found."""

    name: str
    uuid: str
    spec: Secret
    usage_id: str
    source: SecretSource
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True)
class ResolvedPool:
    """A pool and the hosts that get it. `secret` is the UUID of what it proves with who a host is, if it has to."""

    name: str
    uuid: str
    spec: Pool
    hosts: tuple[str, ...]
    secret: str | None = None
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True)
class ResolvedNetwork:
    """A network and the hosts that get it. `bridge` is the device: the host's own, or the one libvirt makes.

    `uuid` is empty for `mode: bridge`, which needs no object of libvirt's, and for `mode: existing`.
    """

    name: str
    uuid: str
    spec: Network
    bridge: str
    hosts: tuple[str, ...]
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True)
class ResolvedFilter:
    """A network filter; every host gets it. `needs` are the filters of the manifest that it names."""

    name: str
    uuid: str
    spec: NetworkFilter
    needs: tuple[str, ...]
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
    """A disk of a vm: what the manifest says of it (`spec`), and what follows.

    `volume` is its volume in `pool`; both are empty for a disk that the host has already. `clone` is the volume, as
    `POOL/VOLUME`, that it begins as a full copy of. `encryption` is the UUID of
    the secret that opens it, `server_secret` of the one that proves to a storage server who the host is.
    """

    name: str
    spec: Disk
    pool: str
    volume: str
    image: str | None
    boot_order: int | None
    encryption: str | None = None
    server_secret: str | None = None
    clone: str | None = None

    @property
    def key(self) -> str:
        """The vm's key that says it, for `Origin.find`."""
        return "disk" if self.name == "root" else f"disks.{self.name}"

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools that it needs on its host: its own, and that of what it begins as."""
        needed = (self.pool, self.clone.partition("/")[0] if self.clone else "")
        return tuple(pool for pool in needed if pool)

    @property
    def size(self) -> int | None:
        """Capacity in bytes, None for the image's own."""
        return self.spec.size

    @property
    def serial(self) -> str | None:
        """Serial number that the guest sees; a disk that exists keeps the one that it has, or none."""
        return self.spec.serial or (self.name if self.spec.source is None and not self.spec.lun else None)


@dataclass(frozen=True, slots=True)
class ResolvedCdrom:
    """A drive; `volume` in `pool` holds what is in it. All three are empty for an empty one, or with a `source`."""

    name: str
    spec: Cdrom
    image: str
    pool: str
    volume: str
    boot_order: int | None


@dataclass(frozen=True, slots=True)
class ResolvedNic:
    """A NIC: what the manifest says of it, and what follows.

    `source` is a bridge device where `is_bridge`, else a libvirt network's name, empty for a NIC without a network.
    `failover` is its part in a team: whether it stays while the guest is migrated.
    """

    mac: str
    spec: Nic
    source: str
    is_bridge: bool
    boot_order: int | None
    failover: Literal["", "persistent", "transient"] = ""

    @property
    def network(self) -> str:
        """The network of the manifest that it is plugged into, empty for none."""
        return self.spec.network or ""


@dataclass(frozen=True, slots=True)
class GivenDevice:
    """A device that a vm is given because it asked for such a one.

    `key` is that of the request (`devices.0`), `device` what is passed on. `cell` is the guest's NUMA cell whose PCI
    Express buses it is on, None for any bus.
    """

    key: str
    device: HostDevice
    cell: int | None = None


@dataclass(frozen=True, slots=True)
class ResolvedVm:
    """A vm: what the manifest says of it (`spec`), and everything that follows from that.

    `host` is None until placement, unless the manifest names one. `type` is the spec's, or another one in a rehearsal.
    `seed` is the content of its cloud-init image or its Ignition configuration, in volume `seed_volume` of `seed_pool`.
    `given` are the devices that placement chose for it.
    """

    name: str
    uuid: str
    host: str | None
    spec: Vm
    type: str
    disks: tuple[ResolvedDisk, ...]
    nics: tuple[ResolvedNic, ...]
    cdroms: tuple[ResolvedCdrom, ...] = ()
    seed: SeedContent | None = None
    seed_pool: str = ""
    tpm_secret: str | None = None
    given: tuple[GivenDevice, ...] = ()
    origin: Origin = field(compare=False, default=Origin())

    @property
    def seed_volume(self) -> str:
        """Name of the seed's volume, which tells its content; empty without a seed."""
        if self.seed is None:
            return ""
        kind, ending = ("ignition", "json") if self.seed.plain else ("seed", "iso")
        return f"{self.name}.{kind}.{self.seed.sha256[:DIGEST_LENGTH]}.{ending}"

    @property
    def state(self) -> str:
        """`running`, `stopped`, `unmanaged` or `absent`."""
        return self.spec.state

    @property
    def arch(self) -> str:
        """Architecture of the guest."""
        return self.spec.arch

    @property
    def machine(self) -> str:
        """Machine type, as the manifest says it."""
        return self.spec.machine

    @property
    def cpus(self) -> int:
        """Number of vCPUs that the guest has now."""
        return self.spec.cpus.count

    @property
    def max_cpus(self) -> int:
        """Number of vCPUs that it can be given while it runs."""
        return self.spec.cpus.max or self.spec.cpus.count

    @property
    def memory(self) -> int:
        """Bytes of memory that the guest has now."""
        return self.spec.memory.size

    @property
    def max_memory(self) -> int:
        """Bytes of memory that it can be given."""
        return self.spec.memory.max or self.spec.memory.size

    def with_spec(self, **parts: Section) -> ResolvedVm:
        """The same vm with these sections in the place of its own."""
        return replace(self, spec=self.spec.model_copy(update=parts))

    def on(self, host: str) -> ResolvedVm:
        """The same vm with its host decided."""
        return replace(self, host=host)


@dataclass(frozen=True, slots=True)
class LockedPlace:
    """Where the lock file puts a vm. `agrees` is whether the vm still wants what it wanted then."""

    place: Place
    agrees: bool
    at: Span | None = field(compare=False, default=None)


@dataclass(frozen=True, slots=True)
class RuleChoice:
    """Which rules hold for a cluster.

    Attributes:
        select: rules and groups that hold besides those that always do.
        ignore: rules and groups that do not.
        waivers: findings that are accepted for now.
        known: findings from before the rules, as (rule, owner such as `vm/web-1`, key).
        workloads: what vms are for, as (pattern of names, workload).
        tenancy: `shared` if guests belong to people who need not trust each other, else `single`.
        named: all names of rules and groups, with their places.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    known: frozenset[tuple[str, str, str]] = frozenset()
    tenancy: Literal["single", "shared"] = "single"
    workloads: tuple[tuple[str, str], ...] = ()
    named: tuple[tuple[str, Span | None], ...] = field(compare=False, default=())


@dataclass(frozen=True, slots=True)
class ResolvedCluster:
    """The whole manifest, linked. `sections` are the validated sections of plugins, by name.

    `hosts` are those that are in use; `retired` those that the manifest lets go, `forgotten` the names of those that
    the user lets go, `newcomers` those of vms that exist nowhere, as the user says. `lock` is where the lock file puts
    which vm, None without such a file. `devices` are names for devices of hosts. `origin` finds keys from the top of
    the manifest: `origin.find("ha.survive")` is a key of a plugin's section.
    """

    name: str
    revision: str
    solver: str
    hosts: tuple[ResolvedHost, ...]
    pools: tuple[ResolvedPool, ...]
    networks: tuple[ResolvedNetwork, ...]
    images: tuple[ResolvedImage, ...]
    vms: tuple[ResolvedVm, ...]
    sections: Mapping[str, BaseModel] = field(default_factory=dict)
    retired: tuple[RetiredHost, ...] = ()
    forgotten: frozenset[str] = frozenset()
    newcomers: frozenset[str] = frozenset()
    filters: tuple[ResolvedFilter, ...] = ()
    secrets: tuple[ResolvedSecret, ...] = ()
    lock: Mapping[str, LockedPlace] | None = None
    devices: Mapping[str, DeviceAlias] = field(default_factory=dict)
    origin: Origin = field(compare=False, default=Origin())
    rules: RuleChoice = RuleChoice()
    rollout: Rollout | None = None
    limits: Limits = field(default_factory=Limits.unsaid)
    policies: Policies = NO_POLICIES


@dataclass(frozen=True, slots=True)
class PlacedCluster:
    """A cluster in which every vm has a host, but those in `undecided`: the host that may hold them did not answer.

    Nor are those in `frozen` among `vms`: of what they shall be something depends on a host that did not answer.
    `places` are those of the vms whose hosts were read. `moves` leads from the names of vms that are on another host by
    now, and have to leave it, to that host. `stays` says of vms why they stay on a host that is in maintenance,
    `legs` in which turn they move, and `stuck` why some cannot: there is no room for them at any time. `elsewhere` are
    vms that a cluster manager runs and that differ by host, as they would be on each other host that has a place for
    them.
    """

    cluster: ResolvedCluster
    vms: tuple[ResolvedVm, ...]
    undecided: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
    moves: Mapping[str, str] = field(default_factory=dict)
    stays: tuple[Diagnostic, ...] = ()
    legs: tuple[Leg, ...] = ()
    stuck: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, Mapping[str, ResolvedVm]] = field(default_factory=dict)
