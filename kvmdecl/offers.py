"""What a vm asks of its host, and which list of libvirt's domain capabilities judges it: a table.

A list that the host's libvirt does not give (each version gives more) judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from kvmdecl.cluster import ResolvedVm
from kvmdecl.words import ENLIGHTENMENTS

Asked = Iterable[tuple[str, str]]
"""Keys of the manifest with the values that the host has to offer."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A list of the domain capabilities.

    Attributes:
        enum: its path, as `DomainSupport.enums` has it.
        what: what it lists, in words.
        asked: what a vm asks of it.
        code: of the diagnostic where the host lacks it.
        hints: what to do about some values; the others have a general hint.
    """

    enum: str
    what: str
    asked: Callable[[ResolvedVm], Asked]
    code: str = "check.no-device"
    hints: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that a vm asks for and its host does not offer."""

    offer: Offer
    key: str
    value: str
    offered: tuple[str, ...]


def refusals(vm: ResolvedVm, enums: Mapping[str, tuple[str, ...]]) -> Iterator[Refusal]:
    """What a vm asks for and is not in the lists of its host."""
    if "features" in enums:
        listed = enums.get("features/launchSecurity/sectype")
        enums = {"launchSecurity/sectype": _launchable(enums) if listed is None else listed, **enums}
    for offer in OFFERS:
        offered = enums.get(offer.enum)
        if offered is None and any(
            f"{offer.enum}/".startswith(f"{path}/") for path in enums.get("unsupported", ())
        ):
            offered = ()
        for key, value in offer.asked(vm) if offered is not None else ():
            if value not in (offered or ()):
                yield Refusal(offer, key, value, offered or ())


def _launchable(enums: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Launch security as libvirt told of it before it had a list: SEV with all of its kinds."""
    return tuple(kind for kind in ("sev", "sev-snp", "tdx") if kind.partition("-")[0] in enums["features"])


# -- what vms ask --------------------------------------------------------------------------------------------


def _value(key: str, *instead: str) -> Callable[[ResolvedVm], Asked]:
    """The value of a key of the vm, where there is one that is not among those that mean `nothing`."""

    def asked(vm: ResolvedVm) -> Asked:
        value: object = vm.spec
        for name in key.split("."):
            value = getattr(value, name, None)
        if value is not None and str(value) not in instead:
            yield key, str(value)

    return asked


def _buses(vm: ResolvedVm) -> Asked:
    for disk in vm.disks:
        yield ("disk.bus" if disk.name == "root" else f"disks.{disk.name}.bus"), disk.spec.bus
    for drive in vm.cdroms:
        yield f"cdroms.{drive.name}.bus", drive.spec.bus


def _kinds_of_disk(vm: ResolvedVm) -> Asked:
    yield from ((f"cdroms.{drive.name}", "cdrom") for drive in vm.cdroms)
    for disk in vm.disks:
        if disk.spec.lun:
            yield ("disk.lun" if disk.name == "root" else f"disks.{disk.name}.lun"), "lun"


def _channels(vm: ResolvedVm) -> Asked:
    """Of the agent that QEMU has for VNC, libvirt does not tell."""
    if vm.spec.agent:
        yield "agent", "unix"
    for index, channel in enumerate(vm.spec.channels):
        if channel.type != "vdagent":
            yield f"channels.{index}.type", "unix" if channel.type == "socket" else "spicevmc"


def _character_devices(vm: ResolvedVm) -> Asked:
    if vm.spec.serial.enabled:
        yield "serial.type", vm.spec.serial.type
    for key, devices in (("serials", vm.spec.serials), ("consoles", vm.spec.consoles)):
        yield from ((f"{key}.{index}.type", device.type) for index, device in enumerate(devices))


def _redirected(vm: ResolvedVm) -> Asked:
    if vm.spec.usb_redirections:
        yield "usb_redirections", "usb"


def _networks_of_qemu(vm: ResolvedVm) -> Asked:
    for index, nic in enumerate(vm.nics):
        if nic.spec.user is not None:
            yield f"nics.{index}.user", "passt" if nic.spec.user == "passt" else "default"


def _switch(key: str) -> Callable[[ResolvedVm], Asked]:
    """A switch of the vm that the host has to have, where it is on."""

    def asked(vm: ResolvedVm) -> Asked:
        yield from ((key, "yes") for _, on in _value(key)(vm) if on == "True")

    return asked


def _screens(vm: ResolvedVm) -> Asked:
    graphics = vm.spec.graphics
    for key, screen in (("graphics.type", graphics), ("graphics.also", graphics.also)):
        if screen is not None and screen.type != "none":
            yield key, screen.type
    if graphics.gl and not graphics.shares_the_card:
        yield "graphics.gl", "egl-headless"


def _random(vm: ResolvedVm) -> Asked:
    if vm.spec.rng.enabled:
        yield "rng", "virtio"


def _source_of_randomness(vm: ResolvedVm) -> Asked:
    if vm.spec.rng.enabled:
        yield "rng.source", vm.spec.rng.source


def _cpu_mode(vm: ResolvedVm) -> Asked:
    """An emulated guest has the emulator's greatest CPU in place of a host's."""
    cpus = vm.spec.cpus
    named = "custom" if cpus.is_named else cpus.model or "host-model"
    yield "cpus.model", "maximum" if vm.type == "qemu" and not cpus.is_named else named


def _nested(vm: ResolvedVm) -> Asked:
    """`host` takes nesting as the host's CPU has it, so it asks for nothing."""
    if vm.spec.cpus.nested is True and vm.type == "kvm":
        yield "cpus.nested", "yes"


def _firmware(vm: ResolvedVm) -> Asked:
    """A build that is named needs no choice among those that are installed."""
    if vm.spec.firmware.type == "uefi" and vm.spec.firmware.loader is None:
        yield "firmware", "efi"


def _loader(vm: ResolvedVm) -> Asked:
    if vm.spec.firmware.loader is not None:
        yield "firmware.loader", "rom" if vm.spec.firmware.type == "bios" else "pflash"


def _secure_boot(vm: ResolvedVm) -> Asked:
    if vm.spec.firmware.secure_boot:
        yield "firmware.secure_boot", "yes"


def _genid(vm: ResolvedVm) -> Asked:
    if vm.spec.genid is not None:
        yield "genid", "yes"


def _enlightenments(vm: ResolvedVm) -> Asked:
    hyperv = vm.spec.hyperv
    if hyperv is None or not hyperv.enabled or vm.type != "kvm":
        return
    for name in (*ENLIGHTENMENTS, "spinlocks"):
        if name == "spinlocks" or hyperv.is_on(name):
            yield f"hyperv.{name}", name
    if hyperv.vendor is not None:
        yield "hyperv.vendor", "vendor_id"


def _launch_security(vm: ResolvedVm) -> Asked:
    if vm.spec.launch_security is not None and vm.type == "kvm":
        yield "launch_security", vm.spec.launch_security.type


def _host_devices(vm: ResolvedVm) -> Asked:
    """Of mediated devices and vhost targets libvirt does not tell."""
    for index, device in enumerate(vm.spec.hostdevs):
        if device.kind in {"usb", "pci", "scsi"}:
            yield f"hostdevs.{index}", device.kind


def _missing(vm: ResolvedVm) -> Asked:
    for index, device in enumerate(vm.spec.hostdevs):
        if device.usb is not None and device.usb.if_missing is not None:
            yield f"hostdevs.{index}.usb.if_missing", device.usb.if_missing


def _passed_on(vm: ResolvedVm) -> Asked:
    """Whatever QEMU drives past the host's kernel."""
    yield from (
        (f"hostdevs.{n}", "vfio") for n, device in enumerate(vm.spec.hostdevs) if device.pci is not None
    )
    yield from ((given.key, "vfio") for given in vm.given if given.device.pci is not None)
    yield from ((f"nics.{n}.pci", "vfio") for n, nic in enumerate(vm.nics) if nic.spec.pci is not None)
    for disk in vm.disks:
        if disk.spec.source is not None and disk.spec.source.nvme is not None:
            yield ("disk.source" if disk.name == "root" else f"disks.{disk.name}.source"), "vfio"


def _shares(vm: ResolvedVm) -> Asked:
    for name, share in vm.spec.shares.items():
        yield f"shares.{name}", "virtiofs" if share.driver == "virtiofs" else "path"


_NOT_OFFERED = "check.not-offered"
_INSTALL_SPICE = "install QEMU's SPICE support on the host"

OFFERS: tuple[Offer, ...] = (
    Offer(
        *("os/firmware", "UEFI firmware", _firmware, "check.no-uefi"),
        {"efi": "install OVMF on the host (package `ovmf` or `edk2-ovmf`), or use `firmware: bios`"},
    ),
    Offer(
        *("os/loader/secure", "firmware with Secure Boot", _secure_boot, "check.no-secure-boot"),
        {"yes": "install a build of OVMF with Secure Boot, use `machine: q35`, or leave Secure Boot out"},
    ),
    Offer("os/loader/type", "firmware of kind", _loader, _NOT_OFFERED),
    Offer("features/vmcoreinfo", "place for crash information", _switch("features.vmcoreinfo"), _NOT_OFFERED),
    Offer(
        "features/gic/version",
        "interrupt controller of version",
        _value("features.gic", "host"),
        _NOT_OFFERED,
    ),
    Offer("features/genid", "identity of generations", _genid, _NOT_OFFERED),
    Offer("cpu/mode", "mode of CPU", _cpu_mode, _NOT_OFFERED),
    Offer(
        *("cpu/nested", "guests within guests", _nested, _NOT_OFFERED),
        {"yes": "load `kvm_intel` or `kvm_amd` with `nested=1` on the host, or leave `nested` out"},
    ),
    Offer("memoryBacking/sourceType", "source of memory", _value("memory.source"), _NOT_OFFERED),
    Offer("features/hyperv/features", "enlightenment of Hyper-V", _enlightenments, _NOT_OFFERED),
    Offer(
        *("launchSecurity/sectype", "launch security", _launch_security, _NOT_OFFERED),
        {"sev": "switch it on in the host's firmware and kernel, or choose another host"},
    ),
    Offer("devices/hostdev/startupPolicy", "way to miss a device", _missing),
    Offer("devices/hostdev/subsysType", "host device of kind", _host_devices),
    Offer(
        *("devices/hostdev/pciBackend", "PCI devices by", _passed_on),
        hints={"vfio": "switch the host's IOMMU on, in its firmware and on its kernel's command line"},
    ),
    Offer(
        *("devices/filesystem/driverType", "driver of shares", _shares),
        hints={"virtiofs": "use `driver: 9p`, or a host with a newer QEMU"},
    ),
    Offer("devices/disk/bus", "bus of disks", _buses),
    Offer("devices/disk/diskDevice", "kind of disk", _kinds_of_disk),
    Offer(
        *("devices/graphics/type", "graphical console", _screens),
        hints={"spice": f"{_INSTALL_SPICE}, or use `graphics: vnc`"},
    ),
    Offer(
        *("devices/video/modelType", "graphics card", _value("video.model", "none")),
        hints={"qxl": f"{_INSTALL_SPICE}, or use `video: virtio`"},
    ),
    Offer("devices/tpm/model", "TPM model", _value("tpm.model")),
    Offer(
        *("devices/tpm/backendModel", "TPM", _value("tpm.type")),
        hints={"emulator": "install swtpm on the host (packages `swtpm` and `swtpm-tools`)"},
    ),
    Offer("devices/tpm/backendVersion", "TPM version", _value("tpm.version")),
    Offer("devices/rng/model", "random number generator", _random),
    Offer("devices/rng/backendModel", "source of random numbers", _source_of_randomness),
    Offer("devices/redirdev/bus", "redirected devices of bus", _redirected),
    Offer("devices/console/type", "console", _character_devices),
    Offer(
        *("devices/interface/backendType", "network of QEMU's own by", _networks_of_qemu),
        hints={"passt": "install passt on the host, or use `user: slirp`"},
    ),
    Offer("devices/channel/type", "channel", _channels),
    Offer("devices/panic/model", "panic device", _value("panic.model")),
)
"""Read from virConnectGetDomainCapabilities; the order is that in which problems of one place are told."""

_SINCE: tuple[tuple[str, str, int], ...] = (
    ("audio.type", "pipewire", 9_010_000),
    ("panic.model", "pvpanic", 9_001_000),
)
"""Keys and values that libvirt has from a version on, of which its lists do not tell."""


def too_new(vm: ResolvedVm, libvirt: int) -> Iterator[tuple[str, str, int]]:
    """Keys, values and their first version, where a libvirt of this version (0: not known) has them not."""
    for key, value, since in _SINCE if libvirt else ():
        if libvirt < since and (key, value) in _value(key)(vm):
            yield key, value, since


# -- levels --------------------------------------------------------------------------------------------------

_WITH_V4 = (
    *("Skylake-Server", "Cascadelake", "Cooperlake", "Icelake", "SapphireRapids", "GraniteRapids"),
    *("EPYC-Genoa", "EPYC-Turin"),
)
_WITH_V3 = (*_WITH_V4, "Haswell", "Broadwell", "Skylake", "SierraForest", "EPYC", "Dhyana")
_WITNESSES: Mapping[str, tuple[str, ...]] = {
    "x86-64-v2": ("Nehalem",),
    "x86-64-v3": _WITH_V3,
    "x86-64-v4": _WITH_V4,
}
_BEYOND_V3 = frozenset({"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"})


def levels(usable_models: Iterable[str], cpu_features: Iterable[str]) -> tuple[str, ...]:
    """The levels of x86-64 that a host proves to have: it can run a model that has all of one, or lists what is more.

    Args:
        usable_models: named models that the host can run as they are.
        cpu_features: features that the host's CPU has beyond the model that libvirt calls it.
    """
    models = tuple(usable_models)
    found = [
        level
        for level, witnesses in _WITNESSES.items()
        if "Nehalem" in models and any(model.startswith(witnesses) for model in models)
    ]
    if "x86-64-v3" in found and "x86-64-v4" not in found and frozenset(cpu_features) >= _BEYOND_V3:
        found.append("x86-64-v4")
    return tuple(found)
