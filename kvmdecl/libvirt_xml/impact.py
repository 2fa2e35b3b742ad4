"""What a change does to a running guest, and through which libvirt call: a table, read from top to bottom.

Each row names the function of libvirt 9.0 that decides it. The first row that fits a difference is its
answer; the last row fits everything. A new kind of change is a new row.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from kvmdecl.amounts import format_size
from kvmdecl.libvirt_xml.fields import (
    FILLED_IN,
    Comparison,
    Document,
    FieldDifference,
    compare_documents,
    device_key,
    member_name,
    plain,
    read_documents,
)
from kvmdecl.libvirt_xml.overlay import take_out_field, to_text
from kvmdecl.libvirt_xml.ports import EXPRESS_NICS
from kvmdecl.libvirt_xml.rules import UNLIMITED_KIB
from kvmdecl.plan import Change, ChangeOrigin, Impact
from kvmdecl.state import Kind, ObservedDomain, Origin
from kvmdecl.tasks import LiveCall, LiveChange
from kvmdecl.words import AGENT_CHANNEL, DRIVE_PREFIX, LIMITS, NESTING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

On = Literal["add", "remove", "set", "any"]


@dataclass(frozen=True, slots=True)
class Case:
    """A difference, with everything a row may ask about it. `live` compares with what runs now."""

    difference: FieldDifference
    live: Comparison

    def running(self, path: str) -> str:
        """A field of the running guest, empty if it has none."""
        return self.live.observed.get(path, "")

    def declared(self, path: str) -> str:
        """A field of the declaration, or of the last one if the field left it; empty if neither has it."""
        return self.live.desired.get(path) or self.live.base.get(path, "")


def _always(case: Case) -> bool:
    return True


def _more_and_possible(case: Case) -> bool:
    wanted, now = case.difference.after, case.running("vcpu@current")
    return _number(now) < _number(wanted) <= _number(case.running("vcpu"))


def _more(case: Case) -> bool:
    return _number(case.difference.before) < _number(case.difference.after)


def _within_memory(case: Case) -> bool:
    balloon = case.running("devices/memballoon@model")
    return _number(case.difference.after) <= _number(case.running("memory")) and balloon not in {"", "none"}


def _has_slots(case: Case) -> bool:
    return "maxMemory" in case.live.observed


def _is_present(case: Case) -> bool:
    """Whether the guest has the vCPU now: libvirt does not pin others (qemuDomainPinVcpuLive)."""
    return _number(member_name(case.difference.path)) < _number(case.running("vcpu@current"))


def _is_for_ignition(case: Case) -> bool:
    return member_name(case.difference.path) == "fwcfg"


def _is_nesting(case: Case) -> bool:
    return member_name(case.difference.path) in NESTING


def _on_a_pluggable_bus(case: Case) -> bool:
    target = f"{case.difference.path}/target@bus"
    return (case.running(target) or case.declared(target)) in {"virtio", "scsi", "usb"}


def _has_room(case: Case) -> bool:
    """Whether the guest has a place left for a device, beside those that come before it in the same plan.

    A PCIe machine has one in each root port, and gets no further port while it runs. A conventional PCI device fits in
    none of them: it goes behind a bridge, which has places enough, if there is one.
    """
    live = case.live
    ports = {
        live.observed.get(f"{path.removesuffix('model')}index", path)  # libvirt tells it, but who knows
        for path, model in live.observed.items()
        if model == "pcie-root-port" and path.endswith("@model")
    }
    if ports and _is_conventional(case.difference.path, live):
        return any(model in _BRIDGES for path, model in live.observed.items() if _is_model_of_bus(path))
    if not ports or not _takes_a_port(case.difference.path, live):
        return True
    taken = {
        value
        for path, value in live.observed.items()
        if plain(path).endswith("/address@bus") and _is_pci(path, live)
    }
    coming = [d.path for d in live.differences if _kind_of_change(d) == "add" and _takes_a_port(d.path, live)]
    return coming.index(case.difference.path) < len(ports - taken) if case.difference.path in coming else True


def _is_pci(path: str, live: Comparison) -> bool:
    return live.observed.get(path.replace("address@bus", "address@type")) == "pci"


def _is_model_of_bus(path: str) -> bool:
    return path.startswith("devices/controller[pci:") and path.endswith("@model")


_BRIDGES = frozenset({"pci-bridge", "pcie-to-pci-bridge"})  # virDomainPCIAddressBusSetModel: hot-pluggable


def _is_conventional(path: str, live: Comparison) -> bool:
    """Whether a device is PCI and not PCI Express (qemuDomainDeviceCalculatePCIConnectFlags)."""
    tag = plain(path).removeprefix("devices/")
    if tag == "interface":
        plugged = live.desired.get(f"{path}@type") == "hostdev"
        model = live.desired.get(f"{path}/model@type", "virtio")
        return not plugged and model != "usb-net" and not model.startswith(EXPRESS_NICS)
    return tag == "shmem"


def _takes_a_port(path: str, live: Comparison) -> bool:
    tag = plain(path).removeprefix("devices/")
    if tag == "disk":
        return live.desired.get(f"{path}/target@bus") == "virtio"
    if tag == "hostdev":
        return live.desired.get(f"{path}@type") in {"pci", "mdev"}
    if tag == "interface" and _is_conventional(path, live):
        return False
    return tag in {"interface", "rng", "vsock", "filesystem"} or (tag == "controller" and "[scsi:" in path)


def _is_managed(case: Case) -> bool:
    return case.declared(f"{case.difference.path}@managed") == "yes"


def _has_no_room(case: Case) -> bool:
    return not _has_room(case)


def _is_expander(case: Case) -> bool:
    path = f"devices/{device_key(case.difference.path)}@model"
    return "pcie-expander-bus" in {case.running(path), case.declared(path)}


def _is_cdrom(case: Case) -> bool:
    return case.running(f"devices/{device_key(case.difference.path)}@device") == "cdrom"


def _is_drive_to_come(case: Case) -> bool:
    """Whether the guest gets the drive itself only at its next boot, and so whatever is in it."""
    device = f"devices/{device_key(case.difference.path)}@device"
    return not case.running(device) and case.declared(device) == "cdrom"


def _is_unused(case: Case) -> bool:
    """Whether no disk that stays is served by a thread that goes (qemuDomainChgIOThread)."""
    last = _number(case.difference.after)
    return all(
        _number(value) <= last or f"devices/{device_key(path)}" not in case.live.desired
        for path, value in case.live.observed.items()
        if plain(path) == f"{_DISK}/driver@iothread"
    )


def _has_virtio_serial(case: Case) -> bool:
    return any(path.startswith("devices/controller[virtio-serial:") for path in case.live.observed)


def _comes_with_the_screen(case: Case) -> bool:
    return device_key(case.difference.path) == "input[tablet:usb]"


def _is_of_the_os(case: Case) -> bool:
    return member_name(case.difference.path) in {"hpet", "hypervclock"}


def _is_of_the_manifest(case: Case) -> bool:
    """Whether `timers` says it: what every KVM guest has comes and goes with the guest's type."""
    is_usual = member_name(case.difference.path) in {"rtc", "pit"}
    return not is_usual or _kind_of_change(case.difference) == "set" or "@track" in case.difference.path


def _is_agent(case: Case) -> bool:
    return member_name(case.difference.path) == AGENT_CHANNEL


def _is_agent_pluggable(case: Case) -> bool:
    return _is_agent(case) and _has_virtio_serial(case)


def _is_passed_through(case: Case) -> bool:
    """Whether the host has no part in the NIC that could be changed (qemuDomainChangeNet)."""
    type_ = f"devices/{device_key(case.difference.path)}@type"
    return bool({case.running(type_), case.declared(type_)} & {"hostdev", "vhostuser", "vdpa"})


def _moves_between_bridges(case: Case) -> bool:
    type_ = f"devices/{device_key(case.difference.path)}@type"
    return {case.running(type_), case.declared(type_)} <= {"bridge", "network"}


def _is_on_openvswitch(case: Case) -> bool:
    port = f"devices/{device_key(case.difference.path)}/virtualport@type"
    return case.running(port) == "openvswitch"


def _is_further(case: Case) -> bool:
    """Whether a console or serial port is not the first, which is the serial console."""
    target = f"devices/{device_key(case.difference.path)}/target@type"
    return "#" in case.difference.path or "virtio" in {case.running(target), case.declared(target)}


def _is_scsi(case: Case) -> bool:
    return case.declared(f"{case.difference.path}@type") == "scsi"


def _is_port(case: Case) -> bool:
    return member_name(case.difference.path).startswith("hotplug")


def _is_on_a_cluster(case: Case) -> bool:
    """Whether any of its servers gives a disk the same data."""
    protocol = f"devices/{device_key(case.difference.path)}/source@protocol"
    return {case.running(protocol), case.declared(protocol)} <= {"rbd", "gluster"}


def _is_virtiofs(case: Case) -> bool:
    driver = f"devices/{device_key(case.difference.path)}/driver@type"
    return (case.running(driver) or case.declared(driver)) == "virtiofs"


def _is_share_for_live(case: Case) -> bool:
    """Whether a share could be plugged in: only virtiofs (qemuDomainAttachFSDevice), whose daemon needs the memory."""
    return _is_virtiofs(case) and case.running("memoryBacking/access@mode") == "shared"


def _is_pluggable_share(case: Case) -> bool:
    return _is_share_for_live(case) and _has_room(case)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Row:
    """What a kind of change does.

    Attributes:
        path: pattern of plain paths.
        on: whether the field or device is new (`add`), goes (`remove`) or changes its value (`set`).
        key: the manifest's word for it; `{disk}` is the disk's key, `{name}` that of a list's member.
        call: how the running guest is changed; None if only its definition is, which counts from the next
            boot on. source: the libvirt function that decides it. why: why the impact is no smaller, or what
            else to know. when: further condition. visible: whether a running guest's XML proves that the
            guest has the field. Where it does not (the memory in use is the guest's balloon, the CPU is what
            QEMU enabled) nothing is concluded from it.
        impact: for a running guest, where it is neither `live` with a call nor `next-boot` without.
    """

    path: str
    on: On
    key: str
    call: LiveCall | None
    source: str
    why: str = ""
    when: Callable[[Case], bool] = _always
    visible: bool = False
    impact: Impact | None = None

    def fits(self, case: Case) -> bool:
        """Whether this row is about a difference."""
        return (
            self.on in {"any", _kind_of_change(case.difference)}
            and fnmatchcase(plain(case.difference.path), self.path)
            and self.when(case)
        )


def _kind_of_change(difference: FieldDifference) -> On:
    if difference.before is None:
        return "add"
    return "remove" if difference.after is None else "set"


_FUNCTIONS: Mapping[LiveCall | None, str] = {
    None: "virDomainDefineXMLFlags",
    "set-vcpus": "virDomainSetVcpusFlags",
    "set-memory": "virDomainSetMemoryFlags",
    "set-lifecycle": "virDomainSetLifecycleAction",
    "set-scheduler": "virDomainSetSchedulerParametersFlags",
    "set-memory-limits": "virDomainSetMemoryParameters",
    "set-block-weight": "virDomainSetBlkioParameters",
    "pin-vcpu": "virDomainPinVcpuFlags",
    "pin-emulator": "virDomainPinEmulator",
    "pin-iothread": "virDomainPinIOThread",
    "add-iothreads": "virDomainAddIOThread",
    "remove-iothreads": "virDomainDelIOThread",
    "set-iotune": "virDomainSetBlockIoTune",
    "attach-device": "virDomainAttachDeviceFlags",
    "update-device": "virDomainUpdateDeviceFlags",
    "detach-device": "virDomainDetachDeviceFlags",
}

_DISK, _NIC = "devices/disk", "devices/interface"
_MODULES, _REQUESTED = "memory.modules", "devices/memory/target/requested"
_SHARE, _SHARES = "devices/filesystem", "shares.{name}"
_AT_START = "QEMU gets it when it starts"
_NO_PORT = "the guest has no PCI place left for it; the next boot brings one"
_NO_PORTS = "a guest gets its PCI places when it starts"
_NAMES = "the guest has the port already; its name is all that changes"
_TAKEN = "libvirt takes it from the host's driver, and gives it back when the guest lets it go"
_LETS_GO = "the guest has to let it go; until then it stays"
_LIVE_CPUS = "qemuDomainSetVcpusLive"
_BUILD_CPU = "qemuBuildCpuCommandLine"
_PIN, _PIN_EMULATOR = "qemuDomainPinVcpuFlags", "qemuDomainPinEmulator"
_PIN_IOTHREAD = "qemuDomainPinIOThread"
_SCHEDULE, _LIMIT = "qemuDomainSetSchedulerParametersFlags", "qemuDomainSetMemoryParameters"
_BLKIO = "qemuDomainSetBlkioParameters"
_STAYS_PINNED = "threads keep their CPUs until QEMU ends"
_LIVE_DISK = "qemuDomainDiskChangeSupported"
_LIVE_NIC = "qemuDomainChangeNet"
_MEDIUM = "qemuDomainChangeMediaLegacy"
_THREADS = "qemuDomainChgIOThread"
_ATTACH = "qemuDomainAttachDeviceLive"
_DETACH = "qemuDomainDetachDeviceLive"
_UPDATE = "qemuDomainUpdateDeviceLive"
_BUILD = "qemuBuildCommandLine"
_LIFECYCLE = "qemuDomainSetLifecycleAction"

_CPU_KEYS: tuple[tuple[str, On, str], ...] = (
    ("/vendor", "any", "vendor"),
    ("@match", "set", "match"),  # with a model it comes and goes
    ("@check", "any", "check"),
    ("@migratable", "any", "migratable"),
    ("/cache", "any", "cache"),
    ("/maxphysaddr", "any", "address_bits"),
)

ROWS: tuple[Row, ...] = (
    # CPUs and memory
    Row("vcpu@current", "any", "cpus.count", "set-vcpus", _LIVE_CPUS, when=_more_and_possible, visible=True),
    Row(
        "vcpu@current",
        "any",
        "cpus.count",
        None,
        _LIVE_CPUS,
        "the guest began with a lower maximum",
        when=_more,
    ),
    Row(
        "vcpu@current",
        "any",
        "cpus.count",
        None,
        _LIVE_CPUS,
        "a guest that uses CPUs does not give them back",
    ),
    Row(
        "vcpu",
        "any",
        "cpus.max",
        None,
        "qemuDomainSetVcpusMax",
        "the maximum is fixed while it runs",
        visible=True,
    ),
    Row("currentMemory", "any", "memory.size", "set-memory", "qemuDomainSetMemoryFlags", when=_within_memory),
    Row(
        "currentMemory",
        "any",
        "memory.size",
        None,
        "qemuDomainSetMemoryFlags",
        "more than the guest began with",
    ),
    Row(
        *(
            "memory",
            "any",
            "memory.max",
            None,
            "qemuDomainSetMemoryFlags",
            "the maximum is fixed while it runs",
        ),
        visible=True,
    ),
    Row("maxMemory*", "any", "memory.hotplug_max", None, _BUILD, "it is fixed while it runs", visible=True),
    Row(
        "cpu/numa*",
        "any",
        "numa.cells",
        None,
        "qemuBuildNumaCommandLine",
        "cells are fixed while it runs",
        visible=True,
    ),
    Row("cpu/topology*", "any", "cpus.topology", None, "qemuBuildSmpCommandLine", _AT_START, visible=True),
    Row("cpu/feature*", "any", "cpus.nested", None, _BUILD_CPU, _AT_START, _is_nesting),
    Row("cpu/feature*", "any", "cpus.features", None, _BUILD_CPU, _AT_START),
    *(Row(f"cpu{path}*", on, f"cpus.{key}", None, _BUILD_CPU, _AT_START) for path, on, key in _CPU_KEYS),
    Row("cpu[/@]*", "any", "cpus.model", None, _BUILD_CPU, _AT_START),
    Row("cputune/vcpupin", "remove", "cpus.pins", None, _PIN, _STAYS_PINNED, visible=True),
    Row("cputune/vcpupin*", "any", "cpus.pins", "pin-vcpu", _PIN, when=_is_present, visible=True),
    Row("cputune/vcpupin*", "any", "cpus.pins", None, _PIN, "only a vCPU that the guest has is pinned live"),
    Row(
        *("cputune/emulatorpin*", "remove", "cpus.emulator_pin", None, _PIN_EMULATOR, _STAYS_PINNED),
        visible=True,
    ),
    Row("cputune/emulatorpin*", "any", "cpus.emulator_pin", "pin-emulator", _PIN_EMULATOR, visible=True),
    Row("cputune/iothreadpin", "remove", "cpus.iothread_pins", None, _PIN_IOTHREAD, _STAYS_PINNED),
    Row("cputune/iothreadpin*", "any", "cpus.iothread_pins", "pin-iothread", _PIN_IOTHREAD, visible=True),
    *(
        Row(f"cputune/{tag}*", "any", f"cpus.{key}", None, source, _AT_START, visible=True)
        for tag, key, source in (
            ("vcpusched", "scheduler", "qemuProcessSetupVcpuPids"),
            ("emulatorsched", "emulator_scheduler", "qemuProcessSetupEmulator"),
            ("iothreadsched", "iothread_scheduler", "qemuProcessSetupIOThreads"),
            ("cachetune", "cache_shares", "qemuProcessResctrlCreate"),
            ("memorytune", "bandwidth_shares", "qemuProcessResctrlCreate"),
        )
    ),
    *(
        row
        for name in LIMITS
        if not name.endswith("quota")
        for row in (
            Row(
                *(f"cputune/{name}", "remove", f"cpus.{name}", None, _SCHEDULE, "it stays until QEMU ends"),
                visible=True,
            ),
            Row(f"cputune/{name}", "any", f"cpus.{name}", "set-scheduler", _SCHEDULE, visible=True),
        )
    ),
    *(
        Row(f"cputune/{name}", "any", f"cpus.{name}", "set-scheduler", _SCHEDULE, visible=True)
        for name in LIMITS
        if name.endswith("quota")
    ),
    *(
        Row(f"memtune/{name}", "any", f"memory.{name}", "set-memory-limits", _LIMIT, visible=True)
        for name in ("hard_limit", "soft_limit", "swap_hard_limit")
    ),
    Row(
        "numatune*",
        "any",
        "numa",
        None,
        "qemuDomainSetNumaParamsLive",
        "its memory stays where it is",
        visible=True,
    ),
    *(
        Row(
            f"memoryBacking/{name}*",
            "any",
            f"memory.{key}",
            None,
            "qemuBuildMemoryBackendProps",
            _AT_START,
            visible=True,
        )
        for name, key in (
            ("hugepages", "pages"),
            ("nosharepages", "ksm"),
            ("locked", "locked"),
            ("source", "source"),
            ("access", "access"),
            ("allocation", "allocation"),
            ("discard", "discard"),
        )
    ),
    # the board
    Row("os/type@machine", "any", "machine", None, "qemuBuildMachineCommandLine", _AT_START, visible=True),
    Row("os/type@arch", "any", "arch", None, _BUILD, _AT_START),
    *(
        Row(f"os/{name}*", "any", key, None, "qemuBuildBootCommandLine", _AT_START, visible=True)
        for name, key in (
            ("kernel", "kernel.path"),
            ("initrd", "kernel.initrd"),
            ("cmdline", "kernel.cmdline"),
            ("bootmenu", "firmware.boot_menu"),
            ("smbios", "smbios"),
        )
    ),
    Row("sysinfo*", "any", "ignition", None, "qemuBuildFWCfgCommandLine", _AT_START, _is_for_ignition),
    Row("sysinfo*", "any", "smbios", None, "qemuBuildSmbiosCommandLine", _AT_START, visible=True),
    Row(
        "os/nvram@template", "any", "firmware.nvram_template", None, "qemuPrepareNVRAM", "a new guest's only"
    ),
    Row(
        *("os/nvram", "set", "firmware.nvram", None, "qemuPrepareNVRAM"),
        "from the next boot on the firmware has other variables; the present ones stay behind",
        impact=Impact.DATA_LOSS,
    ),
    Row("os/loader*", "any", "firmware.loader", None, "qemuBuildDomainLoaderCommandLine", _AT_START),
    Row("os*", "any", "firmware", None, "qemuFirmwareFillDomain", _AT_START),
    Row("features/hyperv*", "any", "hyperv", None, "qemuBuildCpuCommandLine", _AT_START),
    Row("features/smm/tseg*", "any", "features.tseg", None, "qemuBuildTSEGCommandLine", _AT_START),
    Row("features/smm*", "any", "firmware", None, "qemuBuildMachineCommandLine", _AT_START),
    Row("features*", "any", "features", None, "qemuBuildMachineCommandLine", _AT_START),
    Row("launchSecurity*", "any", "launch_security", None, "qemuBuildSEVCommandLine", _AT_START),
    Row("seclabel*", "any", "security", None, "qemuSecurityGenLabel", _AT_START),
    Row("resource*", "any", "partition", None, "qemuInitCgroup", _AT_START),
    Row("perf*", "any", "perf", None, "qemuProcessEnablePerf", _AT_START),
    Row("blkiotune/weight", "remove", "blkio.weight", None, _BLKIO, "it stays until QEMU ends"),
    Row("blkiotune/weight", "any", "blkio.weight", "set-block-weight", _BLKIO, visible=True),
    Row("blkiotune*", "any", "blkio.devices", None, _BLKIO, _AT_START),
    *(
        Row(event, "any", event, "set-lifecycle", _LIFECYCLE, visible=True)
        for event in ("on_poweroff", "on_reboot", "on_crash")
    ),
    Row("@type", "any", "type", None, _BUILD, _AT_START),
    Row("genid*", "any", "genid", None, "qemuBuildVMGenIDCommandLine", _AT_START, visible=True),
    Row("clock@offset", "any", "clock", None, "qemuBuildClockCommandLine", _AT_START, visible=True),
    Row("clock/timer*", "any", "os", None, "qemuBuildClockCommandLine", _AT_START, _is_of_the_os),
    Row("clock/timer*", "any", "timers", None, "qemuBuildClockCommandLine", _AT_START, _is_of_the_manifest),
    Row("clock*", "any", "type", None, "qemuBuildClockCommandLine", _AT_START),
    *(
        Row(
            *(text, "any", key, None, "virDomainDefFormat", "no guest sees it"),
            impact=Impact.METADATA,
        )
        for text, key in (("description", "description"), ("title", "xml"))
    ),
    # disks
    *(
        Row(f"devices/{tag}", "add", key, None, _ATTACH, _NO_PORT, _has_no_room, visible=True)
        for tag, key in (
            ("disk", "{disk}"),
            ("interface", "nics"),
            ("rng", "rng"),
            ("vsock", "vsock"),
            ("controller", "disks"),
            ("hostdev", "hostdevs"),
            ("shmem", "shared_memory"),
        )
    ),
    Row(_DISK, "add", "{disk}", "attach-device", _ATTACH, when=_on_a_pluggable_bus, visible=True),
    Row(_DISK, "remove", "{disk}", "detach-device", _DETACH, _LETS_GO, _on_a_pluggable_bus, visible=True),
    Row(
        _DISK,
        "any",
        "{disk}",
        None,
        _LIVE_DISK,
        "a SATA port is not switched while the guest runs",
        visible=True,
    ),
    Row("iothreads", "any", "iothreads", "add-iothreads", _THREADS, when=_more, visible=True),
    Row("iothreads", "any", "iothreads", "remove-iothreads", _THREADS, when=_is_unused, visible=True),
    Row("iothreads", "any", "iothreads", None, _THREADS, "a disk is served by a thread that goes"),
    Row(
        *(f"{_DISK}/source@startupPolicy", "any", "{disk}.startup_policy", "update-device"),
        _LIVE_DISK,
        visible=True,
    ),
    Row(f"{_DISK}@device", "any", "{disk}.lun", None, _LIVE_DISK, _AT_START, visible=True),
    Row(f"{_DISK}/source/reservations*", "any", "{disk}.reservations", None, _LIVE_DISK, _AT_START),
    Row(f"{_DISK}/source@managed", "any", "{disk}.source", None, _LIVE_DISK, _AT_START),
    Row(
        *(f"{_DISK}/source/address*", "any", "{disk}.source", None, _LIVE_DISK),
        "from the next boot on the guest has another drive's data",
        impact=Impact.DATA_LOSS,
    ),
    Row(f"{_DISK}/source@*", "any", "{disk}", "update-device", _MEDIUM, when=_is_cdrom, visible=True),
    Row(f"{_DISK}/source@*", "any", "{disk}", None, _LIVE_DISK, _AT_START, _is_drive_to_come),
    Row(f"{_DISK}/source@tls*", "any", "{disk}.source", None, _LIVE_DISK, _AT_START),
    Row(f"{_DISK}/source/host*", "any", "{disk}", None, _LIVE_DISK, _AT_START, _is_on_a_cluster),
    Row(
        *(f"{_DISK}/source/host*", "any", "{disk}", None, _LIVE_DISK),
        "from the next boot on the guest has another server's data",
        impact=Impact.DATA_LOSS,
    ),
    Row(
        *(f"{_DISK}/source@*", "any", "{disk}", None, _LIVE_DISK),
        "from the next boot on the guest has other data; what is on the present disk stays behind",
        impact=Impact.DATA_LOSS,
    ),
    Row(
        *(f"{_DISK}/source/encryption*", "any", "{disk}.encryption", None, _LIVE_DISK),
        "what is on the disk is not opened by another secret, nor without one",
        impact=Impact.DATA_LOSS,
    ),
    Row(
        f"{_DISK}/iotune/*",
        *("any", "{disk}.iotune", "set-iotune", "qemuDomainSetBlockIoTune"),
        visible=True,
    ),
    *(
        Row(f"{_DISK}/driver@{name}", "any", f"{{disk}}.{key}", None, _LIVE_DISK, _AT_START, visible=True)
        for name, key in (
            ("cache", "cache"),
            ("io", "io"),
            ("discard", "discard"),
            ("detect_zeroes", "detect_zeroes"),
            ("iothread", "iothread"),
            ("queues", "queues"),
            ("copy_on_read", "copy_on_read"),
            ("error_policy", "error_policy"),
            ("rerror_policy", "read_error_policy"),
        )
    ),
    *(
        Row(f"{_DISK}/{name}", "any", f"{{disk}}.{key}", None, _LIVE_DISK, _AT_START, visible=True)
        for name, key in (
            ("readonly", "readonly"),
            ("shareable", "shareable"),
            ("wwn", "wwn"),
            ("target@rotation_rate", "rotation_rate"),
        )
    ),
    Row(f"{_DISK}/driver@type", "any", "{disk}", "update-device", _MEDIUM, when=_is_cdrom),
    Row(f"{_DISK}/driver@type", "any", "{disk}.format", None, _LIVE_DISK, _AT_START),
    Row(f"{_DISK}/target@dev", "any", "{disk}.target", None, _LIVE_DISK, _AT_START, visible=True),
    Row(f"{_DISK}/target@bus", "any", "{disk}.bus", None, _LIVE_DISK, _AT_START, visible=True),
    Row(f"{_DISK}/serial", "any", "{disk}.serial", None, _LIVE_DISK, _AT_START, visible=True),
    Row(f"{_DISK}/boot*", "any", "boot", None, _LIVE_DISK, _AT_START, visible=True),
    Row(f"{_DISK}*", "any", "{disk}", None, _LIVE_DISK, _AT_START),
    # NICs
    Row(_NIC, "add", "nics", "attach-device", _ATTACH, visible=True),
    Row(_NIC, "remove", "nics", "detach-device", _DETACH, _LETS_GO, visible=True),
    Row(f"{_NIC}/boot*", "any", "boot", None, _LIVE_NIC, _AT_START, visible=True),
    Row(f"{_NIC}[/@]*", "any", "nics", None, _LIVE_NIC, "the host has no part in it", _is_passed_through),
    Row(f"{_NIC}/link@state", "any", "nics", "update-device", _LIVE_NIC, visible=True),
    Row(
        f"{_NIC}/source@*",
        *("any", "nics", "update-device", _LIVE_NIC),
        when=_moves_between_bridges,
        visible=True,
    ),
    Row(f"{_NIC}@type", "any", "nics", "update-device", _LIVE_NIC, when=_moves_between_bridges),
    Row(
        f"{_NIC}/source*",
        "any",
        "nics",
        None,
        _LIVE_NIC,
        "only a NIC on a bridge is plugged over while it runs",
    ),
    Row(
        f"{_NIC}@type", "any", "nics", None, _LIVE_NIC, "only a NIC on a bridge is plugged over while it runs"
    ),
    Row(f"{_NIC}/vlan*", "any", "nics", "update-device", _LIVE_NIC, when=_is_on_openvswitch, visible=True),
    Row(f"{_NIC}/vlan*", "any", "nics", None, _LIVE_NIC, "only Open vSwitch moves a port to another VLAN"),
    Row(f"{_NIC}/coalesce*", "any", "nics", "update-device", _LIVE_NIC, visible=True),
    *(
        Row(f"{_NIC}/{name}*", "any", "nics", None, _LIVE_NIC, _AT_START, visible=True)
        for name in ("rom", "target")
    ),
    Row(
        f"{_NIC}/model@type",
        "any",
        "nics",
        None,
        _LIVE_NIC,
        "a NIC keeps its model while it runs",
        visible=True,
    ),
    Row(f"{_NIC}/mtu*", "any", "nics", None, _LIVE_NIC, "a NIC keeps its MTU while it runs", visible=True),
    Row(f"{_NIC}/bandwidth*", "any", "nics", "update-device", _LIVE_NIC, visible=True),
    Row(f"{_NIC}/filterref*", "any", "nics", "update-device", _LIVE_NIC, visible=True),
    Row(f"{_NIC}/port@isolated", "any", "nics", "update-device", _LIVE_NIC, visible=True),
    Row(
        f"{_NIC}/driver*",
        "any",
        "nics",
        None,
        _LIVE_NIC,
        "a NIC keeps its queues and driver while it runs",
        visible=True,
    ),
    Row(f"{_NIC}*", "any", "nics", None, _LIVE_NIC, _AT_START),
    # further devices
    Row("devices/memory", "add", _MODULES, "attach-device", _ATTACH, when=_has_slots, visible=True),
    Row("devices/memory", "remove", _MODULES, "detach-device", _DETACH, _LETS_GO, visible=True),
    Row(f"{_REQUESTED}", "any", _MODULES, "update-device", _UPDATE, visible=True),
    Row(
        "devices/memory",
        "add",
        _MODULES,
        None,
        _ATTACH,
        "the guest began without `hotplug_max`",
        visible=True,
    ),
    Row("devices/memory*", "any", _MODULES, None, _UPDATE, "a module is not changed while it is plugged in"),
    Row("devices/hostdev", "add", "hostdevs", "attach-device", _ATTACH, _TAKEN, _is_managed, visible=True),
    Row("devices/hostdev", "add", "hostdevs", "attach-device", _ATTACH, visible=True),
    Row("devices/hostdev", "remove", "hostdevs", "detach-device", _DETACH, _LETS_GO, visible=True),
    Row("devices/hostdev*", "any", "hostdevs", None, _UPDATE, _AT_START),
    Row("devices/shmem", "add", "shared_memory", "attach-device", _ATTACH, visible=True),
    Row("devices/shmem", "remove", "shared_memory", "detach-device", _DETACH, _LETS_GO, visible=True),
    Row("devices/shmem*", "any", "shared_memory", None, _UPDATE, _AT_START, visible=True),
    Row(_SHARE, "add", _SHARES, "attach-device", _ATTACH, when=_is_pluggable_share, visible=True),
    Row(_SHARE, "add", _SHARES, None, _ATTACH, _NO_PORT, _is_share_for_live, visible=True),
    Row(
        _SHARE,
        "add",
        _SHARES,
        None,
        _ATTACH,
        "only virtiofs, with shared memory, is plugged in live",
        visible=True,
    ),
    Row(_SHARE, "remove", _SHARES, "detach-device", _DETACH, _LETS_GO, _is_virtiofs, visible=True),
    Row(
        f"{_SHARE}*",
        "any",
        _SHARES,
        None,
        _UPDATE,
        "a share is not changed while it is plugged in",
        visible=True,
    ),
    Row("devices/lease", "add", "leases.{name}", "attach-device", _ATTACH, visible=True),
    Row("devices/lease", "remove", "leases.{name}", "detach-device", _DETACH, visible=True),
    Row(
        "devices/lease*",
        "any",
        "leases.{name}",
        None,
        _UPDATE,
        "a lock is not changed while it is held",
        visible=True,
    ),
    Row("devices/smartcard*", "any", "smartcard", None, _ATTACH, _AT_START, visible=True),
    Row("devices/iommu*", "any", "iommu", None, _ATTACH, _AT_START, visible=True),
    Row("devices/rng", "add", "rng", "attach-device", _ATTACH, visible=True),
    Row("devices/rng", "remove", "rng", "detach-device", _DETACH, _LETS_GO, visible=True),
    Row("devices/channel", "add", "agent", "attach-device", _ATTACH, when=_is_agent_pluggable, visible=True),
    Row("devices/channel", "remove", "agent", "detach-device", _DETACH, _LETS_GO, _is_agent, visible=True),
    Row(
        "devices/channel", "add", "channels", "attach-device", _ATTACH, when=_has_virtio_serial, visible=True
    ),
    Row("devices/channel", "remove", "channels", "detach-device", _DETACH, _LETS_GO, visible=True),
    Row("devices/vsock", "add", "vsock", "attach-device", _ATTACH, visible=True),
    Row("devices/vsock", "remove", "vsock", "detach-device", _DETACH, _LETS_GO, visible=True),
    Row("devices/controller*", "any", "numa.expanders", None, _ATTACH, _AT_START, _is_expander, visible=True),
    Row("devices/controller/alias@name", "any", "hotplug_ports", None, _BUILD, _NAMES),
    Row("devices/controller", "any", "hotplug_ports", None, _ATTACH, _NO_PORTS, _is_port, visible=True),
    Row("devices/controller/driver*", "any", "scsi_controller", None, _DETACH, _AT_START, visible=True),
    Row("devices/controller", "add", "disks", "attach-device", _ATTACH, when=_is_scsi, visible=True),
    Row("devices/rng*", "any", "rng", None, _UPDATE, "a generator is not changed while it runs"),
    Row(
        "devices/channel*",
        "any",
        "agent",
        None,
        _UPDATE,
        "a channel is not changed while it is open",
        _is_agent,
    ),
    Row("devices/channel*", "any", "channels", None, _UPDATE, "a channel is not changed while it is open"),
    Row("devices/vsock*", "any", "vsock", None, _UPDATE, "an address is not changed while it is in use"),
    Row("devices/controller*", "any", "disks", None, _DETACH, _AT_START),
    Row(
        "devices/memballoon*",
        "any",
        "balloon",
        None,
        _ATTACH,
        "a balloon is not plugged in live",
        visible=True,
    ),
    Row("devices/watchdog*", "any", "watchdog", None, _UPDATE, _AT_START, visible=True),
    Row("devices/graphics*", "any", "graphics", None, "qemuDomainChangeGraphics", _AT_START, visible=True),
    Row("devices/video", "any", "graphics", None, _ATTACH, _AT_START, visible=True),
    Row("devices/video*", "any", "video", None, _ATTACH, _AT_START, visible=True),
    Row("devices/input*", "any", "graphics", None, _ATTACH, _AT_START, _comes_with_the_screen, visible=True),
    Row("devices/input*", "any", "inputs", None, _ATTACH, _AT_START, visible=True),
    Row("devices/redirdev", "add", "usb_redirections", "attach-device", _ATTACH, visible=True),
    Row("devices/redirdev", "remove", "usb_redirections", None, _DETACH, _AT_START, visible=True),
    Row("devices/sound*", "any", "sound", None, _ATTACH, "a sound card is not plugged in live", visible=True),
    Row("devices/audio*", "any", "audio", None, _ATTACH, _AT_START, visible=True),
    Row(
        *("devices/tpm/backend/encryption*", "any", "tpm.secret", None, _ATTACH),
        "the TPM's state is not opened by another secret, nor without one",
        impact=Impact.DATA_LOSS,
    ),
    Row("devices/tpm*", "any", "tpm", None, _ATTACH, "a TPM is not plugged in live", visible=True),
    Row("devices/panic*", "any", "panic", None, _ATTACH, _AT_START, visible=True),
    Row("devices/serial/log*", "any", "serial.log", None, "qemuBuildChardevStr", _AT_START, visible=True),
    Row("devices/serial*", "any", "serials", None, _ATTACH, _AT_START, _is_further, visible=True),
    Row("devices/serial*", "any", "serial", None, _ATTACH, _AT_START, visible=True),
    Row("devices/console*", "any", "consoles", None, _ATTACH, _AT_START, _is_further, visible=True),
    Row("devices/console*", "any", "serial", None, _ATTACH, _AT_START),
    Row("*", "any", "", None, _BUILD, _AT_START),
)


@dataclass(frozen=True, slots=True)
class Assessment:
    """What it takes to bring a domain to its declaration.

    Attributes:
        changes: for the plan.
        live: the calls that the running guest needs, in order.
        pending: what the definition says and the running guest gets at its next boot: what it has now
            (`before`), and what it will have. Nothing is left to apply for it but a restart.
        beyond: devices that only the running guest has, and loses at its next boot: it did not let them go, or
            somebody plugged them in for a while.
    """

    changes: tuple[Change, ...]
    live: tuple[LiveChange, ...]
    pending: tuple[Change, ...] = ()
    beyond: tuple[Change, ...] = ()


def assess(desired: str, base: str | None, observed: ObservedDomain, origin: Origin) -> Assessment:
    """Compare a domain with its declaration, both its definition and what runs.

    Args:
        desired: declared definition.
        base: declared definition that was last applied.
        observed: the domain on its host.
        origin: where the manifest says it.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    running = observed.live_xml if observed.active else None
    documents = read_documents(
        [desired, base or "<domain/>", observed.xml, running or "<domain/>"], Kind.DOMAIN
    )
    wanted, before, config, guest = documents
    kept = compare_documents(wanted, before, config)
    found = kept.differences
    if running is None:
        changes = [_change_of_a_stopped_guest(d, kept, origin) for d in found]
        return Assessment(_with_origins(changes, kept), ())
    live = compare_documents(wanted, before, guest)
    only_live = _left_over(found, live)
    changes = [_change(d, live, origin) for d in found]
    changes += [_repeat(d, live, origin) for d in only_live if find_row(Case(d, live)).call]
    needed = {difference.path for difference in (*found, *only_live)}
    left = _kept_by_the_guest(config, guest, needed)
    waiting = [d for d in only_live if not find_row(Case(d, live)).call]
    return Assessment(
        _with_origins(changes, kept),
        _calls(wanted, live, needed),
        tuple(_wait(d, live, origin) for d in (*waiting, *(d for d in left if not _is_device(d.path)))),
        tuple(_wait(d, live, origin) for d in left if _is_device(d.path)),
    )


def _is_device(path: str) -> bool:
    return path == f"devices/{device_key(path)}"


def _with_origins(changes: Iterable[Change], config: Comparison) -> tuple[Change, ...]:
    return tuple(
        replace(change, origin=ChangeOrigin.DRIFT) if config.is_declared_as_before(change.field) else change
        for change in changes
    )


def find_row(case: Case) -> Row:
    """The row of the table that a difference falls under."""
    return next(row for row in ROWS if row.fits(case))


def not_running_as_declared(desired: str, live_xml: str) -> tuple[FieldDifference, ...]:
    """Declared fields that a running guest visibly has not. What its XML does not prove is never among them.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    wanted, before, guest = read_documents([desired, "<domain/>", live_xml], Kind.DOMAIN)
    return tuple(_left_over((), compare_documents(wanted, before, guest)))


def not_done_live(desired: str, base: str | None, live_xml: str) -> tuple[FieldDifference, ...]:
    """What a running guest visibly is not, though there are calls that make it so.

    Args:
        desired: declared definition.
        base: declared definition that was last applied.
        live_xml: that of the running guest.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    live = compare_documents(*read_documents([desired, base or "<domain/>", live_xml], Kind.DOMAIN))
    return tuple(d for d in _left_over((), live) if find_row(Case(d, live)).call)


def is_settled(desired: str, config: str, live_xml: str) -> bool:
    """Whether a running guest visibly waits for nothing: it has what is declared, and nothing that its definition lost.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    wanted, before, kept, guest = read_documents([desired, "<domain/>", config, live_xml], Kind.DOMAIN)
    lacking = _left_over((), compare_documents(wanted, before, guest))
    return not lacking and not _kept_by_the_guest(kept, guest, ())


def _left_over(found: tuple[FieldDifference, ...], live: Comparison) -> list[FieldDifference]:
    """What the definition has already and the running guest visibly has not."""
    paths = {difference.path for difference in found}
    return [
        d
        for d in live.differences
        if d.path not in paths and not _is_rounded_up(d) and find_row(Case(d, live)).visible
    ]


def _is_rounded_up(difference: FieldDifference) -> bool:
    """Whether a guest runs with what is declared in whole MiB, as it does (qemuDomainAlignMemorySizes)."""
    before, after = difference.before or "", difference.after or ""
    return (
        plain(difference.path) in _WHOLE_MIB
        and before.isdecimal()
        and after.isdecimal()
        and int(before) == -(-int(after) // 1024) * 1024
    )


_WHOLE_MIB = frozenset({"memory", "cpu/numa/cell@memory", "devices/memory/target/size"})  # in KiB


def _kept_by_the_guest(config: Document, guest: Document, known: Collection[str]) -> list[FieldDifference]:
    """What a running guest visibly has though its definition does not say so any more: it loses it at its next boot."""
    gone = compare_documents(config, guest, guest)
    return [
        d
        for d in gone.differences
        if d.after is None
        and d.path not in known
        and not _is_filled_in_at_start(d.path, config)
        and find_row(Case(d, gone)).visible
    ]


def _is_filled_in_at_start(path: str, config: Document) -> bool:
    """Whether libvirt writes a field into the definition of the running guest alone."""
    if plain(path) == f"{_DISK}/driver@cache":
        return f"devices/{device_key(path)}/shareable" in config.fields  # qemuDomainPrepareDiskCachemode
    return plain(path) in _FILLED_IN_AT_START


_FILLED_IN_AT_START = (
    frozenset(  # of the network that a NIC is plugged into (virDomainActualNetDefContentsFormat)
        {f"{_NIC}/source@bridge", f"{_NIC}/source@dev", f"{_NIC}/source@mode", f"{_NIC}/bandwidth"}
    )
    # the host's address for consoles (qemuProcessGraphicsSetupListen)
    | {"devices/graphics@listen", "devices/graphics/listen@address"}
    # the daemon that the host has (qemuVirtioFSPrepareDomain)
    | {f"{_SHARE}/binary", f"{_SHARE}/binary@path"}
)


def _change_of_a_stopped_guest(difference: FieldDifference, kept: Comparison, origin: Origin) -> Change:
    """A difference of the definition. Nobody notices it, unless the guest would find other data when it starts."""
    row = find_row(Case(difference, kept))
    if row.impact is Impact.DATA_LOSS:
        return _as_change(difference, row, origin, Impact.DATA_LOSS, _FUNCTIONS[None], row.why)
    return _as_change(difference, row, origin, Impact.NONE, _FUNCTIONS[None], "")


def _change(difference: FieldDifference, live: Comparison, origin: Origin) -> Change:
    """A difference of the definition, with what it does to the guest that runs (`live`)."""
    row = find_row(Case(difference, live))
    if row.visible and not _differs(difference.path, live):
        why = "the running guest is so already"
        return _as_change(difference, row, origin, Impact.NONE, _FUNCTIONS[None], why)
    usual = Impact.LIVE if row.call else Impact.NEXT_BOOT
    return _as_change(difference, row, origin, row.impact or usual, _FUNCTIONS[row.call], row.why)


def _differs(path: str, live: Comparison) -> bool:
    """Whether a field, or the device that it belongs to, differs in the running guest."""
    return any(path == d.path or path.startswith((f"{d.path}/", f"{d.path}@")) for d in live.differences)


def _repeat(difference: FieldDifference, live: Comparison, origin: Origin) -> Change:
    """A difference of the running guest alone: its definition is right already."""
    row = find_row(Case(difference, live))
    why = "its definition says so already, the running guest does not have it"
    return _as_change(difference, row, origin, Impact.LIVE, _FUNCTIONS[row.call], why)


def _wait(difference: FieldDifference, live: Comparison, origin: Origin) -> Change:
    """A difference that only another start of the guest can end."""
    row = find_row(Case(difference, live))
    why = "its definition says so already, the running guest does not have it"
    return _as_change(difference, row, origin, Impact.NEXT_BOOT, "virDomainCreate", why)


def _as_change(
    difference: FieldDifference, row: Row, origin: Origin, impact: Impact, how: str, why: str
) -> Change:
    key = (
        row.key.format(disk=_disk_key(difference.path), name=member_name(difference.path)) or difference.path
    )
    return Change(
        field=difference.path,
        key=key,
        before=_shown(difference.path, difference.before),
        after=_shown(difference.path, difference.after),
        impact=impact,
        how=how,
        why=why,
        at=origin.find(key),
    )


def _disk_key(path: str) -> str:
    """The manifest's key of a disk: `disk` for `root`, `disks.data`, `cdroms.cd`, `cloud_init` for the seed."""
    name = member_name(path)
    if name.startswith(DRIVE_PREFIX):
        return f"cdroms.{name.removeprefix(DRIVE_PREFIX)}"
    return {"root": "disk", "cloud_init": "cloud_init"}.get(name, f"disks.{name}")


def _shown(path: str, value: str | None) -> str | None:
    is_size = path in {"memory", "currentMemory", "maxMemory"} or path.startswith(
        ("memtune/", "memoryBacking/hugepages/")
    )
    if is_size and value is not None and value.isdecimal():
        return format_size(int(value) * 1024)
    return value


# -- calls ---------------------------------------------------------------------------------------------------


def _calls(wanted: Document, live: Comparison, needed: Collection[str]) -> tuple[LiveChange, ...]:
    """The calls for what can be changed live: each once for a device, in the order of their paths.

    Threads come before the disks that they serve, and what goes before what comes: that may need its place, or be the
    same device of the host in another role.
    """
    calls: dict[tuple[LiveCall, str], LiveChange] = {}
    for difference in live.differences:
        call = find_row(Case(difference, live)).call
        if difference.path not in needed or call is None:
            continue
        about = (call, _about(call, difference.path))
        if about not in calls:
            calls[about] = LiveChange(call, _argument(call, difference, wanted, live))
    first = {"add-iothreads": 0, "detach-device": 1}
    return tuple(sorted(calls.values(), key=lambda change: first.get(change.call, 2)))


def _about(call: LiveCall, path: str) -> str:
    """What one call is about: a device, all parameters of a kind, or a single field."""
    return call if call in _PARAMETERS else device_key(path) or path


def _argument(call: LiveCall, difference: FieldDifference, wanted: Document, live: Comparison) -> str:
    if call in _PARAMETERS:
        return _parameters(call, live)
    if call == "pin-vcpu":
        vcpu = member_name(difference.path)
        return f"{vcpu}={live.desired[f'cputune/vcpupin[{vcpu}]@cpuset']}"
    if call == "pin-iothread":
        thread = member_name(difference.path)
        return f"{thread}={live.desired[f'cputune/iothreadpin[{thread}]@cpuset']}"
    if call == "pin-emulator":
        return live.desired["cputune/emulatorpin@cpuset"]
    key = device_key(difference.path)
    if call == "detach-device":
        return key
    if call == "set-lifecycle":
        return f"{difference.path} {difference.after or FILLED_IN[difference.path]}"
    if not key:
        return difference.after or ""
    device = deepcopy(wanted.originals[wanted.elements[f"devices/{key}"]])
    if call == "update-device":
        for path in _not_live(key, live):
            take_out_field(device, path)
    return to_text(device)


_SCHEDULER_NAMES = {"shares": "cpu_shares", "period": "vcpu_period", "quota": "vcpu_quota"}
_PARAMETERS: Mapping[LiveCall, Mapping[str, str]] = {
    "set-scheduler": {f"cputune/{name}": _SCHEDULER_NAMES.get(name, name) for name in LIMITS},
    "set-block-weight": {"blkiotune/weight": "weight"},
    "set-memory-limits": {
        f"memtune/{name}": name for name in ("hard_limit", "soft_limit", "swap_hard_limit")
    },
}
_NO_LIMIT: Mapping[LiveCall, int] = {
    "set-block-weight": 0,
    "set-scheduler": -1,
    "set-memory-limits": UNLIMITED_KIB,
}


def _parameters(call: LiveCall, live: Comparison) -> str:
    """All parameters that differ, for one call: libvirt sees to it that limits never contradict each other."""
    names = _PARAMETERS[call]
    changed = (d for d in live.differences if d.path in names and find_row(Case(d, live)).call == call)
    return " ".join(f"{names[d.path]}={_NO_LIMIT[call] if d.after is None else d.after}" for d in changed)


def _not_live(key: str, live: Comparison) -> Iterator[str]:
    """Fields of a device that no call can change: an update that names one is refused as a whole."""
    for difference in live.differences:
        ours = device_key(difference.path) == key and difference.after is not None
        if ours and find_row(Case(difference, live)).call is None:
            yield plain(difference.path).removeprefix(plain(f"devices/{key}"))
