"""A place on NUMA cells <-> the keys that say so: what placement decides is filled in where the manifest is silent."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl.cluster import GivenDevice
from kvmdecl.libvirt_xml.marker import read_marker
from kvmdecl.libvirt_xml.overlay import to_text
from kvmdecl.libvirt_xml.safe import BadXml, parse_xml
from kvmdecl.manifest import Numa, Topology, VirtualFunction
from kvmdecl.manifest.cpus import numbers_of
from kvmdecl.manifest.hostdevs import HostDevice, MediatedDevice, PciDevice
from kvmdecl.solver import CellPlace, Place
from kvmdecl.text import set_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from kvmdecl.cluster import ResolvedVm
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest import Cpus, DeviceRequest, Vm
    from kvmdecl.solver import CellDemand, CellRoom, HostRoom, Shape


_NOTE = "urn:kvmdecl:place:1"  # XML namespace of notes in `<metadata>`


def with_place(vm: ResolvedVm, place: Place, room: HostRoom) -> ResolvedVm:
    """The vm with its CPUs and its memory where its place is."""
    spec = vm.spec
    cells = {cell.id: cell for cell in room.cells}
    pins = {vcpu: str(cpu) for cell in place.cells for vcpu, cpu in cell.pins}
    for number, cell in enumerate(place.cells):
        shared = set_of(_shared(cells, (id_ for id_, _ in cell.floating)))
        pins |= dict.fromkeys(_vcpus(spec, number) - pins.keys(), shared)
    others = set_of(_emulator(spec.cpus, place, cells))
    io_threads = {str(n): others for n in range(1, (spec.iothreads or 0) + 1)}
    io_threads |= {str(n): str(cpu) for n, cpu in enumerate(place.io_threads, 1)}
    cpus = {
        "pins": {str(vcpu): pins[vcpu] for vcpu in sorted(pins)},
        "emulator_pin": others,
        "iothread_pins": io_threads,
        "topology": spec.cpus.topology or _topology(spec),
    }
    return vm.with_spec(cpus=spec.cpus.model_copy(update=cpus), numa=_numa(spec, place))


def kept_off(vm: ResolvedVm, room: HostRoom) -> ResolvedVm:
    """The vm on CPUs that its host does not set aside for others, unless it says where its threads run."""
    cpus = vm.spec.cpus
    text = set_of(cpu for cell in room.cells for cpu in cell.shared)
    if not text or cpus.pins or cpus.emulator_pin is not None or cpus.iothread_pins:
        return vm
    update: dict[str, Any] = {
        "pins": {str(vcpu): text for vcpu in range(cpus.most)},
        "emulator_pin": text,
        "iothread_pins": {str(number): text for number in range(1, (vm.spec.iothreads or 0) + 1)},
    }
    return vm.with_spec(cpus=cpus.model_copy(update=update))


def with_devices(
    vm: ResolvedVm, place: Place, room: HostRoom, companions: Callable[[str], Iterable[str]]
) -> ResolvedVm:
    """The vm with the devices that its place has: NICs with their functions, and what it was given.

    `companions` tells who else is in the IOMMU group of a function; what is asked for as a whole takes them along.
    """
    cells = {device.address: device.cell for device in room.devices}
    homes = {cell.home: number for number, cell in enumerate(place.cells)}
    nics, given = list(vm.nics), list[GivenDevice]()
    chosen = {address for addresses in place.devices for address in addresses}
    for (key, request), addresses in zip(vm.spec.device_requests, place.devices, strict=True):
        for address in addresses:
            if isinstance(request, VirtualFunction):
                nic = nics[int(key.removeprefix("nics."))]
                spec = nic.spec.model_copy(update={"pci": address, "vf": None})
                nics[int(key.removeprefix("nics."))] = replace(nic, spec=spec)
                continue
            home = cells.get(address)
            cell = (
                homes.get(home)
                if home is not None and vm.spec.numa is not None and vm.spec.numa.expanders
                else None
            )
            with_it = [each for each in companions(address) if each not in chosen] if request.group else []
            chosen.update(with_it)
            given += (GivenDevice(key, _passed_on(request, each), cell) for each in (address, *with_it))
    return replace(vm, nics=tuple(nics), given=tuple(given))


def _passed_on(request: DeviceRequest, address: str) -> HostDevice:
    if request.mdev is not None:
        return HostDevice(mdev=MediatedDevice(uuid=address))
    return HostDevice(pci=PciDevice(address=address, rom=request.rom, rom_file=request.rom_file))


def _vcpus(spec: Vm, cell: int) -> frozenset[int]:
    return spec.cells[cell].cpus if spec.cells else frozenset(range(spec.cpus.most))


def _shared(cells: Mapping[int, CellRoom], ids: Iterable[int]) -> frozenset[int]:
    return frozenset().union(*(cells[id_].shared for id_ in ids))


def _emulator(cpus: Cpus, place: Place, cells: Mapping[int, CellRoom]) -> frozenset[int]:
    """CPUs for QEMU's own threads: beside the guest where that has a meaning."""
    if place.emulator:
        return frozenset(place.emulator)
    pinned = frozenset(cpu for cell in place.cells for _, cpu in cell.pins)
    if pinned and cpus.emulator != "share":
        return pinned
    return _shared(cells, (cell.home for cell in place.cells)) or _shared(cells, cells)


def _topology(spec: Vm) -> Topology | None:
    """What the guest sees of that: pairs of threads where it always has them, a socket for each of its cells.

    It follows from the manifest alone, so that no other place on the host changes what the guest sees.
    """
    if spec.cpus.policy != "dedicated":
        return None
    sizes = {len(cell.cpus) for cell in spec.cells} or {spec.cpus.most}
    sockets = len(spec.cells) if len(sizes) == 1 and spec.cells else 1
    threads = 2 if spec.cpus.threads == "require" and all(size % 2 == 0 for size in sizes) else 1
    return Topology(sockets=sockets, cores=spec.cpus.most // sockets // threads, threads=threads)


def _numa(spec: Vm, place: Place) -> Numa:
    """Memory of each cell from its home, and what QEMU needs besides from one of the homes."""
    numa = spec.numa or Numa.unsaid()
    nodes = [set_of(id_ for id_, _, _ in cell.memory) for cell in place.cells]
    everywhere = set_of(id_ for cell in place.cells for id_, _, _ in cell.memory)
    cells = tuple(
        cell.model_copy(update={"nodeset": nodeset, "mode": "strict"})
        for cell, nodeset in zip(numa.cells, nodes, strict=False)
    )
    return numa.model_copy(update={"nodeset": everywhere, "mode": "strict", "cells": cells})


# -- what no element of libvirt's says -------------------------------------------------------------------------


def noted(xml: str, place: Place) -> str:
    """A declared definition with a note of where its cells are, if one of them spills.

    `memnode` tells which cells of the host such a guest has memory from, and not how much from each, nor which is its
    home: nothing that libvirt can be asked does.
    """
    if all(
        {id_ for id_, _, _ in cell.memory} | {id_ for id_, _ in cell.floating} <= {cell.home}
        for cell in place.cells
    ):
        return xml
    root = parse_xml(xml)
    metadata = root.find("metadata")
    if metadata is None:
        metadata = etree.SubElement(root, "metadata")
    note = etree.SubElement(metadata, f"{{{_NOTE}}}place", nsmap={"kvmdecl-place": _NOTE})
    for cell in place.cells:
        etree.SubElement(
            note,
            f"{{{_NOTE}}}cell",
            home=str(cell.home),
            memory=" ".join(f"{id_}:{size}:{amount}" for id_, size, amount in cell.memory),
            floating=" ".join(f"{id_}:{count}" for id_, count in cell.floating),
        )
    return to_text(root)


def _note_of(xml: str) -> Sequence[CellPlace | None]:
    """Home, memory and floating vCPUs of each cell, as noted when the definition was last applied."""
    marker = read_marker(xml)
    if marker is None or marker.applied is None:
        return ()
    return [
        _noted_cell(cell)
        for cell in parse_xml(marker.applied).iterfind(f"metadata/{{{_NOTE}}}place/{{{_NOTE}}}cell")
    ]


def _noted_cell(cell: Element) -> CellPlace | None:
    try:
        memory = [tuple(map(int, part.split(":"))) for part in cell.get("memory", "").split()]
        floating = [tuple(map(int, part.split(":"))) for part in cell.get("floating", "").split()]
        return CellPlace(
            int(cell.get("home", "")),
            tuple((id_, size, amount) for id_, size, amount in memory),
            (),
            tuple((id_, count) for id_, count in floating),
        )
    except ValueError:
        return None  # somebody changed it


# -- back again ------------------------------------------------------------------------------------------------


def place_of(host: str, xml: str, shape: Shape) -> Place | None:
    """Where a guest is by its definition; None if it is nowhere that a guest of this shape can be."""
    try:
        root = parse_xml(xml)
        notes = _note_of(xml) if shape.spills else ()
    except BadXml:
        return None
    pins = {_number(pin, "vcpu"): pin.get("cpuset", "") for pin in root.iterfind("cputune/vcpupin")}
    nodes = {_number(node, "cellid"): node.get("nodeset", "") for node in root.iterfind("numatune/memnode")}
    memory = root.find("numatune/memory")
    everywhere = "" if memory is None else memory.get("nodeset", "")
    try:
        cells = tuple(
            _cell_place(demand, pins, nodes.get(number, everywhere), shape, note)
            for number, (demand, note) in enumerate(zip_longest(shape.cells, notes[: len(shape.cells)]))
        )
        emulator = root.find("cputune/emulatorpin")
        own = (
            (_one(emulator.get("cpuset", "")),)
            if emulator is not None and shape.emulator == "isolate"
            else ()
        )
        threads = {
            _number(pin, "iothread"): pin.get("cpuset", "") for pin in root.iterfind("cputune/iothreadpin")
        }
        io_threads = tuple(_one(threads[number]) for number in range(1, shape.io_threads + 1))
    except (KeyError, ValueError):
        return None
    if shape.emulator == "isolate" and not own:
        return None
    return Place(host, cells, own, io_threads)


def _cell_place(
    demand: CellDemand, pins: Mapping[int, str], nodeset: str, shape: Shape, note: CellPlace | None
) -> CellPlace:
    """Raises KeyError or ValueError: there is no such place."""
    nodes = sorted(numbers_of(nodeset))
    pinned = tuple((vcpu, _one(pins[vcpu])) for vcpu in demand.pinned)
    if note is not None and _agrees(note, demand, nodes):
        return replace(note, pins=pinned)
    if len(nodes) > 1 and not shape.spills:
        raise ValueError(nodeset)
    size = shape.pages if isinstance(shape.pages, int) else 4
    each, more = divmod(demand.memory * 1024 // size, len(nodes))
    memory = tuple((node, size, (each + (n < more)) * size // 1024) for n, node in enumerate(nodes))
    return CellPlace(
        nodes[0],
        memory,
        pinned,
        ((nodes[0], len(demand.floating)),) if demand.floating else (),
    )


def _agrees(note: CellPlace, demand: CellDemand, nodes: Sequence[int]) -> bool:
    """Whether a note is about what a cell of a guest is and where it is."""
    memory, floating = (sum(part[-1] for part in parts) for parts in (note.memory, note.floating))
    there = sorted({id_ for id_, _, _ in note.memory}) == nodes
    return there and memory == demand.memory and floating == len(demand.floating)


def _one(cpuset: str) -> int:
    return int(cpuset)


def _number(element: Element, name: str) -> int:
    return int(element.get(name, "-1"))
