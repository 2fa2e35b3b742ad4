"""What boots a guest, what it is told of its board, and what protects it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section
from kvmdecl.manifest.base import wrong as _wrong
from kvmdecl.names import MIB, Bool, HostPath, Integer, Positive, Size, Text

ShortText = Annotated[Text, Field(min_length=1, max_length=255)]
_Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{1,6000}={0,2}$")]
_Hexadecimal = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{1,16}$")]


class Firmware(Section):
    """What boots the guest."""

    shorthand = "type"

    type: Literal["bios", "uefi"] = "bios"
    """`uefi` lets libvirt choose the build of OVMF; its variables (nvram) are kept across every update."""
    secure_boot: Bool = False
    """Enforce Secure Boot with enrolled keys (uefi only)."""
    loader: HostPath | None = None
    """File of the host with the firmware, in place of libvirt's choice."""
    nvram_template: HostPath | None = None
    """For a `loader` of UEFI: file of the host that the variables of a new guest begin as."""
    nvram: HostPath | None = None
    """For a `loader` of UEFI: file of the host with the variables; libvirt's choice if not given. It never changes."""
    boot_menu: Bool | None = None
    """Whether somebody at the console can choose what boots."""
    boot_menu_timeout: Annotated[Positive, Field(le=65_535)] | None = None
    """Milliseconds that the menu waits."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.secure_boot and self.type != "uefi":
            hint = "write `firmware: {type: uefi, secure_boot: true}`"
            raise _wrong("firmware", "Secure Boot needs uefi", hint)
        for key in ("nvram_template", "nvram"):
            if getattr(self, key) is not None and (self.loader is None or self.type != "uefi"):
                hint = "name the firmware with `type: uefi` and `loader`, or leave it out"
                raise _wrong("firmware", f"{key} belongs to a firmware that is named", hint, key)
        if self.boot_menu_timeout is not None and not self.boot_menu:
            hint = "add `boot_menu: true`"
            raise _wrong("firmware", "without a boot menu nothing waits", hint, "boot_menu_timeout")
        return self


class Kernel(Section):
    """A Linux kernel that the host loads, in place of what the guest's disk would boot."""

    shorthand = "path"

    path: HostPath
    """File of the host with the kernel."""
    initrd: HostPath | None = None
    """File of the host with the initial RAM disk."""
    cmdline: Annotated[Text, Field(max_length=2047)] | None = None
    """Its command line."""


class Smbios(Section):
    """What the guest's firmware tells of the machine (dmidecode)."""

    mode: Literal["emulate", "host"] | None = None
    """`host`: what the host's tells. `emulate`: nothing but what QEMU says, also where something is given here."""
    bios: dict[Literal["vendor", "version", "date", "release"], ShortText] = Field(default_factory=dict)
    """Of the firmware (`{vendor: Example}`)."""
    system: dict[Literal["manufacturer", "product", "version", "serial", "sku", "family"], ShortText] = Field(
        default_factory=dict
    )
    """Of the machine; its UUID is the guest's."""
    board: dict[Literal["manufacturer", "product", "version", "serial", "asset", "location"], ShortText] = (
        Field(default_factory=dict)
    )
    """Of the base board."""
    chassis: dict[Literal["manufacturer", "version", "serial", "asset", "sku"], ShortText] = Field(
        default_factory=dict
    )
    """Of the chassis (`{asset: "A-17"}`)."""
    oem: tuple[ShortText, ...] = ()
    """Strings for programs in the guest (`["app:role=db"]`)."""

    @property
    def says_something(self) -> bool:
        """Whether anything is given."""
        return bool(self.bios or self.system or self.board or self.chassis or self.oem)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.mode is not None and self.says_something:
            raise _wrong("smbios", "with a `mode` nothing that is given is told", "leave `mode` out", "mode")
        return self


class Features(Section):
    """Switches of the guest's board and hypervisor."""

    acpi: Bool | None = None
    """ACPI, without which a guest is not asked to power off; what the architecture has if not given."""
    apic: Bool | None = None
    """APIC; PCs have it if not given."""
    gic: Literal["2", "3", "host"] | None = None
    """Version of an ARM guest's interrupt controller; QEMU's choice if not given."""
    pmu: Bool | None = None
    """Whether the guest can count events of its CPU; the CPU decides if not given."""
    kvm_hidden: Bool | None = None
    """Hide from the guest that it runs under KVM."""
    kvm_dedicated: Bool | None = None
    """Tell the guest that its vCPUs have CPUs for themselves (`cpus.model: host-passthrough`)."""
    kvm_poll_control: Bool | None = None
    """Let the guest poll, so that the host need not."""
    vmport: Bool | None = None
    """VMware's I/O port, by which some guests find a mouse."""
    vmcoreinfo: Bool = False
    """Let the guest tell where its crash information is."""
    ioapic: Literal["kvm", "qemu"] | None = None
    """Who emulates the I/O APIC; `qemu` is needed to remap interrupts by an `iommu`."""
    msrs: Literal["ignore", "fault"] | None = None
    """What a model specific register does that nobody knows."""
    tseg: Size | None = None
    """Memory for System Management Mode, for firmware of guests with many CPUs or much memory (`48MiB`)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.tseg is not None and (self.tseg % MIB or not MIB <= self.tseg <= 1024 * MIB):
            raise _wrong("features", "tseg is not from 1 to 1024 whole MiB", "write `48MiB`", "tseg")
        return self


class Timer(Section):
    """A timer of the guest."""

    shorthand = "present"

    present: Bool | None = None
    """Whether the guest has it."""
    tick_policy: Literal["delay", "catchup", "discard"] | None = None
    """What becomes of ticks that the guest missed (`rtc`: delay or catchup, `pit`: delay or discard)."""
    track: Literal["guest", "wall", "realtime"] | None = None
    """For `rtc`: which time it follows."""
    frequency: Annotated[Integer, Field(ge=1, le=10**12)] | None = None
    """For `tsc`: ticks in a second."""


TimerName = Literal["rtc", "pit", "hpet", "kvmclock", "tsc", "hypervclock"]
_TICKS = {"rtc": {"delay", "catchup"}, "pit": {"delay", "discard"}}


def check_timer(name: str, timer: Timer) -> None:
    """Refuse what a timer of that name does not have (qemuValidateDomainDefClockTimers).

    Raises:
        PydanticCustomError: `manifest.bad-timers`.
    """
    if timer.tick_policy is not None and timer.tick_policy not in _TICKS.get(name, ()):
        hint = "for `rtc` write delay or catchup, for `pit` delay or discard, for others nothing"
        summary = f"missed ticks of {name} cannot be handled so"
        raise _wrong("timers", summary, hint, "timers", name, "tick_policy")
    for key, only in (("track", "rtc"), ("frequency", "tsc")):
        if getattr(timer, key) is not None and name != only:
            raise _wrong("timers", f"only {only} has a {key}", "leave it out", "timers", name, key)


class LaunchSecurity(Section):
    """Memory of the guest that the host cannot read."""

    shorthand = "type"

    type: Literal["sev", "sev-snp", "tdx"]
    """AMD SEV, AMD SEV-SNP or Intel TDX."""
    policy: _Hexadecimal | None = None
    """What the guest's owner allows, as the CPU's maker defines it (`0x0003`); 0x0001 (sev) or 0x30000 (sev-snp) if not
    given."""
    cbitpos: Annotated[Integer, Field(ge=0, le=63)] | None = None
    """For AMD: number of the bit that marks a page as encrypted; the host's if not given."""
    reduced_phys_bits: Annotated[Integer, Field(ge=0, le=63)] | None = None
    """For AMD: bits of addresses that encryption takes away; the host's if not given."""
    kernel_hashes: Bool | None = None
    """For AMD: measure kernel, initial RAM disk and command line too."""
    session: _Base64 | None = None
    """For sev: the owner's session blob."""
    dh_cert: _Base64 | None = None
    """For sev: the owner's Diffie-Hellman key."""
    id_block: _Base64 | None = None
    """For sev-snp: the owner's ID block."""
    id_auth: _Base64 | None = None
    """For sev-snp: what authenticates the ID block."""
    host_data: _Base64 | None = None
    """For sev-snp: data of the host that the guest finds in its attestation."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key, types in _OF_LAUNCH.items():
            if getattr(self, key) is not None and self.type not in types:
                hint = f"leave it out, or use `type: {types[0]}`"
                raise _wrong("launch-security", f"{self.type} has no {key}", hint, key)
        return self


_OF_LAUNCH = {
    **dict.fromkeys(("cbitpos", "reduced_phys_bits", "kernel_hashes"), ("sev", "sev-snp")),
    **dict.fromkeys(("session", "dh_cert"), ("sev",)),
    **dict.fromkeys(("id_block", "id_auth", "host_data"), ("sev-snp",)),
}


class SecurityLabel(Section):
    """How a security driver of the host confines the guest (sVirt)."""

    shorthand = "type"

    type: Literal["dynamic", "static", "none"] = "dynamic"
    """`dynamic`: libvirt makes a label for each start. `static`: the one that is given. `none`: it is not confined."""
    label: ShortText | None = None
    """For `static`: the label (`system_u:system_r:svirt_t:s0:c10,c20`, `+107:+107`)."""
    base: ShortText | None = None
    """For `dynamic`: what the label begins as."""
    relabel: Bool | None = None
    """For `static`: whether libvirt gives the guest's files its label; `false` if not given."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.type == "static" and self.label is None:
            raise _wrong("security", "a static label has to be given", "add `label`", "type")
        for key, type_ in (("label", "static"), ("relabel", "static"), ("base", "dynamic")):
            if getattr(self, key) is not None and self.type != type_:
                summary = f"{key} is for a {type_} label"
                raise _wrong("security", summary, f"leave it out, or use `type: {type_}`", key)
        return self


class BlockDevice(Section):
    """What a guest may do on one block device of the host."""

    weight: Annotated[Integer, Field(ge=100, le=1000)] | None = None
    """Weight against other guests."""
    read_bytes_sec: Size | None = None
    """Bytes a second that it may read."""
    write_bytes_sec: Size | None = None
    """Bytes a second that it may write."""
    read_iops_sec: Positive | None = None
    """Requests a second that it may read with."""
    write_iops_sec: Positive | None = None
    """Requests a second that it may write with."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.said:
            raise _wrong("blkio", "nothing is said of the device", "add for example `weight: 500`")
        return self


class Blkio(Section):
    """Weights and limits of the guest on the host's block devices (cgroups)."""

    shorthand = "weight"

    weight: Annotated[Integer, Field(ge=100, le=1000)] | None = None
    """Weight against other guests."""
    devices: dict[HostPath, BlockDevice] = Field(default_factory=dict)
    """Devices of the host by path (`{/dev/sda: {read_iops_sec: 500}}`)."""


PerfEvent = Literal[
    "cmt", "mbmt", "mbml", "cpu_cycles", "instructions", "cache_references", "cache_misses", "branch_instructions",
    "branch_misses", "bus_cycles", "stalled_cycles_frontend", "stalled_cycles_backend", "ref_cpu_cycles", "cpu_clock",
    "task_clock", "page_faults", "context_switches", "cpu_migrations", "page_faults_min", "page_faults_maj",
    "alignment_faults", "emulation_faults",
]  # fmt: skip
