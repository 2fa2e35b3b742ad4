"""What a vm that is bound to NUMA cells wants of its host, as a placement solver is asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.manifest.cpus import numbers_of
from kvmdecl.names import KIB, MIB
from kvmdecl.solver import CellDemand, DeviceDemand, Shape

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedVm
    from kvmdecl.manifest import Vm


def shape_of(vm: ResolvedVm) -> Shape | None:
    """What the vm wants of NUMA cells and devices; None for one that takes any CPUs and any memory of its host."""
    spec = vm.spec
    devices = tuple(
        DeviceDemand(request.word, getattr(request, "count", 1), request.numa, request.prefer or "")
        for _, request in spec.device_requests
    )
    labels = tuple(sorted(spec.host_labels.items()))
    if not spec.is_bound:
        return Shape((), devices=devices, labels=labels, memory=_locked(spec)) if devices else None
    cpus = spec.cpus
    return Shape(
        cells=tuple(_cells(spec)),
        threads=cpus.threads or "prefer",
        emulator=cpus.emulator or "float",
        io_threads=(spec.iothreads or 0) if cpus.iothreads_dedicated else 0,
        pages=spec.memory.pages // KIB if spec.memory.pages else "small",
        overhead=overhead(spec),
        spills=spec.numa is not None and spec.numa.spill,
        reach=spec.numa.max_distance if spec.numa is not None else None,
        devices=devices,
        labels=labels,
    )


def _locked(spec: Vm) -> int:
    """MiB of ordinary memory that a guest with devices has from its start: all, for they may write to any of it."""
    parts = [(cell.memory, cell.spec.pages) for cell in spec.cells] or [(spec.memory.most, None)]
    parts += [(module.size, module.pages) for module in spec.memory.modules.values()]
    return -(-sum(size for size, pages in parts if not pages and not spec.memory.pages) // MIB)


def _cells(spec: Vm) -> list[CellDemand]:
    every = frozenset(range(spec.cpus.most))
    pinned = frozenset() if spec.cpus.policy == "shared" else every
    if spec.cpus.dedicated is not None:
        pinned = numbers_of(spec.cpus.dedicated)
    plugged = [0] * max(1, len(spec.cells))
    for module in spec.memory.modules.values():
        plugged[module.cell] += module.size
    cells = [(cell.cpus, cell.memory) for cell in spec.cells] or [(every, spec.memory.most)]
    return [
        CellDemand(tuple(sorted(cpus & pinned)), tuple(sorted(cpus - pinned)), (memory + more) // MIB)
        for (cpus, memory), more in zip(cells, plugged, strict=True)
    ]


def overhead(spec: Vm) -> int:
    """MiB that QEMU takes beside the guest's memory, estimated generously: what is short of it is killed.

    Page tables (8 bytes for each 4 KiB), stacks and caches of threads, what QEMU itself needs, and its helpers.
    """
    threads = spec.cpus.most + (spec.iothreads or 0)
    found = 64 + spec.memory.most // (512 * MIB) + 8 * threads
    if spec.graphics.screens:
        found += 32
    if spec.tpm is not None:
        found += 56
    if spec.launch_security is not None:
        found += 256
    if spec.device_requests or any(device.pci or device.mdev for device in spec.hostdevs):
        found += 1024  # what VFIO maps and locks beside the guest's memory; libvirt lets QEMU lock as much
    return found
