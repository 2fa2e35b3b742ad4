"""Biggest vm first, each to the host with the fewest of its siblings, then with the most free memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Load, PlaceAnswer, spread_over

if TYPE_CHECKING:
    from kvmdecl.api import PlaceRequest


def spread(request: PlaceRequest) -> PlaceAnswer:
    """Place every vm that fits. Memory is never promised twice; CPUs are shared, and only break ties."""
    return PlaceAnswer(*spread_over({room.name: Load(room) for room in request.hosts}, request.vms))
