"""`vms:` the guests."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from kvmdecl.architectures import ARCHITECTURES, HAVE_MODELS, MODELS, Arch, has_pci_express
from kvmdecl.manifest.base import Section
from kvmdecl.manifest.base import wrong as _wrong
from kvmdecl.manifest.cpus import LEVELS, Cpus, Label, numbers_of
from kvmdecl.manifest.devices import (
    Channel,
    CharacterDevice,
    Input,
    Panic,
    Rng,
    SerialConsole,
    Tpm,
    Vsock,
    Watchdog,
)
from kvmdecl.manifest.disks import Cdrom, Disk, ScsiController
from kvmdecl.manifest.firmware import (
    Blkio,
    Features,
    Firmware,
    Kernel,
    LaunchSecurity,
    PerfEvent,
    SecurityLabel,
    Smbios,
    Timer,
    TimerName,
    check_timer,
)
from kvmdecl.manifest.hostdevs import HostDevice, Iommu, SharedMemory, Smartcard
from kvmdecl.manifest.hyperv import Hyperv
from kvmdecl.manifest.leases import Lease, LeaseName
from kvmdecl.manifest.memory import Balloon, Memory
from kvmdecl.manifest.migration import Migration
from kvmdecl.manifest.nics import Nic
from kvmdecl.manifest.numa import GuestCell, Numa, check_cells, guest_cells
from kvmdecl.manifest.passthrough import DeviceRequest, VirtualFunction
from kvmdecl.manifest.screens import Graphics, Video
from kvmdecl.manifest.shares import Share
from kvmdecl.manifest.sound import Audio, Sound
from kvmdecl.names import MIB, Bool, Duration, Integer, Name, Positive, Text, Uuid, parse_uuid
from kvmdecl.words import AGENT_CHANNEL

DeviceName = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,19}$")]


def _generation(value: Any) -> str:  # noqa: ANN401 - whatever the document holds
    return value if value == "auto" else parse_uuid(value)


class Shutdown(Section):
    """How the guest is powered off where a plan says so."""

    shorthand = "timeout"

    timeout: Annotated[Duration, Field(ge=1, le=3600)] = 120
    """How long it may take to power off after it was asked to (`5m`), through its agent or the power button."""
    force: Bool = False
    """Pull its plug when that time is over; what it has not written by then is lost. A plan names it."""


class After(Section):
    """A vm that is started before this one, and stopped after it."""

    shorthand = "vm"

    vm: Name
    """Name of the other vm, with its number if it has a count; on whatever host it is."""
    until: Literal["running", "agent"] = "running"
    """What to wait for once it was started: that it runs, or that its guest agent answers."""
    timeout: Annotated[Duration, Field(ge=1, le=3600)] = 300
    """How long its agent may take to answer (`2m`)."""


SshKey = Annotated[
    str,
    Field(
        max_length=16384,
        pattern=r"^(ssh|ecdsa|sk)-[a-z0-9@.-]{1,64} [A-Za-z0-9+/=]{16,}( [^\x00-\x1f\x7f]*)?$",
    ),
]
"""A public key as it stands in `authorized_keys`."""


class MetaData(Section):
    """What cloud-init is told about the guest as a machine."""

    local_hostname: (
        Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")] | None
    ) = None
    """Host name of the guest; the vm's name if not given."""
    instance_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    """Identity by which cloud-init tells whether it has set this guest up; the vm's UUID if not given."""
    public_keys: tuple[SshKey, ...] = ()
    """SSH public keys of the default user."""


class Ignition(Section):
    """A configuration for Ignition, which sets up Fedora CoreOS, Flatcar and their like at their first boot."""

    config: Annotated[str, Field(max_length=1024 * 1024)] | None = None
    """Text of the configuration: JSON, as `butane` writes it."""
    config_file: str | None = None
    """File with the configuration, relative to the manifest that names it."""

    @model_validator(mode="after")
    def _given(self) -> Self:
        if (self.config is None) == (self.config_file is None):
            raise _wrong("ignition", "Ignition needs one configuration", "give `config` or `config_file`")
        return self


class Snapshots(Section):
    """Snapshots that `kvmdecl snapshot run` takes and merges again; it takes none by itself."""

    shorthand = "keep"

    keep: Annotated[Positive, Field(le=365)]
    """How many of them are kept."""
    every: Literal["hourly", "daily", "weekly"] = "daily"
    """How often one is due: once in each hour, day, or week from Monday (UTC)."""
    quiesce: Bool = False
    """Have the guest agent freeze file systems meanwhile; without an agent that answers none is taken then."""


PlaceName = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class CloudInit(Section):
    """Data for cloud-init's NoCloud source, on a small ISO image. Text inline, or the name of a file."""

    user_data: Annotated[str, Field(max_length=1024 * 1024)] | None = None
    """Text of user-data, beginning `#cloud-config` or `#!`."""
    user_data_file: str | None = None
    """File with user-data, relative to the manifest that names it."""
    network_config: Annotated[str, Field(max_length=1024 * 1024)] | None = None
    """Text of network-config."""
    network_config_file: str | None = None
    """File with network-config, relative to the manifest that names it."""
    pool: Name | None = None
    """Storage pool of the image; that of the first disk which is a file if not given."""
    vendor_data: Annotated[str, Field(max_length=1024 * 1024)] | None = None
    """Text of vendor-data: as user-data, which override it."""
    vendor_data_file: str | None = None
    """File with vendor-data, relative to the manifest that names it."""
    meta_data: MetaData = MetaData.unsaid()
    """Host name, identity and keys."""
    on_change: Literal["keep", "rerun"] = "keep"
    """What an edit does to a guest that is set up: `keep` leaves it as it is; `rerun` lets cloud-init run once more at
    the guest's next boot, as on a new machine."""

    secrets: dict[PlaceName, Name] = Field(default_factory=dict)
    """Secrets (`secrets`, of `usage: cloud-init`) by the names of their places in the texts: `{pw: db-password}` puts
    the value of secret `db-password` where `${secret:pw}` stands, or `${secret:pw|json}` for it in quotes, as YAML and
    JSON read it, or `${secret:pw|base64}`. It goes into the seed on the host, and nowhere else."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.on_change == "rerun" and self.meta_data.instance_id is not None:
            summary, hint = "a given instance_id does not change with the data", "leave one of the two out"
            raise _wrong("cloud-init", summary, hint, "on_change")
        for key in ("user_data", "network_config", "vendor_data"):
            if getattr(self, key) is not None and getattr(self, f"{key}_file") is not None:
                raise _wrong("cloud-init", f"both {key} and {key}_file are given", "keep one of them")
        return self


class Apart(Section):
    """How vms are kept apart. All that are kept apart by the same group say the same."""

    shorthand = "scope"

    scope: Name = "host"
    """`host`, or a label of hosts (`rack`): at most `most` of the vms are on one host, or on hosts of one rack."""
    most: Positive = 1
    """Vms that may be in one place."""
    soft: Bool = False
    """Only where it can be had: a vm that could not run otherwise is put beside others, and you are told."""
    group: Name | None = None
    """Vms that name the same group are kept apart; those of the same entry (`count`, `for`) if not given."""


class Together(Section):
    """How vms are kept together."""

    shorthand = "scope"

    scope: Name = "host"
    """`host`, or a label of hosts (`rack`): all of the vms are on one host, or on hosts of one rack."""
    soft: Bool = False
    """Only where it can be had: a vm that could not run otherwise is put elsewhere, and you are told."""
    group: Name | None = None
    """Vms that name the same group are kept together; those of the same entry (`count`, `for`) if not given."""


class VmHa(Section):
    """A cluster manager (Pacemaker) runs the guest, and starts it on another host when its own fails."""

    shorthand = "enabled"

    enabled: Bool = True
    """`false`: it is not, whatever its profile says."""
    best_effort: Bool = False
    """It may stay down as long as hosts are lost: no room is kept for it."""
    priority: Annotated[Integer, Field(ge=0, le=100)] = 0
    """Who runs when there is not room for all: the higher first, and of several with one priority the larger."""
    crowd: Bool = False
    """Rather share a place with those that it is kept `apart` from than stay down, while hosts are lost."""
    migrate: Bool = True
    """Move it while it runs; `false`: it is stopped and started again."""
    start_timeout: Annotated[Duration, Field(ge=10, le=3600)] | None = None
    """How long it may take until libvirt says that it runs; 90s, longer for much memory, if not given."""
    monitor: Annotated[Duration, Field(ge=5, le=3600)] = 10
    """How often it is looked at."""


class Vm(Section):
    """A guest."""

    uuid: Uuid | None = None
    """Identity of a domain that exists, to take it over; derived from cluster and name if not given."""
    host: Name | None = None
    """Host that runs it; chosen by placement if not given."""
    host_labels: dict[Name, Name] = Field(default_factory=dict)
    """Labels that its host must have (`{zone: a}`)."""
    apart: Apart | None = None
    """Kept apart from others (`apart: host`, `apart: rack`): from those of its entry, or of a group."""
    together: Together | None = None
    """Kept together with others (`together: {group: shop}`): with those of its entry, or of a group."""
    state: Literal["running", "stopped", "unmanaged", "absent"] = "running"
    """Power state. `unmanaged` neither starts nor stops it; `absent` plans the deletion of its definition (its volumes
    stay)."""
    protect: Bool = False
    """Never delete it. Its host remembers that, whatever becomes of its entry, so that to delete it takes an apply with
    `protect: false` first."""
    after: tuple[After, ...] = ()
    """Vms that are started before it and stopped after it, where one run does both (`after: [db]`)."""
    ha: VmHa | None = None
    """Run by a cluster manager, as the section `ha` says (`ha: true`); kvmdecl alone does if not given."""
    autostart: Bool = True
    """Start with the host."""
    restart: Literal["never", "scheduled", "now"] = "never"
    """When it may be powered off and on for what it only gets by that: `never` waits until somebody does it, `now` does
    it in the next apply, `scheduled` in the next `apply --scheduled`."""
    migration: Migration = Migration.unsaid()
    """How it gets to another host while it runs, where `host`, the lock file or `maintenance` of its host asks for it.
    """
    shutdown: Shutdown = Shutdown.unsaid()
    """How it is powered off (`shutdown: 5m`): it is asked to, and never forced unless this says so."""
    description: Annotated[Text, Field(max_length=4096)] | None = None
    """Text for people."""
    type: Literal["kvm", "qemu"] = "kvm"
    """libvirt domain type: `kvm`, or `qemu` for emulation without hardware support."""
    arch: Arch = "x86_64"
    """Architecture of the guest (`i686` for a 32-bit PC); it decides what is not given (see the table of
    architectures)."""
    machine: Label = "q35"
    """Machine type, `q35` for a PC; an alias such as `q35` is resolved when the vm is made, and then stays."""
    os: Literal["linux", "windows", "windows-11", "bsd"] = "linux"
    """What the guest runs; it decides what is not given (see the table of os profiles)."""
    clock: Literal["utc", "localtime"] | None = None
    """What the guest's hardware clock shows; `utc`, or what its `os` is used to, if not given."""
    hyperv: Hyperv | None = None
    """Offer a KVM guest Hyper-V's enlightenments (`hyperv: true`); for Windows if not given."""
    genid: Annotated[str, BeforeValidator(_generation)] | None = None
    """Identity of its generation: `auto`, or a UUID. It changes when the guest is put back to a snapshot or copied, and
    databases that know of it (such as Active Directory) then take nothing for granted."""
    cpus: Cpus = Cpus.unsaid()
    """Number (`cpus: 4`), model and tuning of the vCPUs."""
    memory: Memory = Memory.unsaid()
    """Size (`memory: 4GiB`), maximum, and what the host takes it from."""
    numa: Numa | None = None
    """NUMA nodes of the host that its memory is taken from (`numa: "0"`), and cells that it sees; any and none if not
    given."""
    firmware: Firmware = Firmware.unsaid()
    """`bios` or `uefi`."""
    kernel: Kernel | None = None
    """Linux kernel that the host loads (`kernel: /srv/boot/vmlinuz`), in place of what the disk would boot."""
    smbios: Smbios = Smbios.unsaid()
    """What the firmware tells of the machine."""
    features: Features = Features.unsaid()
    """Switches of board and hypervisor."""
    timers: dict[TimerName, Timer] = Field(default_factory=dict)
    """Timers by name (`{hpet: true, tsc: {frequency: 2400000000}}`), on top of what `os` decides."""
    launch_security: LaunchSecurity | None = None
    """Memory that the host cannot read (`launch_security: sev`); none if not given."""
    security: dict[Literal["selinux", "apparmor", "dac"], SecurityLabel] = Field(default_factory=dict)
    """How security drivers of the host confine it, by driver (`{dac: {type: static, label: "+107:+107"}}`)."""
    partition: Annotated[str, Field(pattern="^(/[A-Za-z0-9_.-]{1,64}){1,8}$")] | None = None
    """Group of the host's control groups that it runs in (`/machine/production`)."""
    perf: tuple[PerfEvent, ...] = ()
    """Events of the host's CPUs that are counted for it (`[cpu_cycles]`)."""
    blkio: Blkio | None = None
    """Weight (`blkio: 500`) and limits on the host's block devices."""
    image: Name | None = None
    """Image that the root disk begins as."""
    disk: Disk | None = None
    """Root disk (`disk: 20GiB`); with `image` alone it has the image's size."""
    disks: dict[DeviceName, Disk] = Field(default_factory=dict)
    """Further disks by name; a disk is found again by its name, not by its place."""
    cdroms: dict[DeviceName, Cdrom] = Field(default_factory=dict)
    """Drives by name, each with the image that is in it (`cdroms: {installer: debian-13-netinst}`), or empty (`{}`)."""
    iothreads: Annotated[Positive, Field(le=1000)] | None = None
    """Number of threads for the I/O of disks, numbered from 1; disks choose one with `iothread`."""
    scsi_controller: ScsiController | None = None
    """Tuning of the controller for disks of `bus: scsi` (`scsi_controller: {queues: 4}`)."""
    nics: tuple[Nic, ...] = ()
    """NICs in order (`nics: [lan]`)."""
    boot: tuple[DeviceName, ...] | None = None
    """Boot order: names of disks (`root` is the first) and cdroms, `network` for NICs; by default the first disk,
    and `[]` for none."""
    serial: SerialConsole = SerialConsole.unsaid()
    """Serial console (`serial: false` for none)."""
    serials: Annotated[tuple[CharacterDevice, ...], Field(max_length=3)] = ()
    """Further serial ports (`serials: [pty]`); the guest numbers them from 1."""
    consoles: Annotated[tuple[CharacterDevice, ...], Field(max_length=8)] = ()
    """virtio consoles (`consoles: [pty]`), `/dev/hvc0` and so on in a Linux guest."""
    graphics: Graphics = Graphics.unsaid()
    """Graphical console (`graphics: vnc`)."""
    video: Video | None = None
    """Graphics card (`video: virtio`); plain VGA with a graphical console, else none, if not given."""
    inputs: tuple[Input, ...] | None = None
    """Input devices (`inputs: [tablet]`); a USB tablet with a graphical console, else none, if not given."""
    sound: Sound | None = None
    """Sound card (`sound: ich9`); none if not given."""
    audio: Audio | None = None
    """Where its sound goes to (`audio: pulseaudio`); to a SPICE console if there is one, else nowhere, if not given."""
    agent: Bool = True
    """Channel for the QEMU guest agent."""
    channels: tuple[Channel, ...] = ()
    """Further channels between guest and host (`channels: [org.example.backup.0]`)."""
    tpm: Tpm | None = None
    """Trusted platform module (`tpm: emulator`); none if not given. Its state outlives every update and deletion."""
    vsock: Vsock | None = None
    """Sockets between guest and host (`vsock: auto`); none if not given."""
    devices: Annotated[tuple[DeviceRequest, ...], Field(max_length=64)] = ()
    """Devices of the host that it has for itself, by what they are (`[gpu, {pci: {class: "0108"}, count: 2}]`);
    placement chooses which."""
    hostdevs: tuple[HostDevice, ...] = ()
    """Certain devices of the host (`[{usb: {vendor: "046d", product: c52b}}]`)."""
    shared_memory: dict[DeviceName, SharedMemory] = Field(default_factory=dict)
    """Memory shared with other guests and the host, by its name there (`{ring: 4MiB}`)."""
    shares: dict[DeviceName, Share] = Field(default_factory=dict)
    """Directories of the host by the name that the guest mounts (`{code: /srv/code}`)."""
    leases: dict[LeaseName, Lease] = Field(default_factory=dict)
    """Locks of a cluster's lock manager that it holds while it runs, by name (`{data: {lockspace: cluster-1, path:
    /srv/leases}}`), for disks that several hosts see."""
    smartcard: Smartcard | None = None
    """Reader of smart cards (`smartcard: spice`); none if not given."""
    iommu: Iommu | None = None
    """IOMMU (`iommu: intel`); none if not given."""
    hotplug_ports: Annotated[Positive, Field(le=64)] | None = None
    """Places on PCI Express that stay free for devices to be plugged in live: so many from each start on. A new guest
    has 4, which are not filled up again, if not given."""
    usb_redirections: Annotated[Integer, Field(ge=0, le=8)] = 0
    """Ports at which a SPICE client may plug in USB devices of its own."""
    rng: Rng = Rng.unsaid()
    """virtio random number generator (`rng: false` for none); fed by the host's /dev/urandom if not said otherwise."""
    balloon: Balloon = Balloon.unsaid()
    """virtio memory balloon (`balloon: false` for none)."""
    watchdog: Watchdog | None = None
    """Watchdog (`watchdog: reset`); none if not given."""
    panic: Panic | None = None
    """Device through which the guest tells that it crashed (`panic: isa`); none if not given."""
    on_poweroff: Literal["destroy", "restart"] | None = None
    """What follows when the guest powers itself off; `destroy` (it stays off) if not given."""
    on_reboot: Literal["restart", "destroy"] | None = None
    """What follows when the guest reboots itself; `restart` if not given."""
    on_crash: Literal["destroy", "restart", "preserve", "coredump-destroy", "coredump-restart"] | None = None
    """What follows when the guest crashed, which a `panic` device tells; `destroy` if not given."""
    snapshots: Snapshots | None = None
    """Snapshots that are taken by policy (`snapshots: {keep: 7, every: daily}`), when `kvmdecl snapshot run` runs."""
    cloud_init: CloudInit | None = None
    """Data for cloud-init; a vm with an image gets a seed that sets its host name even without this."""
    omit: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][^\x00-\x1f]{0,199}$")], ...] = ()
    """Parts of the definition that keys imply and that shall not be declared, by the path that plans show
    (`[features/apic]`)."""
    ignition: Ignition | None = None
    """Configuration for Ignition, in place of cloud-init."""
    xml: Text | None = None
    """libvirt XML laid over the definition, for what no key names; elements find their place by identity."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_disks()
        self._check_boot()
        self._check_channels()
        self._check_screen()
        self._check_sound()
        self._check_shared_memory()
        self._check_snapshots()
        if self.ignition and self.cloud_init:
            summary, hint = "a guest is set up by Ignition or by cloud-init", "leave one of the two out"
            raise _wrong("ignition", summary, hint, "ignition")
        self._check_emulated()
        self._check_numa()
        self._check_board()
        self._check_host_devices()
        self._check_architecture()
        if self.on_poweroff == "restart" and self.on_reboot == "destroy":
            summary, hint = (
                "it would start when powered off and stop when rebooted",
                "leave one of the two out",
            )
            raise _wrong("lifecycle", summary, hint, "on_reboot")
        return self

    def _check_boot(self) -> None:
        if self.boot is None:
            return
        names = {*self.disks, *self.cdroms, "network"} | ({"root"} if self.has_root_disk else set())
        for name in self.boot:
            if name not in names:
                hint = f"devices are {', '.join(sorted(names))}"
                raise _wrong("boot", f"`{name}` is no device of this vm", hint, "boot", self.boot.index(name))
        if len(set(self.boot)) != len(self.boot):
            raise _wrong("boot", "a device is named twice in the boot order", "name it once", "boot")

    def _check_shared_memory(self) -> None:
        hint = "add `memory: {source: memfd, access: shared}`"
        for index, nic in enumerate(self.nics):
            if nic.vhost_user is not None and self.memory.access != "shared":
                summary = "a software switch reads and writes the guest's memory, which is not shared"
                raise _wrong("nic", summary, hint, "nics", index, "vhost_user")
        for name, share in self.shares.items():
            if share.driver == "virtiofs" and self.memory.access != "shared":
                summary = "the daemon of virtiofs reads and writes the guest's memory, which is not shared"
                raise _wrong("share", summary, f"{hint}, or use `driver: 9p`", "shares", name)

    def _check_screen(self) -> None:
        if self.serials and not self.serial.enabled:
            summary, hint = "further serial ports need a first one", "drop `serial: false`"
            raise _wrong("serial", summary, hint, "serials")
        if self.usb_redirections and not self.graphics.has_spice:
            summary, hint = "only a SPICE client has devices to plug in", "add `graphics: spice`"
            raise _wrong("graphics", summary, hint, "usb_redirections")
        if self.video is not None and self.video.accel3d and not self.graphics.gl:
            summary, hint = (
                "the console does not draw with the host's card",
                "add `graphics: {type: vnc, gl: true}`",
            )
            raise _wrong("video", summary, hint, "video", "accel3d")

    def _check_sound(self) -> None:
        if self.audio is None:
            return
        if self.sound is None:
            raise _wrong("audio", "the guest has no sound card", "add `sound: ich9`", "audio")
        if self.audio.type == "spice" and not self.graphics.has_spice:
            raise _wrong("audio", "nobody hears it by SPICE", "add `graphics: spice`", "audio")

    def _check_snapshots(self) -> None:
        if self.snapshots and self.snapshots.quiesce and not self.agent:
            summary, hint = "quiescing needs a guest agent", "take `agent: false` back, or leave it out"
            raise _wrong("snapshots", summary, hint, "snapshots", "quiesce")

    def _check_channels(self) -> None:
        taken = {AGENT_CHANNEL: "agent"} if self.agent else {}
        for index, channel in enumerate(self.channels):
            if channel.name in taken:
                summary = f"there is a channel {channel.name} already, from `{taken[channel.name]}`"
                raise _wrong("channel", summary, "leave one of them out", "channels", index, "name")
            taken[channel.name] = "channels"
            if channel.type == "vdagent" and self.graphics.has_spice:
                summary, hint = "a SPICE console serves this channel itself", "write `type: spice`"
                raise _wrong("channel", summary, hint, "channels", index)
            if channel.type == "spice" and not self.graphics.has_spice:
                summary, hint = "only a SPICE console can serve this channel", "add `graphics: spice`"
                raise _wrong("channel", summary, hint, "channels", index)

    def _check_disks(self) -> None:
        if self.image and self.disk and self.disk.image:
            raise _wrong("disk", "both the vm and its root disk name an image", "keep one of them", "disk")
        if self.image and self.disk and (self.disk.source or self.disk.volume):
            raise _wrong("disk", "a disk that exists begins as no image", "leave `image` out", "disk")
        if self.disk and not (self.disk.has_content or self.image):
            raise _no_content("disk")
        for name, disk in self.disks.items():
            if name == "root":
                hint = "say it as `disk:`, or choose another name"
                raise _wrong("disks", "`root` is the name of the root disk", hint, "disks", name)
            if name == "network":
                hint = "choose another name"
                raise _wrong("disks", "`network` means the NICs in the boot order", hint, "disks", name)
            if not disk.has_content:
                raise _no_content("disks", name)
            self._check_ide(disk, "disks", name)
        if self.disk is not None:
            self._check_ide(self.disk, "disk")
        for name, drive in self.cdroms.items():
            self._check_ide(drive, "cdroms", name)
            if name in {*self.disks, "root", "network"}:
                summary = f"`{name}` is the name of another device of this vm"
                raise _wrong("disks", summary, "choose another name", "cdroms", name)
        self._check_iothreads()

    def _check_ide(self, drive: Disk | Cdrom, *at: str) -> None:
        if drive.bus == "ide" and not self.is_conventional:
            raise _wrong("disk", "this machine has no IDE", "use `bus: sata`, or `machine: pc`", *at, "bus")

    def _check_iothreads(self) -> None:
        threads, controller = self.iothreads or 0, self.scsi_controller
        if self.disk is not None:
            self._check_iothread(self.disk, threads, "disk")
        for name, disk in self.disks.items():
            self._check_iothread(disk, threads, "disks", name)
        if controller is not None:
            if not any(disk.bus == "scsi" for disk in (self.disk, *self.disks.values()) if disk is not None):
                summary, hint = "no disk is on the scsi bus", "give a disk `bus: scsi`, or leave it out"
                raise _wrong("disk", summary, hint, "scsi_controller")
            self._check_iothread(controller, threads, "scsi_controller")
        self._check_threads_of_io(threads)

    def _check_iothread(self, thing: Disk | ScsiController, threads: int, *at: str) -> None:
        if thing.iothread is not None and thing.iothread > threads:
            summary = f"there is no I/O thread {thing.iothread}: the vm has {threads}"
            raise _wrong("disk", summary, f"add `iothreads: {thing.iothread}` to the vm", *at, "iothread")

    @property
    def cells(self) -> tuple[GuestCell, ...]:
        """The NUMA cells that the guest sees."""
        return guest_cells(self.numa, self.cpus, self.memory)

    @property
    def is_bound(self) -> bool:
        """Whether placement gives it cells of the host, not only a host."""
        return self._asks_for_cells or any(request.is_near for _, request in self.device_requests)

    @property
    def _asks_for_cells(self) -> bool:
        return self.cpus.is_dedicated or (self.numa is not None and self.numa.bind)

    @property
    def is_placed(self) -> bool:
        """Whether placement gives it more than a host: cells, or devices."""
        return self._asks_for_cells or bool(self.device_requests)

    @property
    def device_requests(self) -> list[tuple[str, DeviceRequest | VirtualFunction]]:
        """What it asks for of its host's devices, each with its key."""
        found: list[tuple[str, DeviceRequest | VirtualFunction]] = [
            (f"nics.{number}", nic.vf) for number, nic in enumerate(self.nics) if nic.vf is not None
        ]
        if not self.devices:
            return found
        return [*((f"devices.{number}", request) for number, request in enumerate(self.devices)), *found]

    def _check_bound(self) -> None:
        numa = self.numa
        if numa is not None and (numa.spill or numa.max_distance is not None) and not self.is_bound:
            key, hint = "spill" if numa.spill else "max_distance", "add `bind: true`, or leave it out"
            raise _wrong("numa", "placement does not choose cells for this guest", hint, "numa", key)
        if numa is not None and numa.expanders:
            self._check_expanders(numa)
        if not self.is_bound:
            return
        if numa is not None and numa.is_chosen:
            hint = "leave the nodesets out, or pin the vCPUs yourself"
            raise _wrong("numa", "placement chooses the nodes of dedicated vCPUs", hint, "numa", "nodeset")
        for number, cell in enumerate(numa.cells if numa is not None else ()):
            if cell.pages is not None and cell.pages != self.memory.pages:
                summary, hint = (
                    "all cells of a bound guest have pages of one size",
                    "say it as `memory.pages`",
                )
                raise _wrong("numa", summary, hint, "numa", "cells", number, "pages")
        for key in ("pins", "emulator_pin", "iothread_pins"):
            if key in self.cpus.said:
                hint = "leave it out, or leave `bind` out"
                raise _wrong("cpus", "placement chooses the CPUs of this guest", hint, "cpus", key)

    def _check_expanders(self, numa: Numa) -> None:
        machine = self.machine if "machine" in self.said else ARCHITECTURES[self.arch].machine
        if not self.is_bound or not numa.cells:
            summary = (
                "placement does not choose cells for this guest" if numa.cells else "the guest has no cells"
            )
            hint = "add `bind: true` and `cells`, or leave it out"
            raise _wrong("numa", summary, hint, "numa", "expanders")
        if not has_pci_express(self.arch, machine):
            hint = "use `machine: q35`, or leave it out"
            raise _wrong("numa", "this machine has no PCI Express", hint, "numa", "expanders")

    def _check_numa(self) -> None:
        if self.numa is not None or self.cpus.policy != "shared" or self.device_requests:
            self._check_bound()
        if self.numa is not None:
            check_cells(self.numa, self.cpus, self.memory)
        for name, module in self.memory.modules.items():
            if module.cell >= len(self.cells):
                summary = f"the guest has no NUMA cell {module.cell}"
                hint = "they are numbered from 0; add it to `numa.cells`"
                raise _wrong("memory", summary, hint, "memory", "modules", name, "cell")

    def _check_board(self) -> None:
        for name, timer in self.timers.items():
            check_timer(name, timer)
        if self.features.kvm_dedicated and self.cpus.model != "host-passthrough":
            hint = "add `cpus: {model: host-passthrough}`"
            raise _wrong(
                "features", "only host-passthrough CPUs are told that", hint, "features", "kvm_dedicated"
            )
        if self.features.tseg is not None and self.is_conventional:
            raise _wrong("features", "this machine has no TSEG", "use `machine: q35`", "features", "tseg")
        if self.launch_security is None:
            return
        if self.type == "qemu":
            summary, hint = "the memory of an emulated guest cannot be protected", "use `type: kvm`"
            raise _wrong("launch-security", summary, hint, "launch_security")
        if self.firmware.type != "uefi":
            summary, hint = "a BIOS cannot start in protected memory", "add `firmware: uefi`"
            raise _wrong("launch-security", summary, hint, "launch_security")

    @property
    def is_conventional(self) -> bool:
        """Whether the machine is of the older kind, without PCI Express."""
        return self.machine == "pc" or self.machine.startswith("pc-i440fx")

    def _check_host_devices(self) -> None:
        for index, device in enumerate(self.hostdevs):
            if device in self.hostdevs[:index]:
                raise _wrong(
                    "hostdev", "the guest has this device already", "leave it out", "hostdevs", index
                )
        if self.ha is not None and self.ha.enabled and self.device_requests:
            summary = (
                "Pacemaker starts it on any host from one definition, and each host has the device elsewhere"
            )
            hint = "name one that all hosts have at the same address (`hostdevs`), or leave `ha` out"
            raise _wrong("device", summary, hint, *(("devices",) if self.devices else ("nics",)))
        if self.smartcard is not None and self.smartcard.mode == "spice" and not self.graphics.has_spice:
            summary, hint = "only a SPICE console brings its reader along", "add `graphics: spice`"
            raise _wrong("smartcard", summary, hint, "smartcard")
        if self.hotplug_ports is not None:
            self._check_ports()
        if self.iommu is None:
            return
        if self.is_conventional:
            raise _wrong("iommu", "this machine has no place for an IOMMU", "use `machine: q35`", "iommu")
        if self.iommu.interrupt_remapping and self.features.ioapic != "qemu":
            summary, hint = "QEMU has to emulate the I/O APIC for that", "add `features: {ioapic: qemu}`"
            raise _wrong("iommu", summary, hint, "iommu", "interrupt_remapping")

    def _check_ports(self) -> None:
        machine = self.machine if "machine" in self.said else ARCHITECTURES[self.arch].machine
        if not has_pci_express(self.arch, machine):
            summary = "only a machine with PCI Express has ports to reserve"
            hint = "leave it out, or use `machine: q35`" if self.is_conventional else "leave it out"
            raise _wrong("hotplug-ports", summary, hint, "hotplug_ports")

    def _check_architecture(self) -> None:
        """Refuse what only guests of other architectures have."""
        architecture, said = ARCHITECTURES[self.arch], self.said
        for path in architecture.lacks:
            section, _, key = path.partition(".")
            given = getattr(self, section) if section in said else None
            if given and (not key or key in given.said):
                at = (section, key) if key else (section,)
                raise _wrong("arch", f"a guest of {self.arch} has no `{path}`", "leave it out", *at)
        for (key, model), architectures in () if said.isdisjoint(HAVE_MODELS) else MODELS.items():
            device = getattr(self, key)
            is_said = device is not None and "model" in device.said and device.model == model
            if is_said and self.arch not in architectures:
                summary = f"a guest of {self.arch} has no {key} of model {model}"
                raise _wrong("arch", summary, f"leave the model out for that of {self.arch}", key, "model")
        unit = architecture.memory_unit
        for key in ("size", "max"):
            if unit > MIB and (getattr(self.memory, key) or 0) % unit:
                summary = f"the memory of a guest of {self.arch} is a multiple of {unit // MIB}MiB"
                raise _wrong("arch", summary, "round it up", "memory", key)
        if self.cpus.model in LEVELS and not architecture.is_pc:
            summary, hint = "levels of x86-64 are of PCs", "use `host-passthrough`, or leave the model out"
            raise _wrong("arch", summary, hint, "cpus", "model")

    def _check_emulated(self) -> None:
        """What QEMU's emulation has no part in; libvirt would drop some of it silently."""
        if self.type == "kvm":
            return
        what, hint = "only a KVM guest has that: this one is emulated", "leave it out, or use `type: kvm`"
        if self.hyperv is not None and self.hyperv.enabled:
            raise _wrong("hyperv", what, hint, "hyperv")
        if self.features.kvm_dedicated:
            raise _wrong("features", what, hint, "features", "kvm_dedicated")
        for name in self.timers:
            if name in {"kvmclock", "hypervclock"}:
                raise _wrong("timers", what, hint, "timers", name)
        for key in ("cache_shares", "bandwidth_shares"):
            if getattr(self.cpus, key):
                hint = "leave it out, or use `type: kvm`"
                raise _wrong("cpus", "only vCPUs of a KVM guest have shares of their own", hint, "cpus", key)
        if self.cpus.nested == "host":
            summary, hint = "an emulated guest has nothing of the host's CPU", "leave it out"
            raise _wrong("cpus", summary, hint, "cpus", "nested")

    def _check_threads_of_io(self, threads: int) -> None:
        scheduled = self.cpus.iothread_scheduler
        asked: list[tuple[str, tuple[str, ...]]] = [
            (number, ("iothread_pins", number)) for number in self.cpus.iothread_pins
        ]
        if scheduled is not None:
            highest = max(numbers_of(scheduled.only)) if scheduled.only else 1
            asked.append((str(highest), ("iothread_scheduler",)))
        for number, at in asked:
            if int(number) > threads:
                summary = f"there is no I/O thread {number}: the vm has {threads}"
                raise _wrong("cpus", summary, f"add `iothreads: {number}` to the vm", "cpus", *at)

    @property
    def is_ha(self) -> bool:
        """Whether a cluster manager runs it."""
        return self.ha is not None and self.ha.enabled

    @property
    def has_root_disk(self) -> bool:
        """Whether there is a disk called `root`: asked for by `disk` or by `image`."""
        return self.disk is not None or self.image is not None


def _no_content(*at: str) -> PydanticCustomError:
    hint = "add `size: 20GiB`, `image: NAME`, or `source: PATH` for one that exists"
    return _wrong("disk", "a disk needs a size, an image or a source", hint, *at)
