"""A vm as libvirt XML: what the manifest says or implies, and nothing that libvirt fills in by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.domain_cpu import cpu
from kvmdecl.libvirt_xml.domain_devices import other_devices
from kvmdecl.libvirt_xml.domain_disks import disks
from kvmdecl.libvirt_xml.domain_memory import guest_numa, sizes, tuning
from kvmdecl.libvirt_xml.domain_nics import interface
from kvmdecl.libvirt_xml.overlay import to_text
from kvmdecl.manifest.guest_os import HYPERV, HYPERV_SPINLOCKS, NEEDS_HPET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.cluster import ResolvedVm
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest import Pool


def domain_xml(vm: ResolvedVm, pools: Mapping[str, Pool]) -> str:
    """The declared definition of a vm.

    Args:
        vm: the guest.
        pools: the pools that the vm has disks in, by name.
    """
    uefi = vm.spec.firmware.type == "uefi"
    description = _lines(vm.spec.description or "")
    return to_text(
        node(
            "domain",
            node("name", vm.name),
            node("uuid", vm.uuid),
            bool(description) and node("description", description),
            *sizes(vm),
            node("vcpu", str(vm.max_cpus), current=str(vm.cpus)),
            vm.spec.iothreads is not None and node("iothreads", str(vm.spec.iothreads)),
            node(
                "os",
                node("type", "hvm", arch=vm.arch, machine=vm.machine),
                uefi and _firmware(secure_boot=vm.spec.firmware.secure_boot),
                firmware="efi" if uefi else None,
            ),
            node(
                "features",
                node("acpi"),
                node("apic"),
                _has_hyperv(vm) and _hyperv(),
                vm.spec.firmware.secure_boot and node("smm", state="on"),
            ),
            cpu(vm, guest_numa(vm.spec)),
            *tuning(vm),
            _clock(vm),
            *_lifecycle(vm),
            node("devices", *disks(vm, pools), *map(interface, vm.nics), *other_devices(vm)),
            type=vm.type,
        )
    )


def _lines(text: str) -> str:
    """Libvirt writes line ends bare and XML readers make newlines of them, so only newlines survive."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _firmware(*, secure_boot: bool) -> Element:
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


def _clock(vm: ResolvedVm) -> Element:
    """Under KVM missed ticks are made up for; the HPET, which costs time and gains little, is left out for most."""
    timers = (
        node("timer", name="rtc", tickpolicy="catchup"),
        node("timer", name="pit", tickpolicy="delay"),
        node("timer", name="hpet", present="yes" if vm.spec.os in NEEDS_HPET else "no"),
        _has_hyperv(vm) and node("timer", name="hypervclock", present="yes"),
    )
    return node("clock", *(timers if vm.type == "kvm" else ()), offset=vm.spec.clock or "utc")


def _has_hyperv(vm: ResolvedVm) -> bool:
    """Only KVM has Hyper-V's enlightenments: QEMU's emulation does not."""
    return vm.spec.hyperv is True and vm.type == "kvm"


def _hyperv() -> Element:
    flags = (node(name, state="on") for name in HYPERV)
    return node("hyperv", *flags, node("spinlocks", state="on", retries=HYPERV_SPINLOCKS), mode="custom")


def _lifecycle(vm: ResolvedVm) -> Iterator[Element]:
    for event in ("on_poweroff", "on_reboot", "on_crash"):
        if action := getattr(vm.spec, event):
            yield node(event, action)
