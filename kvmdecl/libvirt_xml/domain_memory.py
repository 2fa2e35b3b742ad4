"""Memory of a vm as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.domain_cpu import cputune
from kvmdecl.manifest.memory import SLOTS
from kvmdecl.names import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.cluster import ResolvedVm
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest import Balloon, Memory, Numa, Vm
    from kvmdecl.manifest.memory import MemoryModule


def sizes(vm: ResolvedVm) -> Iterator[Element]:
    """`maxMemory`, `memory` and `currentMemory`.

    With NUMA cells libvirt sums up the first of the last two, and without the other one the guest has all of that and
    of what is plugged in.
    """
    memory = vm.spec.memory
    if memory.hotplug_max is not None:
        yield node("maxMemory", _kib(memory.hotplug_max), slots=str(memory.slots or SLOTS), unit="KiB")
    yield node("memory", _kib(vm.max_memory), unit="KiB")
    if not vm.spec.cells or vm.memory < vm.max_memory:
        yield node("currentMemory", _kib(vm.memory), unit="KiB")


def _kib(size: int) -> str:
    return str(size // KIB)


def guest_numa(spec: Vm) -> Element | None:
    """The NUMA cells that the guest sees."""
    cells = (
        node(
            "cell",
            bool(cell.spec.distances) and _distances(cell.spec.distances),
            id=str(cell.id),
            cpus=",".join(map(str, sorted(cell.cpus))),
            memory=_kib(cell.memory),
            unit="KiB",
            memAccess=cell.spec.access,
            discard=None if cell.spec.discard is None else ("yes" if cell.spec.discard else "no"),
        )
        for cell in spec.cells
    )
    return node("numa", *cells) if spec.cells else None


def _distances(distances: tuple[int, ...]) -> Element:
    siblings = (node("sibling", id=str(other), value=str(value)) for other, value in enumerate(distances))
    return node("distances", *siblings)


def tuning(vm: ResolvedVm) -> Iterator[Element]:
    """What the host gives the guest: `cputune`, `numatune`, `memtune` and `memoryBacking`, each if it says anything."""
    spec = vm.spec
    parts = (
        cputune(vm),
        node("numatune", *_numatune(spec.numa)),
        node("memtune", *_memtune(spec.memory)),
        node("memoryBacking", *_backing(spec)),
    )
    yield from (part for part in parts if len(part))


def _numatune(numa: Numa | None) -> Iterator[Element]:
    if numa is None:
        return
    if numa.nodeset is not None:
        yield node("memory", mode=numa.mode or "strict", nodeset=numa.nodeset)
    for number, cell in enumerate(numa.cells):
        if cell.nodeset is not None:
            yield node("memnode", cellid=str(number), mode=cell.mode or "strict", nodeset=cell.nodeset)


def _memtune(memory: Memory) -> Iterator[Element]:
    for name in ("hard_limit", "soft_limit", "swap_hard_limit"):
        if (value := getattr(memory, name)) is not None:
            yield node(name, _kib(value), unit="KiB")


def _backing(spec: Vm) -> Iterator[Element]:
    memory = spec.memory
    if pages := tuple(_pages(spec)):
        yield node("hugepages", *pages)
    if not memory.ksm:
        yield node("nosharepages")
    if memory.locked:
        yield node("locked")
    if memory.source is not None:
        yield node("source", type=memory.source)
    if memory.access is not None:
        yield node("access", mode=memory.access)
    if memory.allocation is not None:
        threads = None if memory.allocation_threads is None else str(memory.allocation_threads)
        yield node("allocation", mode=memory.allocation, threads=threads)
    if memory.discard:
        yield node("discard")


def _pages(spec: Vm) -> Iterator[Element]:
    """Those of all memory, and those of cells that have others: of one size together, as libvirt wants them."""
    usual = spec.memory.pages
    if usual is not None:
        yield node("page", size=_kib(usual), unit="KiB")
    others: dict[int, list[str]] = {}
    for cell in spec.cells:
        if cell.spec.pages not in {None, usual}:
            others.setdefault(cell.spec.pages or 0, []).append(str(cell.id))
    for size, numbers in sorted(others.items()):
        yield node("page", size=_kib(size), unit="KiB", nodeset=",".join(numbers))


def modules(spec: Vm) -> Iterator[Element]:
    """Memory that is plugged in."""
    for name, module in spec.memory.modules.items():
        yield node(
            "memory",
            *_source(module),
            node("target", *_target(module)),
            node("alias", name=f"ua-{name}"),
            model=module.model,
        )


def _source(module: MemoryModule) -> Iterator[Element]:
    parts = (
        module.path is not None and node("path", module.path),
        module.pages is not None and node("pagesize", _kib(module.pages), unit="KiB"),
        module.nodeset is not None and node("nodemask", module.nodeset),
    )
    if any(part is not False for part in parts):
        yield node("source", *parts)


def _target(module: MemoryModule) -> Iterator[Element]:
    yield node("size", _kib(module.size), unit="KiB")
    yield node("node", str(module.cell))
    if module.label is not None:
        yield node("label", node("size", _kib(module.label), unit="KiB"))
    if module.model == "virtio-mem":
        yield node("block", _kib(module.steps), unit="KiB")
        requested = module.size if module.requested is None else module.requested
        yield node("requested", _kib(requested), unit="KiB")


def balloon(given: Balloon) -> Element:
    """Without a balloon libvirt adds one, unless it is told not to."""
    model = "virtio" if given.enabled else "none"
    return node(
        "memballoon",
        given.stats_period is not None and node("stats", period=str(given.stats_period)),
        model=model,
        freePageReporting="on" if given.free_page_reporting else None,
        autodeflate="on" if given.autodeflate else None,
    )
