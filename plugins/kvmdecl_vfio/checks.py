"""All checks of devices, over all hosts whose devices were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Severity
from kvmdecl_vfio.groups import check_groups
from kvmdecl_vfio.guests import check_guests, remarks
from kvmdecl_vfio.own_use import check_functions
from kvmdecl_vfio.sriov import check_cards, check_declared, check_handouts
from kvmdecl_vfio.view import views

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.api import Diagnostic, HostFacts, HostState, PlacedCluster
    from kvmdecl_vfio.view import View


def check(
    cluster: PlacedCluster, facts: Mapping[str, HostFacts], existing: Mapping[str, HostState]
) -> list[Diagnostic]:
    """Everything that stands against giving vms the devices that they are given.

    What is only to be known waits until there is no error.
    """
    told = list(_check(views(cluster, facts, existing)))
    if any(found.severity is Severity.ERROR for found in told):
        return [found for found in told if found.severity is not Severity.INFO]
    return told


def _check(found: Mapping[str, View]) -> Iterator[Diagnostic]:
    for view in (view for view in found.values() if view.is_asked):
        yield from check_declared(view)
        yield from check_functions(view, found)
        yield from check_groups(view, found)
        yield from check_cards(view)
        yield from check_handouts(view)
        yield from check_guests(view)
    yield from remarks(found.values())
