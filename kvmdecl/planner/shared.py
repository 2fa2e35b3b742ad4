"""Images in pools that several hosts share: one host makes each, the others find it there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kvmdecl.planner.verdict import HostView
from kvmdecl.state import Address, Desired, DesiredVolume, Kind


def makers(resources: Iterable[Desired], views: Mapping[str, HostView]) -> dict[Address, Address]:
    """Where another host makes a shared volume: the address here, and the one there.

    It is the host whose ledger says that it made it, or began to; else the first one that answered.
    """
    by_name: dict[str, list[Address]] = {}
    for resource in resources:
        if isinstance(resource, DesiredVolume) and resource.shared:
            by_name.setdefault(resource.address.name, []).append(resource.address)
    found: dict[Address, Address] = {}
    for name, addresses in by_name.items():
        noted = (host for host, view in views.items() if view.ledger.find(Kind.VOLUME, name))
        here = {address.host: address for address in addresses}
        maker = Address(next(noted, min(here)), Kind.VOLUME, name)
        found |= {address: maker for host, address in here.items() if host != maker.host}
    return found
