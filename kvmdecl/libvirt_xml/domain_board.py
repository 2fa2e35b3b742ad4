"""The board of a vm as libvirt XML: what boots it, what it is told of itself, its clock, and what confines it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmdecl.architectures import ARCHITECTURES
from kvmdecl.libvirt_xml.build import node
from kvmdecl.manifest.guest_os import NEEDS_HPET
from kvmdecl.names import MIB
from kvmdecl.words import ENLIGHTENMENTS, SPINLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.cluster import ResolvedVm
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest import Vm
    from kvmdecl.manifest.firmware import (
        Blkio,
        BlockDevice,
        Features,
        Firmware,
        LaunchSecurity,
        SecurityLabel,
        Smbios,
        Timer,
    )
    from kvmdecl.manifest.hyperv import Hyperv


def board(vm: ResolvedVm) -> Iterator[Element]:
    """`os`, `sysinfo` and `features`, where there are any."""
    spec = vm.spec
    yield node("os", *_os(vm), firmware="efi" if _chooses_uefi(spec.firmware) else None)
    if spec.smbios.says_something:
        yield _sysinfo(spec.smbios)
    if len(features := node("features", *_features(vm))):
        yield features


def surroundings(vm: ResolvedVm) -> Iterator[Element]:
    """`clock`, and what the host grants the guest beside CPUs and memory."""
    spec = vm.spec
    yield _clock(vm)
    yield from _perf(spec.perf)
    if spec.partition is not None:
        yield node("resource", node("partition", spec.partition))
    yield from _blkiotune(spec.blkio)
    for model, label in spec.security.items():
        yield _seclabel(model, label)
    if spec.launch_security is not None and vm.type == "kvm":  # QEMU's emulation protects no memory
        yield _launch_security(spec.launch_security)


# -- what boots ----------------------------------------------------------------------------------------------


def _chooses_uefi(firmware: Firmware) -> bool:
    return firmware.type == "uefi" and firmware.loader is None


def _os(vm: ResolvedVm) -> Iterator[Element]:
    firmware, kernel, smbios = vm.spec.firmware, vm.spec.kernel, vm.spec.smbios
    yield node("type", "hvm", arch=vm.arch, machine=vm.machine)
    if _chooses_uefi(firmware):
        yield _build(secure_boot=firmware.secure_boot)
    elif firmware.loader is not None:
        yield from _loader(firmware, firmware.loader)
    if kernel is not None:
        yield node("kernel", kernel.path)
        if kernel.initrd is not None:
            yield node("initrd", kernel.initrd)
        if kernel.cmdline is not None:
            yield node("cmdline", kernel.cmdline)
    if firmware.boot_menu is not None:
        timeout = None if firmware.boot_menu_timeout is None else str(firmware.boot_menu_timeout)
        yield node("bootmenu", enable=_yes(on=firmware.boot_menu), timeout=timeout)
    if smbios.mode is not None or smbios.says_something:
        yield node("smbios", mode=smbios.mode or "sysinfo")


def _build(*, secure_boot: bool) -> Element:
    """A build is chosen that has these features (qemuFirmwareFillDomain).

    Without keys a build that could enforce Secure Boot enforces nothing, so any build will do.
    """
    if secure_boot:
        return node(
            "firmware",
            node("feature", enabled="yes", name="enrolled-keys"),
            node("feature", enabled="yes", name="secure-boot"),
        )
    return node("firmware", node("feature", enabled="no", name="enrolled-keys"))


def _loader(firmware: Firmware, path: str) -> Iterator[Element]:
    """A BIOS is a ROM; of UEFI the code is in one flash that nobody writes, and the variables are in another."""
    if firmware.type == "bios":
        yield node("loader", path, type="rom")
        return
    yield node(
        "loader", path, readonly="yes", secure=_yes(on=True) if firmware.secure_boot else None, type="pflash"
    )
    if firmware.nvram is not None or firmware.nvram_template is not None:
        yield node("nvram", firmware.nvram or False, template=firmware.nvram_template)


def _yes(*, on: bool) -> str:
    return "yes" if on else "no"


def _sysinfo(smbios: Smbios) -> Element:
    parts: Mapping[str, Mapping[str, str]] = {
        "bios": _entries(smbios.bios),
        "system": _entries(smbios.system),
        "baseBoard": _entries(smbios.board),
        "chassis": _entries(smbios.chassis),
    }
    tables = (
        node(tag, *(node("entry", text, name=name) for name, text in entries.items()))
        for tag, entries in parts.items()
        if entries
    )
    oem = bool(smbios.oem) and node("oemStrings", *(node("entry", text) for text in smbios.oem))
    return node("sysinfo", *tables, oem, type="smbios")


def _entries(given: Mapping[Any, str]) -> dict[str, str]:
    return {str(name): text for name, text in sorted(given.items())}


# -- switches ------------------------------------------------------------------------------------------------


def _features(vm: ResolvedVm) -> Iterator[Element]:
    given = vm.spec.features
    yield from map(node, switches(vm.spec))
    if given.gic is not None:
        yield node("gic", version=given.gic)
    if vm.spec.hyperv is not None and has_hyperv(vm):
        yield _hyperv(vm.spec.hyperv)
    yield from _of_kvm(given, emulated=vm.type == "qemu")
    for name, on in (("pmu", given.pmu), ("vmport", given.vmport)):
        if on is not None:
            yield node(name, state=_on(on=on))
    of_pcs = ARCHITECTURES[vm.arch].is_pc
    if (vm.spec.firmware.secure_boot and of_pcs) or given.tseg is not None:
        tseg = given.tseg is not None and node("tseg", str((given.tseg or 0) // MIB), unit="MiB")
        yield node("smm", tseg, state="on")
    if given.ioapic is not None:
        yield node("ioapic", driver=given.ioapic)
    if given.vmcoreinfo:
        yield node("vmcoreinfo", state="on")
    if given.msrs is not None:
        yield node("msrs", unknown=given.msrs)


def switches(spec: Vm) -> Iterator[str]:
    """Which of `acpi` and `apic` a guest has. On ARM it is UEFI that brings ACPI (qemuValidateDomainDefFeatures)."""
    given, usual = spec.features, ARCHITECTURES[spec.arch]
    acpi = usual.acpi and (usual.is_pc or spec.firmware.type == "uefi")
    if acpi if given.acpi is None else given.acpi:
        yield "acpi"
    if usual.apic if given.apic is None else given.apic:
        yield "apic"


def _on(*, on: bool) -> str:
    return "on" if on else "off"


def _of_kvm(given: Features, *, emulated: bool) -> Iterator[Element]:
    switches = (
        ("hidden", given.kvm_hidden),
        ("hint-dedicated", given.kvm_dedicated if not emulated else None),
        ("poll-control", given.kvm_poll_control),
    )
    said = [node(name, state=_on(on=on)) for name, on in switches if on is not None]
    if said:
        yield node("kvm", *said)


def has_hyperv(vm: ResolvedVm) -> bool:
    """Only KVM has Hyper-V's enlightenments: QEMU's emulation does not."""
    return vm.spec.hyperv is not None and vm.spec.hyperv.enabled and vm.type == "kvm"


def _hyperv(given: Hyperv) -> Element:
    return node(
        "hyperv",
        *(
            node(name, _direct(given, name), state=_on(on=given.is_on(name)))
            for name in ENLIGHTENMENTS
            if given.is_on(name) or getattr(given, name) is False
        ),
        node("spinlocks", state="on", retries=str(given.spinlocks or SPINLOCKS)),
        given.vendor is not None and node("vendor_id", state="on", value=given.vendor),
        mode="custom",
    )


def _direct(given: Hyperv, name: str) -> Element | None:
    return node("direct", state="on") if given.stimer_direct and name == "stimer" else None


# -- the clock -----------------------------------------------------------------------------------------------


def _clock(vm: ResolvedVm) -> Element:
    """Under KVM missed ticks are made up for; the HPET, which costs time and gains little, is left out for most.

    What the manifest says of a timer is laid over that.
    """
    timers: dict[str, dict[str, str]] = {}
    if vm.type == "kvm" and ARCHITECTURES[vm.arch].is_pc:
        timers["rtc"] = {"tickpolicy": "catchup"}
        timers["pit"] = {"tickpolicy": "delay"}
        timers["hpet"] = {"present": "yes" if vm.spec.os in NEEDS_HPET else "no"}
    if has_hyperv(vm):
        timers["hypervclock"] = {"present": "yes"}
    for name, timer in vm.spec.timers.items():
        if vm.type == "kvm" or name not in _ONLY_KVM:
            timers[name] = timers.get(name, {}) | _timer(timer)
    elements = (node("timer", name=name, **said) for name, said in timers.items())
    return node("clock", *elements, offset=vm.spec.clock or "utc")


_ONLY_KVM = frozenset({"kvmclock", "hypervclock"})


def _timer(timer: Timer) -> dict[str, str]:
    said = {
        "present": None if timer.present is None else _yes(on=timer.present),
        "tickpolicy": timer.tick_policy,
        "track": timer.track,
        "frequency": None if timer.frequency is None else str(timer.frequency),
    }
    return {name: value for name, value in said.items() if value is not None}


# -- what confines it ----------------------------------------------------------------------------------------


def _perf(events: tuple[str, ...]) -> Iterator[Element]:
    if events:
        yield node("perf", *(node("event", name=name, enabled="yes") for name in events))


def _blkiotune(blkio: Blkio | None) -> Iterator[Element]:
    if blkio is not None:
        weight = blkio.weight is not None and node("weight", str(blkio.weight))
        yield node("blkiotune", weight, *(_device(*entry) for entry in blkio.devices.items()))


def _device(path: str, device: BlockDevice) -> Element:
    limits = ("weight", "read_bytes_sec", "write_bytes_sec", "read_iops_sec", "write_iops_sec")
    said = {name: value for name in limits if (value := getattr(device, name)) is not None}
    return node("device", node("path", path), *(node(name, str(value)) for name, value in said.items()))


def _seclabel(model: str, label: SecurityLabel) -> Element:
    """With a dynamic label libvirt relabels always, without one never; only a static one leaves the choice."""
    relabel: str | None = {"dynamic": "yes", "static": _yes(on=label.relabel is True), "none": None}[
        label.type
    ]
    text = label.label is not None and node("label", label.label)
    base = label.base is not None and node("baselabel", label.base)
    return node("seclabel", text, base, type=label.type, model=model, relabel=relabel)


_POLICIES = {"sev": "0x0001", "sev-snp": "0x00030000"}


def _launch_security(given: LaunchSecurity) -> Element:
    policy = given.policy or _POLICIES.get(given.type)
    numbers = (("cbitpos", given.cbitpos), ("reducedPhysBits", given.reduced_phys_bits))
    texts = (
        ("policy", policy),
        ("dhCert", given.dh_cert),
        ("session", given.session),
        ("idBlock", given.id_block),
        ("idAuth", given.id_auth),
        ("hostData", given.host_data),
    )
    return node(
        "launchSecurity",
        *(node(name, str(value)) for name, value in numbers if value is not None),
        *(node(name, text) for name, text in texts if text is not None),
        type=given.type,
        kernelHashes=None if given.kernel_hashes is None else _yes(on=given.kernel_hashes),
    )
