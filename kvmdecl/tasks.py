"""What a step asks a host to do. A task is complete: it can be shown, saved, sent to a worker and carried out there.

A task never holds more than one object's change, and never asks for more than the plan has shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kvmdecl.state import (
    GENTLY,
    PLAINLY,
    USUAL,
    FileContent,
    LedgerEntry,
    MigrationPolicy,
    PowerOff,
    SecretSource,
    SeedContent,
    VolumeOptions,
)


@dataclass(frozen=True, slots=True)
class UpdateHost:
    """Set numbers of a host (`name` is `huge-pages` or `ksm`), and note them. `values` are all that are declared."""

    name: str
    values: tuple[tuple[str, int], ...]
    task: Literal["update-host"] = "update-host"


@dataclass(frozen=True, slots=True)
class DefineSecret:
    """Define a secret and set its value, which is read from `source` then; note its `version` in the ledger."""

    name: str
    uuid: str
    usage: str
    xml: str
    version: str
    source: SecretSource
    task: Literal["define-secret"] = "define-secret"


@dataclass(frozen=True, slots=True)
class DeleteSecret:
    """Undefine a secret that nothing uses, with its value, and forget it."""

    name: str
    uuid: str
    task: Literal["delete-secret"] = "delete-secret"


@dataclass(frozen=True, slots=True)
class CreatePool:
    """Define, build, set autostart, start; then note it in the ledger.

    To build a pool of files makes its directory. Only with `build` devices are formatted, and never those that hold
    anything.
    """

    name: str
    uuid: str
    xml: str
    autostart: bool
    build: bool = False
    task: Literal["create-pool"] = "create-pool"


@dataclass(frozen=True, slots=True)
class UpdatePool:
    """Start an inactive pool and set its autostart. Its definition is never changed in place.

    `build`: format its devices first, which the run that defined it was to do and did not.
    """

    name: str
    uuid: str
    start: bool
    autostart: bool
    build: bool = False
    task: Literal["update-pool"] = "update-pool"


@dataclass(frozen=True, slots=True)
class DeletePool:
    """Stop and undefine a pool. What is in it stays."""

    name: str
    uuid: str
    task: Literal["delete-pool"] = "delete-pool"


Section = Literal[
    "ip-dhcp-host", "ip-dhcp-range", "dns-host", "dns-txt", "dns-srv", "portgroup", "forward-interface"
]
"""A part of a network that can change while it runs, as `virsh net-update` calls it."""
Command = Literal["add", "modify", "delete"]


@dataclass(frozen=True, slots=True)
class NetworkUpdate:
    """One call that changes a running network (virNetworkUpdate). `xml` is the entry that comes, changes or goes."""

    section: Section
    command: Command
    xml: str


@dataclass(frozen=True, slots=True)
class DefineNetwork:
    """Create or redefine a network: live calls first, then `xml` is laid over what is observed and defined.

    It is never undefined first. `xml` is what is declared; `base` the declared definition that was last applied, so
    that what left the manifest leaves the network.
    """

    name: str
    uuid: str
    xml: str
    base: str | None
    start: bool
    autostart: bool
    live: tuple[NetworkUpdate, ...] = ()
    task: Literal["define-network"] = "define-network"


@dataclass(frozen=True, slots=True)
class DeleteNetwork:
    """Stop and undefine a network."""

    name: str
    uuid: str
    task: Literal["delete-network"] = "delete-network"


@dataclass(frozen=True, slots=True)
class DefineFilter:
    """Create a network filter or replace its rules, in all running guests that use it; then note it in the ledger."""

    name: str
    uuid: str
    xml: str
    task: Literal["define-filter"] = "define-filter"


@dataclass(frozen=True, slots=True)
class DeleteFilter:
    """Undefine a network filter that no guest and no other filter uses."""

    name: str
    uuid: str
    task: Literal["delete-filter"] = "delete-filter"


@dataclass(frozen=True, slots=True)
class CreateVolume:
    """Make a volume and fill it. `capacity` in bytes, None for that of its content, backing volume or original.

    `clone` is the volume, as `POOL/VOLUME`, that it begins as a full copy of. `encryption` is the UUID of the secret
    that opens it. With `moves_from`, a host, it stays noted as incomplete: its guest brings from there what is in it.
    """

    pool: str
    name: str
    role: str
    format: str
    capacity: int | None
    preallocation: str
    backing: str | None
    content: FileContent | SeedContent | None
    owner: str
    encryption: str | None = None
    options: VolumeOptions = USUAL
    clone: str | None = None
    moves_from: str = ""
    task: Literal["create-volume"] = "create-volume"


@dataclass(frozen=True, slots=True)
class ResizeVolume:
    """Grow a volume to `capacity` bytes, through the running domain that uses it if one does (virDomainBlockResize).

    `maker` is the host that made it, in a pool that both share, where that is not the host of the domain. `owner` is
    the vm whose disk it is.
    """

    pool: str
    name: str
    capacity: int
    domain: str | None
    maker: str = ""
    owner: str = ""
    task: Literal["resize-volume"] = "resize-volume"


@dataclass(frozen=True, slots=True)
class WriteDefinition:
    """Write the file from which the cluster manager `by` starts a guest, a volume in a pool of files, and note it.

    `xml` is what is declared of the guest; what goes into the file is made of it. `take_over`: the file is there and
    was not written by this cluster; it is written if it defines the guest of this `uuid` and name, and no other.
    `lost`: it was written before and is not there any more. `readers` are the other hosts that may start the guest from
    this very file.
    """

    pool: str
    name: str
    owner: str
    uuid: str
    xml: str
    by: str
    take_over: bool = False
    lost: bool = False
    readers: tuple[str, ...] = ()
    task: Literal["write-definition"] = "write-definition"


@dataclass(frozen=True, slots=True)
class DeleteDefinition:
    """Delete the file from which the cluster manager `by` started a guest that runs nowhere, and forget it."""

    pool: str
    name: str
    owner: str
    uuid: str
    by: str
    task: Literal["delete-definition"] = "delete-definition"


@dataclass(frozen=True, slots=True)
class DeleteVolume:
    """Delete a volume and what is in it."""

    pool: str
    name: str
    task: Literal["delete-volume"] = "delete-volume"


LiveCall = Literal[
    "set-vcpus",
    "set-memory",
    "set-lifecycle",
    "set-scheduler",
    "set-memory-limits",
    "set-block-weight",
    "pin-vcpu",
    "pin-emulator",
    "pin-iothread",
    "add-iothreads",
    "remove-iothreads",
    "set-iotune",
    "attach-device",
    "update-device",
    "detach-device",
]


@dataclass(frozen=True, slots=True)
class LiveChange:
    """One call that changes a running guest. `call` names the libvirt function's short form, `argument` is its input.

    set-vcpus, add-iothreads, remove-iothreads: number that there shall be; set-memory: KiB; set-lifecycle: event and
    action (`on_crash restart`); set-scheduler, set-memory-limits, set-block-weight:
    `NAME=NUMBER` of each parameter, separated by spaces;
    pin-vcpu: `VCPU=CPUS`, pin-iothread: `THREAD=CPUS`, pin-emulator: `CPUS` (`0,1`);
    attach-device, update-device, set-iotune: declared XML of the
    device; detach-device: the device's key as `fields.device_key` gives it (for example `disk[data]`).
    """

    call: LiveCall
    argument: str


Power = Literal["start", "shutdown", "restart", "resume", "keep"]


@dataclass(frozen=True, slots=True)
class DefineDomain:
    """Create a domain, or change it: live calls first, then one define of the observed definition overlaid with `xml`.

    `xml` is the declared definition; `base` the declared definition that was last applied (three-way). `power` is what
    shall be done to the guest at the end: `start` it, `shutdown` it (ACPI or agent), `restart` it (both: it gets a new
    QEMU), `resume` it where a migration that did not end left it halted, or leave it as it is. `power_off` says how
    long a shutdown may take and whether force follows. A guest that was started is waited for until its agent answers,
    `agent_within` seconds at most (0: it is not waited for).
    """

    name: str
    uuid: str
    xml: str
    base: str | None
    live: tuple[LiveChange, ...]
    power: Power
    autostart: bool
    cluster: str
    revision: str
    power_off: PowerOff = GENTLY
    agent_within: int = 0
    task: Literal["define-domain"] = "define-domain"


@dataclass(frozen=True, slots=True)
class UpdateDomain:
    """Change a guest that runs and that the cluster manager `by` started from `file`, a volume as `POOL/NAME`.

    libvirt keeps no definition of it. `xml`, `base` and `live` are as in `DefineDomain`.
    """

    name: str
    uuid: str
    xml: str
    base: str | None
    live: tuple[LiveChange, ...]
    by: str
    file: str
    task: Literal["update-domain"] = "update-domain"


@dataclass(frozen=True, slots=True)
class HandOverDomain:
    """Undefine a domain, which goes on running if it does: the cluster manager `by` has its definition in `file`.

    Before that it is changed live, and no longer starts with its host. `xml`, `base` and `live` are as in
    `DefineDomain`, `file` as in `UpdateDomain`.
    """

    name: str
    uuid: str
    xml: str
    base: str | None
    live: tuple[LiveChange, ...]
    by: str
    file: str
    task: Literal["hand-over-domain"] = "hand-over-domain"


@dataclass(frozen=True, slots=True)
class AdoptDomain:
    """Write our marker into a domain that is as declared already, and change nothing else of it."""

    name: str
    uuid: str
    xml: str
    cluster: str
    revision: str
    task: Literal["adopt-domain"] = "adopt-domain"


@dataclass(frozen=True, slots=True)
class DeleteDomain:
    """Undefine a domain, after stopping it if `stop`. Volumes, nvram, snapshots' data and TPM state are kept."""

    name: str
    uuid: str
    stop: bool
    power_off: PowerOff = GENTLY
    task: Literal["delete-domain"] = "delete-domain"


HostFile = Literal["firmware", "tpm"]
"""What a guest keeps in files of its host: variables of its firmware, state of its TPM."""


@dataclass(frozen=True, slots=True)
class MoveDomain:
    """Bring a domain here from another host, `source`: `live`, or powered off.

    A running guest that is moved live goes on running (virDomainMigrate3). Else it is shut down if it runs, defined
    here, undefined there, and then started if `power` says so. `xml` and `base` are as in `DefineDomain`; what libvirt
    filled in comes along. `volumes` are notes about those in pools that both hosts see, for the ledger here.
    `copied` are the targets of disks that are copied, by QEMU while it runs, else from volume to volume; each with the
    volume that is here for it. `files` of its host are copied while it is off, and stay there.
    `devices` of its disks, by their paths, are in pools that both hosts see.

    A guest that steps aside for others makes two moves: it is `passing` here, so that nothing is noted, or `goes_on`
    from a host that it passed, where it is as the move before defined it.
    """

    name: str
    uuid: str
    source: str
    xml: str
    base: str | None
    live: bool
    power: Power
    autostart: bool
    cluster: str
    revision: str
    volumes: tuple[LedgerEntry, ...] = ()
    copied: tuple[tuple[str, str], ...] = ()
    passing: bool = False
    goes_on: bool = False
    policy: MigrationPolicy = PLAINLY
    power_off: PowerOff = GENTLY
    agent_within: int = 0
    files: tuple[HostFile, ...] = ()
    devices: tuple[str, ...] = ()
    task: Literal["move-domain"] = "move-domain"

    @property
    def peer(self) -> str:
        """The other host that it is about."""
        return self.source


@dataclass(frozen=True, slots=True)
class LeaveDomain:
    """Tidy up where a domain was: undefine what a move left there if it is not running, and forget its volumes.

    `volumes` are those, as `POOL/VOLUME`, in pools that its new host sees, too. `home` is that host. `files` are
    deleted here if they are there.
    """

    name: str
    uuid: str
    home: str
    volumes: tuple[str, ...]
    files: tuple[HostFile, ...] = ()
    task: Literal["leave-domain"] = "leave-domain"

    @property
    def peer(self) -> str:
        """The other host that it is about, empty if none."""
        return self.home if self.files else ""


@dataclass(frozen=True, slots=True)
class ChangeSnapshots:
    """Take a snapshot of a guest's disks, or merge a running guest's snapshots into the files beneath; first the one.

    `take` is its name, empty for none. `disks` leads from the targets of the disks that it takes along to the files
    that the guest writes to from then on. `quiesce` has the guest agent freeze file systems meanwhile. `drop` are the
    names of those that are merged, and are no more then.
    """

    name: str
    uuid: str
    take: str
    by: Literal["command", "policy"]
    quiesce: bool
    disks: tuple[tuple[str, str], ...]
    drop: tuple[str, ...]
    task: Literal["change-snapshots"] = "change-snapshots"


@dataclass(frozen=True, slots=True)
class RevertSnapshot:
    """Have a guest that is off begin again from its newest snapshot, with new files on top of what that kept.

    `disks` leads from the targets of the snapshot's disks to these new files. What the guest wrote since lies in other
    files, which stay unless `discard`.
    """

    name: str
    uuid: str
    snapshot: str
    disks: tuple[tuple[str, str], ...]
    discard: bool
    task: Literal["revert-snapshot"] = "revert-snapshot"


@dataclass(frozen=True, slots=True)
class ConfigureManager:
    """Bring a cluster manager's configuration to `wanted`, the manager's own document. Its plugin carries it out.

    `host` gave the configuration that the plan is about; `control` says how hosts are reached, empty for their URIs.
    `deletes` are vms that are shut down and forgotten, `releases` those that go on without the manager, `refreshes`
    those that would be restarted if they were not handled with care. `interrupts` is what it may do to guests besides,
    such as `web: migrate`: if more would come of it by then, nothing is done. `before` is what there was of all that,
    without secrets, as such a document; empty if that is not known.
    """

    manager: str
    cluster: str
    wanted: str
    host: str
    control: str
    deletes: tuple[str, ...]
    releases: tuple[str, ...]
    refreshes: tuple[str, ...]
    interrupts: tuple[str, ...] = ()
    before: str = ""
    task: Literal["configure-manager"] = "configure-manager"


Task = (
    CreatePool
    | UpdatePool
    | DeletePool
    | DefineNetwork
    | DeleteNetwork
    | DefineFilter
    | DeleteFilter
    | CreateVolume
    | ResizeVolume
    | DeleteVolume
    | WriteDefinition
    | DeleteDefinition
    | DefineDomain
    | UpdateDomain
    | HandOverDomain
    | AdoptDomain
    | DeleteDomain
    | MoveDomain
    | LeaveDomain
    | DefineSecret
    | DeleteSecret
    | ChangeSnapshots
    | UpdateHost
    | RevertSnapshot
    | ConfigureManager
)
