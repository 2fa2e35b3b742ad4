"""Which guests have devices that write to their memory by themselves: all of it is locked in the host's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import passed_on

if TYPE_CHECKING:
    from kvmdecl.api import ResolvedNic, ResolvedVm, Site


def has_passed(site: Site, vm: ResolvedVm) -> bool:
    """Whether a device of the host is passed to it: PCI or mediated, a function as NIC, vDPA."""
    spec = vm.spec
    functions = any(nic.spec.pci or nic.spec.vf or nic.spec.vdpa or is_function(site, nic) for nic in vm.nics)
    given = spec.devices or any(d.pci is not None or d.mdev is not None for d in spec.hostdevs)
    return bool(given or functions or next(passed_on(vm), None))


def is_function(site: Site, nic: ResolvedNic) -> bool:
    """Whether a NIC gets a function of a card from its network."""
    return nic.network in site.networks and site.networks[nic.network].spec.mode == "hostdev"
