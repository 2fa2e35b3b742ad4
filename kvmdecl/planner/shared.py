"""Volumes in pools that several hosts share: one host makes and changes each, the others find it there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kvmdecl.planner.verdict import HostView
from kvmdecl.state import Address, Desired, DesiredDefinition, DesiredVolume, Role

_Shared = DesiredVolume | DesiredDefinition


def makers(resources: Iterable[Desired], views: Mapping[str, HostView]) -> dict[Address, Address]:
    """Where another host makes a shared volume, or changes it: the address here, and the one there.

    It is the host where a guest runs on the disk, for that is the way to grow it; else the host whose ledger says that
    it made it, or began to; else the first one that answered.
    """
    by_name: dict[str, list[_Shared]] = {}
    for resource in resources:
        if isinstance(resource, _Shared) and resource.shared:
            by_name.setdefault(resource.address.name, []).append(resource)
    found: dict[Address, Address] = {}
    for shared in by_name.values():
        here = {resource.address.host: resource for resource in shared}
        maker = _maker(here, views).address
        found |= {each.address: maker for each in shared if each.address != maker}
    return found


def _maker(here: Mapping[str, _Shared], views: Mapping[str, HostView]) -> _Shared:
    one = here[min(here)]
    around = views[one.address.host].around
    noted = around.makers.get(one.address.name)
    if noted is not None and isinstance(one, DesiredVolume) and one.role is Role.DISK:
        running = [host for host in here if _runs(one.vm or "", views[host])]
        if len(running) == 1:
            return here[running[0]]
    return here.get(noted or "", one)


def _runs(vm: str, view: HostView) -> bool:
    domain = view.domains.get(vm)
    return domain is not None and domain.active
