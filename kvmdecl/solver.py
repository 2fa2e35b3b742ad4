"""What a placement solver is asked and what it answers. A solver is pure: same request, same answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class VmToPlace:
    """A vm that needs a host.

    Attributes:
        name: of the vm.
        cpus: virtual CPUs that it has when it starts.
        memory: bytes that it has when it starts.
        group: the same for all vms that were expanded from one entry of the manifest.
        candidates: hosts that have its pools and networks and can run its type of guest; sorted, never empty.
    """

    name: str
    cpus: int
    memory: int
    group: str
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostRoom:
    """What a host has for guests, and what is left of it.

    Attributes:
        name: of the host.
        cpus: logical CPUs less the reserved ones.
        memory: bytes less the reserved ones.
        used_cpus: virtual CPUs of the vms that stay there and of running guests that are not in the manifest.
            CPUs are shared, so this may exceed `cpus`.
        used_memory: bytes of the same guests.
        groups: how many vms of each group stay there.
    """

    name: str
    cpus: int
    memory: int
    used_cpus: int = 0
    used_memory: int = 0
    groups: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlaceRequest:
    """Vms and hosts, both sorted by name."""

    vms: tuple[VmToPlace, ...]
    hosts: tuple[HostRoom, ...]


@dataclass(frozen=True, slots=True)
class PlaceAnswer:
    """A host for each vm, or, for a vm that fits nowhere, why it does not fit on each of its candidates.

    Attributes:
        hosts: vm -> host, one of its candidates.
        refused: vm -> host -> reason, for example "3GiB of 16GiB free, 4GiB wanted".
    """

    hosts: Mapping[str, str]
    refused: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Solver(Protocol):
    """Chooses hosts. The core checks the answer: every vm is answered once, and only with its candidates."""

    def __call__(self, request: PlaceRequest, /) -> PlaceAnswer:
        """Answer for every vm of the request."""
        ...
