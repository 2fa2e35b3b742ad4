"""CPUs and memory of a vm as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.names import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.cluster import ResolvedVm
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest import Balloon, Cpus, Memory, Numa

_HOST_MODES = frozenset({"host-model", "host-passthrough", "maximum"})


def cpu(vm: ResolvedVm) -> Element:
    """An emulated guest has no host CPU to show; `maximum` is the nearest that every emulator can do."""
    cpus = vm.spec.cpus
    model = cpus.model or "host-model"
    more = (*_topology(cpus), *_features(cpus))
    if model in _HOST_MODES:
        return node("cpu", *more, mode="maximum" if vm.type == "qemu" else model)
    return node("cpu", node("model", model, fallback="forbid"), *more, mode="custom", match="exact")


def _topology(cpus: Cpus) -> Iterator[Element]:
    if (given := cpus.topology) is not None:
        yield node(
            "topology",
            sockets=str(given.sockets),
            dies=str(given.dies),
            cores=str(given.cores),
            threads=str(given.threads),
        )


def _features(cpus: Cpus) -> Iterator[Element]:
    """What lets guests nest is `vmx` on Intel and `svm` on AMD; the one that a host lacks is left out by it."""
    features: dict[str, str] = dict(cpus.features)
    if cpus.nested is not None:
        features |= dict.fromkeys(("vmx", "svm"), "optional" if cpus.nested else "disable")
    for name, policy in sorted(features.items()):
        yield node("feature", policy=policy, name=name)


def tuning(vm: ResolvedVm) -> Iterator[Element]:
    """What the host gives the guest: `cputune`, `numatune`, `memtune` and `memoryBacking`, each if it says anything."""
    parts = (
        node("cputune", *_cputune(vm.spec.cpus)),
        node("numatune", *_numatune(vm.spec.numa)),
        node("memtune", *_memtune(vm.spec.memory)),
        node("memoryBacking", *_backing(vm.spec.memory)),
    )
    yield from (part for part in parts if len(part))


def _cputune(cpus: Cpus) -> Iterator[Element]:
    for name in ("shares", "period", "quota", "emulator_period", "emulator_quota"):
        if (value := getattr(cpus, name)) is not None:
            yield node(name, str(value))
    for number, cpuset in sorted(cpus.pins.items(), key=lambda pin: int(pin[0])):
        yield node("vcpupin", vcpu=number, cpuset=cpuset)
    if cpus.emulator_pin is not None:
        yield node("emulatorpin", cpuset=cpus.emulator_pin)


def _numatune(numa: Numa | None) -> Iterator[Element]:
    if numa is not None:
        yield node("memory", mode=numa.mode, nodeset=numa.nodeset)


def _memtune(memory: Memory) -> Iterator[Element]:
    for name in ("hard_limit", "soft_limit", "swap_hard_limit"):
        if (value := getattr(memory, name)) is not None:
            yield node(name, str(value // KIB), unit="KiB")


def _backing(memory: Memory) -> Iterator[Element]:
    if memory.pages is not None:
        yield node("hugepages", node("page", size=str(memory.pages // KIB), unit="KiB"))
    if not memory.ksm:
        yield node("nosharepages")
    if memory.locked:
        yield node("locked")
    if memory.source is not None:
        yield node("source", type=memory.source)
    if memory.access is not None:
        yield node("access", mode=memory.access)


def balloon(given: Balloon) -> Element:
    """Without a balloon libvirt adds one, unless it is told not to."""
    model = "virtio" if given.enabled else "none"
    reporting: Mapping[str, str] = {"freePageReporting": "on"} if given.free_page_reporting else {}
    return node("memballoon", model=model, **reporting)
