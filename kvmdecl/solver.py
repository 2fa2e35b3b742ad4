"""What a placement solver is asked and what it answers. A solver is pure: same request, same answer.

NUMA memory is counted in MiB and pages in KiB: everything that is placed is a whole number of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

_SMALLEST_PAGE = 4  # KiB, where a host does not say

# -- what guests want ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CellDemand:
    """A NUMA cell of a guest: vCPUs that need a CPU for themselves, vCPUs that float, and MiB of memory."""

    pinned: tuple[int, ...]
    floating: tuple[int, ...]
    memory: int


@dataclass(frozen=True, slots=True)
class DeviceDemand:
    """PCI devices of a model that a guest wants, and how near to its cells they have to be.

    Attributes:
        model: one of those that a device has.
        count: how many.
        policy: `required`: in one of its cells; `socket`: in a socket of one of them; `legacy`: in one of them, or
            nobody knows where; `preferred`: anywhere, near if possible. To a guest without cells all are near.
        near: what is liked and not required: all that say `same_switch` below one switch; `distinct`: each below
            another one.
    """

    model: str
    count: int
    policy: Literal["required", "socket", "legacy", "preferred"]
    near: Literal["", "same_switch", "distinct"] = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a guest wants of a host's NUMA cells. Guests of one shape are alike to a solver.

    Attributes:
        cells: its NUMA cells; each has a cell of the host for its home, and no two the same. None if it only wants
            devices.
        threads: `isolate`: no other thread of a core that carries a pinned vCPU is in use; `require`: pinned vCPUs
            sit on pairs of threads of a core, but for an odd one; `prefer`: so if possible.
        emulator: `float`: the emulator's threads run where the pinned vCPUs do; `share`: on the host's shared CPUs;
            `isolate`: on a CPU of their own in a home of the guest.
        io_threads: I/O threads that each need a CPU for themselves in a home of the guest.
        pages: size of its pages in KiB, or which of those that a cell has: `small` the smallest, `large` any but the
            smallest, `any`.
        overhead: MiB of the smallest pages that QEMU takes beside the guest's memory, in the home of its first cell.
        spills: whether a cell of it may lie across several cells of the host.
        reach: greatest distance between the homes of its cells, None for any.
        devices: that it wants.
        labels: that its host must have, sorted.
        memory: MiB of its host's ordinary memory, of whatever cells, beside that of its own.
    """

    cells: tuple[CellDemand, ...]
    threads: Literal["prefer", "isolate", "require"] = "prefer"
    emulator: Literal["float", "share", "isolate"] = "float"
    io_threads: int = 0
    pages: int | Literal["small", "large", "any"] = "small"
    overhead: int = 0
    spills: bool = False
    reach: int | None = None
    devices: tuple[DeviceDemand, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    memory: int = field(
        default=0, repr=False
    )  # locks from before there was such a shape stay good: see `digest_of`


@dataclass(frozen=True, slots=True)
class VmToPlace:
    """A vm that needs a host, or one that has its place and keeps it if it can.

    Attributes:
        name: of the vm.
        cpus: virtual CPUs that it has when it starts.
        memory: bytes that it has when it starts; what counts of one with a shape is in that.
        group: the same for all vms that were expanded from one entry of the manifest.
        candidates: hosts that have its pools and networks and can run its type of guest; sorted, never empty.
        shape: what it wants of NUMA cells and devices; None if any CPUs and any memory of its host will do.
        weight: how much it matters beside others where not all can be placed.
        place: where it is; None for one that is nowhere.
        fixed: whether it stays there exactly as it is.
    """

    name: str
    cpus: int
    memory: int
    group: str
    candidates: tuple[str, ...]
    shape: Shape | None = None
    weight: int = 1
    place: Place | None = None
    fixed: bool = False


# -- what hosts have -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A device that guests may get.

    Attributes:
        address: of the function.
        models: all that it is to those who ask: a demand for any of them may get it.
        cell: id of its NUMA cell, None if the firmware does not say.
        iommu_group: which is one guest's as a whole.
        excludes: addresses of devices that nobody has while it is given, as a function and its virtual functions.
        switch: address of the switch or port that it is below; devices below one reach each other there.
    """

    address: str
    models: tuple[str, ...]
    cell: int | None
    iommu_group: int
    excludes: frozenset[str] = frozenset()
    switch: str = ""


@dataclass(frozen=True, slots=True)
class CellRoom:
    """A NUMA cell of a host, less what is reserved and what guests have that are not in the request.

    Attributes:
        id: as the host calls it: a label, neither consecutive nor from 0.
        socket: that it belongs to, None if it spans several.
        cores: CPUs that are online, core by core. A cell without any has memory alone.
        dedicated: CPUs that a vCPU may have for itself.
        shared: CPUs on which other vCPUs float; none of them is dedicated. Those that are neither are the host's.
        pools: MiB for guests by the size of pages in KiB.
    """

    id: int
    socket: int | None
    cores: tuple[tuple[int, ...], ...]
    dedicated: frozenset[int]
    shared: frozenset[int]
    pools: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class HostRoom:
    """What a host has for guests, and what is left of it.

    Attributes:
        name: of the host.
        cpus: logical CPUs less the reserved ones.
        memory: bytes less the reserved ones.
        used_cpus: virtual CPUs of the vms that stay there and of running guests that are not in the manifest, but not
            of the request's residents. CPUs are shared, so this may exceed `cpus`.
        used_memory: bytes of the same guests.
        groups: how many vms of each group stay there.
        cells: its NUMA cells.
        distances: between them, by their places in `cells`; 10 is local (ACPI, SLIT).
        overcommit: vCPUs that float per shared CPU of a cell, at most.
        labels: such as its rack.
        devices: that guests may get.
    """

    name: str
    cpus: int
    memory: int
    used_cpus: int = 0
    used_memory: int = 0
    groups: Mapping[str, int] = field(default_factory=dict)
    cells: tuple[CellRoom, ...] = ()
    distances: tuple[tuple[int, ...], ...] = ()
    overcommit: float = 1.0
    labels: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[PciDevice, ...] = ()

    @property
    def page(self) -> int:
        """Size in KiB of the pages of its ordinary memory: the smallest of any cell, though this may have none."""
        return min((size for cell in self.cells for size in cell.pools), default=_SMALLEST_PAGE)


# -- the question and the answer -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """Vms that are kept apart (at most `most` under one value of a label, or on one `host`), or together.

    `soft`: if it can be, and not at the price of having no host.
    """

    members: frozenset[str]
    scope: str
    apart: bool
    most: int = 1
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Budget:
    """How many vms that have a place may go to another host, to other cells, to other CPUs; None: as many as needed."""

    host_moves: int | None = 0
    cell_moves: int | None = 0
    repins: int | None = 0


@dataclass(frozen=True, slots=True)
class PlaceRequest:
    """Vms to be placed and hosts, both in order: earlier vms come first where not all fit.

    Attributes:
        vms: that need a place.
        hosts: that there are.
        residents: vms with a shape that have a place. All of them are in the answer, elsewhere only within `budget`.
        groups: of vms and residents.
        budget: for residents that are not fixed.
        all_or_none: an answer that lacks some of the vms is of no use, so a solver need not look for the best of these,
            nor say why.
    """

    vms: tuple[VmToPlace, ...]
    hosts: tuple[HostRoom, ...]
    residents: tuple[VmToPlace, ...] = ()
    groups: tuple[Group, ...] = ()
    budget: Budget = Budget()
    all_or_none: bool = False


@dataclass(frozen=True, slots=True)
class CellPlace:
    """Where a cell of a guest is.

    Attributes:
        home: id of the host's cell.
        memory: as (id of a cell, size of pages in KiB, MiB), all of one size.
        pins: as (vCPU, CPU).
        floating: vCPUs that float, as (id of a cell, how many).
    """

    home: int
    memory: tuple[tuple[int, int, int], ...]
    pins: tuple[tuple[int, int], ...]
    floating: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a vm is: host, cells in order, CPUs of its emulator and I/O threads, addresses of devices by demand."""

    host: str
    cells: tuple[CellPlace, ...]
    emulator: tuple[int, ...] = ()
    io_threads: tuple[int, ...] = ()
    devices: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class PlaceAnswer:
    """A host for each vm, or, for a vm that fits nowhere, why it does not fit on each of its candidates.

    Attributes:
        hosts: vm -> host, one of its candidates.
        refused: vm -> host -> reason, for example "3GiB of 16GiB free, 4GiB wanted".
        places: vm -> place, for each vm of the request that has a shape and a host, and for each resident.
        bound: no answer has a host for more of the first vms than so many; None if nobody knows.
    """

    hosts: Mapping[str, str]
    refused: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    bound: int | None = None


class Solver(Protocol):
    """Chooses hosts, and for vms with a shape what they get there. The core judges every answer."""

    def __call__(self, request: PlaceRequest, /) -> PlaceAnswer:
        """Answer for every vm of the request, and for every resident, keeping to these rules.

        A vm gets one of its candidates, or is refused with reasons. A vm with a shape that gets a host gets a place
        there, and every resident has one, on a candidate or where it is. Sums are taken over all places of an answer.

        - Cells: each in order has a home, no two the same, no further apart than `reach`. Memory, pinned and floating
          vCPUs are in the home of their cell, and extra CPUs in a home of the vm, unless it `spills`.
        - CPUs: exactly the pinned vCPUs have one each, and so have an emulator that is `isolate`, and each I/O thread.
          It is online, dedicated, and no other vm's or thread's. `isolate`: all other threads of its core are
          dedicated, and nobody's. `require`: the cell of the host has a core of two dedicated threads, and there
          a cell of the guest has at most one core of which it uses a single thread. An emulator that is `share`
          needs a shared CPU on its host.
        - Floating vCPUs: in no cell more of one vm than there are shared CPUs, or of all than `overcommit` times that.
        - Memory: as much as wanted, each cell of the guest in pages of one size, one that is allowed, and whole pages.
          No pool gives more than it has. `overhead` is taken from the smallest pages of the first cell's home.
        - Ordinary vms and the smallest pages of the others fit in the host's `memory` beside `used_memory`; nothing is
          added to a host that is too full already.
        - Devices: as many of each model as wanted, as near as their policy says. No two vms have one, or two of one
          IOMMU group, and nobody has one that another excludes.
        - Labels and groups hold. Hosts without the label of a group count as one place.
        - Fixed residents stay as they are; of the others no more move to other hosts, to other cells, or to other CPUs,
          pages or devices, than the budget says. Order within a place is no difference.

        What the user can mend, such as a library that is not installed, is raised as `Rejected` with a diagnostic.
        """
        ...
