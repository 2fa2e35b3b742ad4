"""Which PCI functions of its host a vm is given, and where the manifest says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.cluster import ResolvedVm


@dataclass(frozen=True, slots=True)
class Passed:
    """A PCI function of the host that a vm is given.

    Attributes:
        address: of the function.
        key: of the vm's entry that asks for it (`hostdevs.0`, `devices.1`, `nics.1`, `disks.data.source`), for
            `Origin.find`.
        managed: whether libvirt takes it from the host's driver and gives it back.
        is_nic: whether it is passed as a network interface, a virtual function with a MAC address.
    """

    address: str
    key: str
    managed: bool = True
    is_nic: bool = False


def passed_on(vm: ResolvedVm) -> Iterator[Passed]:
    """The functions that a placed vm is given by address, in the manifest's order."""
    for index, device in enumerate(vm.spec.hostdevs):
        if device.pci is not None:
            yield Passed(device.pci.address, f"hostdevs.{index}", device.pci.managed)
    for given in vm.given:
        if given.device.pci is not None:
            yield Passed(given.device.pci.address, given.key, given.device.pci.managed)
    for index, nic in enumerate(vm.nics):
        if nic.spec.pci is not None:
            yield Passed(nic.spec.pci, f"nics.{index}", nic.spec.managed is not False, is_nic=True)
    for disk in vm.disks:
        source = disk.spec.source
        if source is not None and source.nvme is not None:
            key = "disk.source" if disk.name == "root" else f"disks.{disk.name}.source"
            yield Passed(source.nvme, key, source.managed)
