"""What is on a host and what should be: the values that plan compares. Definitions are kept as libvirt's XML text."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Literal

from kvmdecl.diagnostics import Diagnostic, Span
from kvmdecl.facts import HostFacts


class Kind(StrEnum):
    """Kinds of objects, in libvirt's words; each stands on those before it. `cluster` is what its manager goes by."""

    HOST = "host"
    SECRET = "secret"  # noqa: S105 - a kind of object
    POOL = "pool"
    NWFILTER = "nwfilter"
    NETWORK = "network"
    VOLUME = "volume"
    DOMAIN = "domain"
    CLUSTER = "cluster"

    @property
    def tag(self) -> str:
        """The root element of its definitions."""
        return "filter" if self is Kind.NWFILTER else str(self)


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Name of one object in the cluster, written `kvm-1/domain/web-1`. A volume's name is `POOL/VOLUME`.

    What a host itself has is `kvm-1/host/huge-pages` and `kvm-1/host/ksm`. What a cluster manager goes by is on no
    host: `pacemaker/cluster/edge`.
    """

    host: str
    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.host}/{self.kind}/{self.name}"


# -- observed ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ObservedSnapshot:
    """A snapshot of a domain. `created` in seconds since 1970.

    `cluster` and `by` (`command` or `policy`) say who made it; both are empty if kvmdecl did not.
    """

    name: str
    created: int
    cluster: str
    by: str


@dataclass(frozen=True, slots=True)
class ObservedDomain:
    """A domain. `xml` is the persistent definition, `live_xml` what runs now.

    Of a transient domain `xml` is what runs, less what passes with it. `snapshots` are read where they are asked for.
    `halted` is one that is active and that a migration halted (VIR_DOMAIN_PAUSED_MIGRATION): its other self may run.
    `starting` is one that was being started for as long as anybody waited (VIR_DOMAIN_PAUSED_STARTING_UP).
    """

    name: str
    uuid: str
    xml: str
    live_xml: str | None
    active: bool
    persistent: bool
    autostart: bool
    managed_save: bool
    snapshots: tuple[ObservedSnapshot, ...] = ()
    halted: bool = False
    starting: bool = False


@dataclass(frozen=True, slots=True)
class DomainLoad:
    """What a running domain used and waited for since it began (virConnectGetAllDomainStats).

    `vcpu_time` and `vcpu_delay` in nanoseconds over all its vCPUs: they ran, and they were ready and did not run.
    `vcpu_wait` is how long they waited for I/O, `halt_poll` how long KVM polled for them in vain; 0 where libvirt does
    not tell. `balloon` are the bytes that it has now, `memory` those that it may have at most; both 0 where it does not
    tell.
    """

    name: str
    vcpus: int
    vcpu_time: int
    vcpu_delay: int
    balloon: int = 0
    memory: int = 0
    vcpu_wait: int = 0
    halt_poll: int = 0


@dataclass(frozen=True, slots=True)
class ObservedNetwork:
    """A virtual network. `xml` is the persistent definition, `live_xml` what runs now as far as that was read."""

    name: str
    uuid: str
    xml: str
    active: bool
    autostart: bool
    live_xml: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedFilter:
    """A network filter (nwfilter). It has no state but its definition."""

    name: str
    uuid: str
    xml: str


@dataclass(frozen=True, slots=True)
class ObservedSecret:
    """A secret, without its value. `usage` and `usage_id` say what it is for, and no two have both in common."""

    uuid: str
    usage: str
    usage_id: str
    ephemeral: bool


@dataclass(frozen=True, slots=True)
class ObservedVolume:
    """A volume. Sizes in bytes; `backing` is the path of its backing file. `encrypted`: with LUKS.

    `stamp` says when its file was changed last, and is read of files with definitions (`NAME.xml`) alone.
    """

    pool: str
    name: str
    path: str
    format: str
    capacity: int
    allocation: int
    backing: str | None
    encrypted: bool = False
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class ObservedPool:
    """A storage pool. `xml` is the persistent definition. Sizes in bytes, zero while the pool is inactive."""

    name: str
    uuid: str
    xml: str
    active: bool
    autostart: bool
    capacity: int
    available: int
    volumes: tuple[ObservedVolume, ...]


@dataclass(frozen=True, slots=True)
class ObservedSettings:
    """Numbers that a host's kernel goes by: `huge-pages` (`2MiB.0`: of that size, in cell 0) or `ksm`.

    `counters` are numbers that it tells besides and that are no part of what is compared: pages in use by the names of
    `values`, or `pages_shared` and `full_scans` of KSM.
    """

    name: str
    values: tuple[tuple[str, int], ...]
    counters: tuple[tuple[str, int], ...] = ()


Observed = (
    ObservedDomain
    | ObservedNetwork
    | ObservedFilter
    | ObservedPool
    | ObservedSecret
    | ObservedVolume
    | ObservedSettings
)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What kvmdecl last did to an object that cannot carry a marker of its own (all but domains and networks).

    `complete` is False from before a volume is made until its content is known to be whole.
    `applied` says what it was made from: for an image the sha256 of its content, for a disk what it began as
    (`begins_as`), for a network filter the sha256 of its declaration, for a secret the version of its
    value, for a pool the definition that libvirt made of it (`trace.pool_note`), for settings of a host the
    numbers that it had then (`settings.note_of`), for the file with a guest's definition what it says and when it was
    written (`definition.Written`), for a seed nothing.
    """

    kind: Kind
    name: str
    owner: str
    applied: str
    complete: bool


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A host as its cluster remembers it. `machine` is the UUID in its capabilities, empty if it never told one."""

    name: str
    machine: str


def remembered(
    noted: Iterable[Member], now: Iterable[Member], let_go: Container[Member] = ()
) -> tuple[Member, ...]:
    """Those that there are `now`, and those `noted` that are none of them and were not let go.

    A machine under another name is the same member. A name that stands for another machine by now is not.
    """
    present = frozenset(now)
    names, machines = {member.name for member in present}, {m.machine for m in present if m.machine}
    kept = {
        member
        for member in noted
        if member not in let_go
        and (member.machine not in machines if member.machine else member.name not in names)
    }
    return tuple(sorted(present | kept))


@dataclass(frozen=True, slots=True)
class Ledger:
    """The entries of one cluster on one host, and the hosts that the cluster has or had."""

    cluster: str
    entries: tuple[LedgerEntry, ...] = ()
    hosts: tuple[Member, ...] = ()

    def find(self, kind: Kind, name: str) -> LedgerEntry | None:
        """The entry of an object, or None if kvmdecl did not make it."""
        return next((entry for entry in self.entries if (entry.kind, entry.name) == (kind, name)), None)

    def with_entry(self, entry: LedgerEntry) -> Ledger:
        """A ledger in which `entry` replaces any older one for the same object."""
        rest = self.without(entry.kind, entry.name).entries
        return replace(self, entries=tuple(sorted((*rest, entry), key=lambda e: (e.kind, e.name))))

    def without(self, kind: Kind, name: str) -> Ledger:
        """A ledger that has forgotten an object."""
        return replace(self, entries=tuple(e for e in self.entries if (e.kind, e.name) != (kind, name)))


@dataclass(frozen=True, slots=True)
class HostState:
    """What exists on a host now. `filters` are empty where they were not read: every host has some of libvirt's.

    `secrets` are read only for a cluster that has some, `settings` where a manifest has, or had, some of the host,
    `loads` where somebody asks how busy it is.
    """

    domains: tuple[ObservedDomain, ...] = ()
    networks: tuple[ObservedNetwork, ...] = ()
    pools: tuple[ObservedPool, ...] = ()
    secrets: tuple[ObservedSecret, ...] = ()
    ledgers: tuple[Ledger, ...] = ()
    filters: tuple[ObservedFilter, ...] = ()
    settings: tuple[ObservedSettings, ...] = ()
    loads: tuple[DomainLoad, ...] = ()

    def ledger(self, cluster: str) -> Ledger:
        """The cluster's ledger, empty if there is none yet."""
        return next((ledger for ledger in self.ledgers if ledger.cluster == cluster), Ledger(cluster))


@dataclass(frozen=True, slots=True)
class HostSnapshot:
    """One reading of a host: what it is and what exists on it."""

    host: str
    facts: HostFacts
    state: HostState


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A host that gave no complete answer. Its objects are unknown, which never means gone."""

    host: str
    diagnostic: Diagnostic


Observation = HostSnapshot | Unreachable


# -- desired ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in the manifest an object and its keys were written. Never part of what is compared.

    The place of the object itself is that of the empty key. `keys` may look places up only when asked.
    """

    keys: Mapping[str, Span] = field(default_factory=dict)

    @property
    def at(self) -> Span | None:
        """The place of the object."""
        return self.keys.get("")

    def find(self, key: str) -> Span | None:
        """The place of a key such as `memory` or `disks.data`, of its nearest written parent, or of the object."""
        while key and key not in self.keys:
            key = key.rpartition(".")[0]
        return self.keys.get(key)


@dataclass(frozen=True, slots=True)
class FileContent:
    """A volume's content: a file on the machine that plans. `size` in bytes, None while the file is not at hand."""

    path: str
    sha256: str
    size: int | None


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret's value is found when it is set: a variable of the environment, or a file below `folder`.

    Paths are as reached from the working directory.
    """

    env: str = ""
    file: str = ""
    folder: str = ""
    encoding: str = "text"

    def __str__(self) -> str:
        return f"file {self.file}" if self.file else f"variable {self.env}"


@dataclass(frozen=True, slots=True)
class SeedSecret:
    """A secret whose value takes the places of this name in a seed's files. Another `version` is another seed."""

    place: str
    name: str
    version: str
    source: SecretSource


@dataclass(frozen=True, slots=True)
class SeedContent:
    """A volume's content: a NoCloud seed made of these files (name, text), or one file as it is (`plain`).

    The values of `secrets` are read where the image is built: where it is uploaded. But for them it is a function of
    the files.
    """

    files: tuple[tuple[str, str], ...]
    plain: bool = False
    secrets: tuple[SeedSecret, ...] = ()

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of the file; of a seed that of its files and of which secrets go into them.

        Of a secret only which one it is, and its version: a digest of a weak value would give it away.
        """
        if self.plain:
            return _text_digest(self.files[0][1])
        lines = [f"{name} {_text_digest(text)}\n" for name, text in sorted(self.files)]
        lines += [f"secret {secret.place} {secret.name} {secret.version}\n" for secret in self.secrets]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@lru_cache(maxsize=1024)
def _text_digest(text: str) -> str:
    """Most vms share their user-data, which may be long."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class DesiredSettings:
    """Numbers of a host as declared; those of `ObservedSettings` that are not among them are left alone."""

    address: Address
    values: tuple[tuple[str, int], ...]
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True)
class DesiredSecret:
    """A secret as declared. Another `version` means that its value is set again."""

    address: Address
    uuid: str
    usage: str
    usage_id: str
    ephemeral: bool
    version: str
    source: SecretSource
    xml: str
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True)
class DesiredPool:
    """A pool as declared. `build`: its devices are formatted when it is made."""

    address: Address
    uuid: str
    xml: str
    autostart: bool
    build: bool = False
    needs: tuple[Address, ...] = ()
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True)
class DesiredNetwork:
    """A network as declared."""

    address: Address
    uuid: str
    xml: str
    autostart: bool
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True)
class DesiredFilter:
    """A network filter as declared. It is as declared only if it has no other rules. `needs` are filters it names."""

    address: Address
    uuid: str
    xml: str
    needs: tuple[Address, ...] = ()
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True, order=True)
class Artifact:
    """A file for another program, of a section of the manifest that a plugin brings.

    `path` is relative, with `/`. `private`: nobody but its owner needs to read it.
    """

    section: str
    path: str
    text: str
    private: bool = False


class Role(StrEnum):
    """What a volume is for: a disk holds a guest's data, images and seeds can be made again."""

    DISK = "disk"
    IMAGE = "image"
    SEED = "seed"


@dataclass(frozen=True, slots=True)
class VolumeOptions:
    """What is decided when a volume is made. `cluster_size` in bytes, None for QEMU's own choice."""

    cluster_size: int | None = None
    lazy_refcounts: bool = False
    nocow: bool = False


USUAL = VolumeOptions()


def begins_as(backing: str | None, clone: str | None) -> str:
    """What a disk is when it is made: the name of its backing volume, what it is a copy of, or empty for nothing."""
    return f"copy of {clone}" if clone else backing or ""


@dataclass(frozen=True, slots=True)
class DesiredVolume:
    """A volume as declared. `capacity` in bytes, None for "as large as its content or backing image".

    `backing` is the name of a volume in the same pool; `clone` that of one, as `POOL/VOLUME`, which it begins as a full
    copy of. `encryption` is the UUID of the secret that opens it. `needs`: what else has to be there first. `vm` is the
    guest that it belongs to, if to one. `shared`: the hosts of its pool see the same volumes. `moves_from` is the host
    from which the guest brings what is in it, empty for none.
    """

    address: Address
    role: Role
    format: str
    capacity: int | None
    preallocation: str = "off"
    backing: str | None = None
    content: FileContent | SeedContent | None = None
    vm: str | None = None
    shared: bool = False
    encryption: str | None = None
    needs: tuple[Address, ...] = ()
    options: VolumeOptions = USUAL
    clone: str | None = None
    moves_from: str = ""
    origin: Origin = field(compare=False, default=Origin())

    @property
    def pool(self) -> str:
        """Name of its pool."""
        return self.address.name.partition("/")[0]

    @property
    def name(self) -> str:
        """Name within its pool."""
        return self.address.name.partition("/")[2]


DEFINITION_SUFFIX = ".xml"
"""What the names of files with guests' definitions end in."""


@dataclass(frozen=True, slots=True)
class Definition:
    """Where a cluster manager (`by`, such as `Pacemaker`) finds the definition of a vm that it runs.

    That is the file `NAME.xml` in a pool, on each of the `hosts` that it may run on. `pool` is empty where it is in no
    pool of the manifest, so that somebody else has to put it there.
    """

    vm: str
    pool: str
    hosts: tuple[str, ...]
    by: str

    @property
    def volume(self) -> str:
        """The name of the file as a volume, `POOL/NAME.xml`."""
        return f"{self.pool}/{self.vm}{DEFINITION_SUFFIX}"


@dataclass(frozen=True, slots=True)
class DesiredDefinition:
    """The file from which a cluster manager (`by`) starts a guest: a volume of a pool of files.

    `xml` is what is declared of the guest; what is in the file is made of it (`libvirt_xml.definition`). `shared` as
    of a volume, `readers` are then the hosts that start the guest from it, `needs` what has to be done before.
    `bound_to` is the host whose CPUs or cells it names, where the guest may run on others, too.
    """

    address: Address
    vm: str
    uuid: str
    xml: str
    by: str
    shared: bool = False
    bound_to: str = ""
    readers: tuple[str, ...] = ()
    needs: tuple[Address, ...] = ()
    origin: Origin = field(compare=False, default=Origin())

    @property
    def pool(self) -> str:
        """Name of its pool."""
        return self.address.name.partition("/")[0]

    @property
    def name(self) -> str:
        """Name within its pool."""
        return self.address.name.partition("/")[2]


@dataclass(frozen=True, slots=True)
class PowerOff:
    """How a guest is powered off: it is asked to, and has `timeout` seconds for it.

    `force` pulls its plug after that; else it keeps running, and the step failed.
    """

    timeout: int = 120
    force: bool = False


GENTLY = PowerOff()


@dataclass(frozen=True, slots=True)
class MigrationPolicy:
    """How a running guest gets to another host (virDomainMigrate3).

    `hosts_lead`: the source host leads, else the client. `bandwidth` in MiB a second, 0 for libvirt's own bound.
    `max_downtime` in milliseconds, 0 for QEMU's own choice. `timeout` in seconds. `parallel` connections, 0 for one of
    the usual kind. `address` is where the target host is for QEMU, empty for the name that it has.
    """

    mode: Literal["pre-copy", "post-copy"] = "pre-copy"
    hosts_lead: bool = False
    auto_converge: bool = False
    bandwidth: int = 0
    max_downtime: int = 0
    timeout: int = 3600
    on_timeout: Literal["abort", "suspend", "post-copy"] = "abort"
    parallel: int = 0
    compressed: bool = False
    tls: bool = False
    address: str = ""


PLAINLY = MigrationPolicy()

Restart = Literal["never", "scheduled", "now"]
"""When a guest may be powered off and on: never, in a run with `--scheduled` (which makes it `now`), in every run."""


@dataclass(frozen=True, slots=True)
class DesiredDomain:
    """A domain as declared: `xml` holds what the manifest says or implies and nothing that libvirt fills in.

    `running` is None where its power state is left alone. `agent_within` is how many seconds its agent may take to
    answer once it was started, 0 if nothing waits for that. `run_by` is set where a cluster manager
    starts and stops it, from a file: then libvirt keeps no definition of it, and power is none of our business.
    `moves_from` is the host that it is on and has to leave, empty for none; `migration` says how. `copied` are its
    disks, as `POOL/VOLUME`, that its new host gets a copy of, `kept` says why others cannot come along. `drops_left`:
    what it left on other hosts when it moved is deleted. `devices` are those that its disks are on, by their paths,
    and that are in pools which its hosts share.
    """

    address: Address
    uuid: str
    xml: str
    running: bool | None
    autostart: bool
    restart: Restart = "never"
    power_off: PowerOff = GENTLY
    agent_within: int = 0
    needs: tuple[Address, ...] = ()
    run_by: Definition | None = None
    moves_from: str = ""
    migration: MigrationPolicy = PLAINLY
    copied: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    drops_left: bool = False
    devices: tuple[str, ...] = ()
    origin: Origin = field(compare=False, default=Origin())


@dataclass(frozen=True, slots=True)
class Absent:
    """An object that the manifest says shall not exist (`state: absent`); `power_off` and `uuid` are about a domain.

    `uuid` is empty if it is the derived one. A volume is the file of a domain that the cluster manager `run_by` ran.
    """

    address: Address
    origin: Origin = field(compare=False, default=Origin())
    power_off: PowerOff = GENTLY
    uuid: str = ""
    run_by: str = ""


@dataclass(frozen=True, slots=True)
class Existing:
    """An object that a host has already (`mode: existing`): used as it is, never made, changed or deleted."""

    address: Address
    origin: Origin = field(compare=False, default=Origin())


Desired = (
    DesiredSettings
    | DesiredSecret
    | DesiredPool
    | DesiredNetwork
    | DesiredFilter
    | DesiredVolume
    | DesiredDefinition
    | DesiredDomain
    | Existing
    | Absent
)


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a guest's way to another host; all of it, unless it has to step aside to a third host for a while.

    `after` are legs that have to be over before, by guest and target. `address` is where the target is migrated to.
    """

    vm: str
    source: str
    target: str
    after: tuple[tuple[str, str], ...] = ()
    address: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The CPU that all `hosts` of a vm can show: a named model or a level."""

    vm: str
    model: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What the cluster's hosts should hold, sorted by address.

    `unplaced` names the vms whose host could not be decided because a host that may hold them did not answer,
    `frozen` those of which something else is not known for that reason. `baselines` are the CPUs that were found.
    `legs` say in which turn guests move.
    """

    cluster: str
    revision: str
    resources: tuple[Desired, ...]
    unplaced: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    legs: tuple[Leg, ...] = ()
