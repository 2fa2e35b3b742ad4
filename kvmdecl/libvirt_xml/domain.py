"""A vm as libvirt XML: what the manifest says or implies, and nothing that libvirt fills in by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.ignition import FW_CFG
from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.domain_board import board, surroundings
from kvmdecl.libvirt_xml.domain_cpu import cpu
from kvmdecl.libvirt_xml.domain_devices import other_devices
from kvmdecl.libvirt_xml.domain_disks import disks
from kvmdecl.libvirt_xml.domain_memory import guest_numa, sizes, tuning
from kvmdecl.libvirt_xml.domain_nics import interface
from kvmdecl.libvirt_xml.overlay import to_text
from kvmdecl.libvirt_xml.protection import protection

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
    description = _lines(vm.spec.description or "")
    return to_text(
        node(
            "domain",
            node("name", vm.name),
            node("uuid", vm.uuid),
            vm.spec.genid is not None and node("genid", vm.spec.genid if vm.spec.genid != "auto" else None),
            vm.spec.protect and protection(),
            bool(description) and node("description", description),
            *sizes(vm),
            node("vcpu", str(vm.max_cpus), current=str(vm.cpus)),
            vm.spec.iothreads is not None and node("iothreads", str(vm.spec.iothreads)),
            *board(vm),
            cpu(vm, guest_numa(vm.spec)),
            *tuning(vm),
            *surroundings(vm),
            *_lifecycle(vm),
            vm.seed is not None
            and vm.seed.plain
            and _firmware_entry(f"{pools[vm.seed_pool].path}/{vm.seed_volume}"),
            node("devices", *disks(vm, pools), *map(interface, vm.nics), *other_devices(vm)),
            type=vm.type,
        )
    )


def _firmware_entry(path: str) -> Element:
    """A file that the guest finds in its firmware configuration device."""
    return node("sysinfo", node("entry", name=FW_CFG, file=path), type="fwcfg")


def _lines(text: str) -> str:
    """Libvirt writes line ends bare and XML readers make newlines of them, so only newlines survive."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _lifecycle(vm: ResolvedVm) -> Iterator[Element]:
    for event in ("on_poweroff", "on_reboot", "on_crash"):
        if action := getattr(vm.spec, event):
            yield node(event, action)
