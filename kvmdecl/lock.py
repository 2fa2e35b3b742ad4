"""The placement lock file: where each vm is, reviewed like code. `kvmdecl lock` writes it, plan and apply keep to it.

It stands beside the manifest: `cluster.lock.yaml` for `cluster.yaml` and for a folder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from kvmdecl.cluster import LockedPlace
from kvmdecl.demand import shape_of
from kvmdecl.diagnostics import Diagnostic, Note, Rejected
from kvmdecl.manifest import Section
from kvmdecl.manifest.cpus import NumberSet, in_order
from kvmdecl.names import KIB, MIB, Integer, Name, Size, format_size
from kvmdecl.solver import CellPlace, Place
from kvmdecl.source import LOCK_ENDING, Source, parse, read_text
from kvmdecl.text import safe_text, set_of
from kvmdecl.written import checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kvmdecl.cluster import PlacedCluster, ResolvedCluster, ResolvedVm
    from kvmdecl.diagnostics import Span
    from kvmdecl.solver import Shape

_Cell = Annotated[str, Field(pattern="^(0|[1-9][0-9]{0,3})$")]
_Device = Annotated[
    str,
    Field(
        pattern=r"^([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}[.][0-7]|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$"
    ),
]
_Positions = Annotated[Integer, Field(ge=0)]


class LockedCell(Section):
    """Where a NUMA cell of a guest is."""

    home: _Positions
    """The host's cell."""
    memory: dict[_Cell, Size] = Field(default_factory=dict)
    """Memory, by the host's cell that it is taken from."""
    pages: Size
    """Pages that it is made of."""
    pins: NumberSet | None = None
    """A CPU for each vCPU that has one for itself, in their order; not given if there are none."""
    floating: dict[_Cell, _Positions] = Field(default_factory=dict)
    """How many vCPUs float on the shared CPUs of which cell of the host."""


class LockedDevices(Section):
    """Devices of a vm."""

    for_: Annotated[str, Field(max_length=256)] = Field(alias="for")
    """What it asked for."""
    at: Annotated[tuple[_Device, ...], Field(max_length=64)]
    """The host's addresses of what it was given, or UUIDs of mediated devices."""


class LockedVm(Section):
    """Where a vm is."""

    shorthand = "host"

    host: Name
    """Its host."""
    wants: Annotated[str, Field(pattern="^[0-9a-f]{8}$")] | None = None
    """Digest of what it wanted of NUMA cells and devices; not given for one that takes any."""
    cells: tuple[LockedCell, ...] = ()
    """Its NUMA cells, in order."""
    emulator: NumberSet | None = None
    """A CPU for QEMU's own threads."""
    io_threads: NumberSet | None = None
    """CPUs for its I/O threads."""
    devices: tuple[LockedDevices, ...] = ()
    """Its devices, for each time that it asks for some."""


class LockFile(Section):
    """The file."""

    lock: Literal["kvmdecl-lock/v1"]
    """Format of the file."""
    cluster: Name
    """The cluster that it is about."""
    vms: dict[Name, LockedVm] = Field(default_factory=dict)
    """Where each vm is."""


def lock_path(manifest: Path) -> Path:
    """Where the lock file of a manifest is, a file or a folder."""
    if manifest.is_dir():
        return manifest / f"cluster{LOCK_ENDING}"
    return manifest.with_name(manifest.name.removesuffix(manifest.suffix) + LOCK_ENDING)


def read_lock(path: Path, cluster: ResolvedCluster) -> Mapping[str, LockedPlace] | None:
    """Where the lock file at `path` puts the vms of a cluster; None if there is no such file.

    Raises:
        Rejected: with everything that is wrong in it; `lock.other-cluster` if it is about another one.
    """
    if not path.is_file():
        return None
    root, found = parse(Source(str(path), read_text(path)))
    read, span = checked(root, LockFile, found)
    if read.cluster != cluster.name:
        found.append(_other_cluster(read.cluster, cluster.name, span("cluster")))
    if found:
        raise Rejected(found)
    shapes = {vm.name: shape_of(vm) for vm in cluster.vms if vm.name in read.vms}
    return {
        name: LockedPlace(
            _place(read.vms[name], wanted),
            read.vms[name].wants == digest_of(wanted),
            span("vms", name),
        )
        for name, wanted in shapes.items()
    }


def _other_cluster(locked: str, wanted: str, at: Span) -> Diagnostic:
    return Diagnostic(
        "lock.other-cluster",
        f"this is the lock of cluster {locked}, and the manifest is of {wanted}",
        at,
        hint="if the cluster was renamed, delete the file and let `kvmdecl lock` write it anew",
    )


def lock_faults(cluster: ResolvedCluster, lock: Mapping[str, LockedPlace]) -> Iterator[Diagnostic]:
    """Where manifest and lock file disagree."""
    hosts = {host.name for host in cluster.hosts}
    for vm in cluster.vms:
        if vm.state == "absent":
            continue
        locked = lock.get(vm.name)
        if locked is None:
            summary = f"the lock file does not say where {vm.name} is"
            yield Diagnostic(
                "lock.missing",
                summary,
                vm.origin.at,
                "It was written before the vm.",
                _ANEW,
                subject=f"vm/{vm.name}",
            )
        elif why := _disagreement(vm, locked, hosts):
            yield Diagnostic(
                "lock.disagrees",
                why,
                locked.at,
                "What was reviewed is not what is wanted.",
                _ANEW,
                (Note("the vm is here", vm.origin.at),) if vm.origin.at else (),
                subject=f"vm/{vm.name}",
            )


_ANEW = "run `kvmdecl lock`, and review what it changes"


def _disagreement(vm: ResolvedVm, locked: LockedPlace, hosts: set[str]) -> str:
    host = locked.place.host
    if host not in hosts:
        return f"{vm.name} is locked on {host}, which is no host of the manifest"
    if vm.host not in {None, host}:
        return f"{vm.name} is locked on {host}, and the manifest says {vm.host}"
    return "" if locked.agrees else f"{vm.name} was locked when it wanted something else"


def unfit_lock(faults: list[str]) -> Diagnostic:
    """What is wrong with a lock file on hosts as they are."""
    return Diagnostic(
        "lock.unfit",
        f"the lock file does not fit the hosts: {safe_text(faults[0])}",
        cause="The hosts have changed, or something runs on them that the lock file does not know.",
        hint="put the hosts right, or run `kvmdecl lock --update VM` for who has to give way",
        notes=tuple(Note(safe_text(fault)) for fault in faults[1:10]),
    )


def digest_of(shape: Shape | None) -> str | None:
    """What tells wishes apart: eight digits of a digest; None for who takes any CPUs and any memory."""
    if shape is None:
        return None
    wants = f"{shape} {shape.memory}" if shape.memory else repr(shape)
    return hashlib.sha256(wants.encode()).hexdigest()[:8]


def _place(vm: LockedVm, shape: Shape | None) -> Place:
    """Cells and vCPUs that the lock does not have are left out: it is for other wishes then."""
    demands = shape.cells if shape is not None else ()
    cells = tuple(_cell_place(cell, demand.pinned) for cell, demand in zip(vm.cells, demands, strict=False))
    devices = tuple(of.at for of in vm.devices)
    return Place(vm.host, cells, _numbers(vm.emulator), _numbers(vm.io_threads), devices)


def _cell_place(cell: LockedCell, pinned: tuple[int, ...]) -> CellPlace:
    memory = tuple((int(id_), cell.pages // KIB, size // MIB) for id_, size in cell.memory.items())
    floating = tuple((int(id_), count) for id_, count in cell.floating.items())
    return CellPlace(cell.home, memory, tuple(zip(pinned, _numbers(cell.pins), strict=False)), floating)


def _numbers(text: str | None) -> tuple[int, ...]:
    return () if text is None else in_order(text)


# -- written ---------------------------------------------------------------------------------------------------

_HEAD = """\
# Where the vms of this cluster are. `kvmdecl lock` writes this file, plan and apply keep to it: review it like code.
lock: kvmdecl-lock/v1
"""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file as it is going to be: its text, and what it changes as (vm, where it was, where it is)."""

    text: str
    changes: tuple[tuple[str, str, str], ...]


def new_lock(placed: PlacedCluster) -> Lock:
    """The lock file that keeps a placement. Vms that nobody could look for stay where they were locked."""
    before = placed.cluster.lock or {}
    shapes = {vm.name: shape_of(vm) for vm in placed.cluster.vms}
    gone = {vm.name for vm in placed.cluster.vms if vm.state == "absent"}
    kept = {name: locked.place for name, locked in before.items() if name not in gone}
    places = kept | dict(placed.places)
    known = {name: locked.place for name, locked in before.items()}
    return Lock(
        lock_text(placed.cluster.name, places, shapes),
        tuple(
            (name, in_words(known.get(name)), in_words(places.get(name)))
            for name in sorted({*known, *places})
            if known.get(name) != places.get(name) or (name in before and not before[name].agrees)
        ),
    )


def in_words(place: Place | None) -> str:
    """A place in a line: host, cells, and CPUs of vCPUs that have one for themselves. Empty for none."""
    if place is None:
        return ""
    cells = [
        f"cell {cell.home}" + (f" CPUs {set_of(cpu for _, cpu in cell.pins)}" if cell.pins else "")
        for cell in place.cells
    ]
    devices = [address for addresses in place.devices for address in addresses]
    return ", ".join([place.host, *cells, *([f"devices {' '.join(devices)}"] if devices else [])])


def lock_text(cluster: str, places: Mapping[str, Place], shapes: Mapping[str, Shape | None]) -> str:
    """The file for these places: in order of names, a line for each vm, and for each cell of one that has its own."""
    lines = [line for name in sorted(places) for line in _lines(name, places[name], shapes[name])]
    return f"{_HEAD}cluster: {cluster}\nvms:{'' if lines else ' {}'}\n" + "".join(
        f"  {line}\n" for line in lines
    )


def _lines(name: str, place: Place, shape: Shape | None) -> Iterator[str]:
    if shape is None:
        yield f"{name}: {place.host}"
        return
    yield f"{name}:"
    yield f"  host: {place.host}"
    yield f'  wants: "{digest_of(shape)}"'
    if place.cells:
        yield "  cells:"
    yield from (f"  - {_flow(_cell_text(cell))}" for cell in place.cells)
    for key, cpus in (("emulator", place.emulator), ("io_threads", place.io_threads)):
        if cpus:
            yield f"  {key}: {_listed(cpus)}"
    if place.devices:
        yield "  devices:"
    for demand, addresses in zip(shape.devices, place.devices, strict=False):
        listed = ", ".join(f'"{address}"' for address in addresses)
        yield f'  - {{for: "{demand.model}", at: [{listed}]}}'


def _cell_text(cell: CellPlace) -> dict[str, str]:
    found = {"home": str(cell.home)}
    found["memory"] = _flow({str(id_): format_size(size * MIB) for id_, _, size in cell.memory})
    found["pages"] = format_size(next((size for _, size, _ in cell.memory), 4) * KIB)
    if cell.pins:
        found["pins"] = _listed(tuple(cpu for _, cpu in cell.pins))
    if cell.floating:
        found["floating"] = _flow({str(id_): str(count) for id_, count in cell.floating})
    return found


def _flow(entries: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in entries.items()) + "}"


def _listed(cpus: tuple[int, ...]) -> str:
    """In their order, which says whose each is."""
    return f'"{",".join(map(str, cpus))}"'
