"""CPUs of a vm as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.architectures import ARCHITECTURES
from kvmdecl.libvirt_xml.build import node
from kvmdecl.manifest.cpus import LEVEL_MODEL, LEVELS, numbers_of
from kvmdecl.names import KIB
from kvmdecl.words import LIMITS, NESTING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.cluster import ResolvedVm
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest import BandwidthShare, CacheShare, Cpus, Scheduler


def cpu(vm: ResolvedVm, numa: Element | None = None) -> Element | None:
    """The CPU, with the NUMA cells that the guest sees.

    An emulated guest has no host CPU to show; `maximum` is the nearest, where the emulator has it.
    """
    cpus = vm.spec.cpus
    more = (*_topology(cpus), *_cache(cpus), *_address_bits(cpus), *_features(vm), numa)
    if cpus.is_named:
        model = LEVEL_MODEL if cpus.model in LEVELS else cpus.model
        return node(
            "cpu",
            node("model", model, fallback=cpus.fallback or "forbid"),
            cpus.vendor is not None and node("vendor", cpus.vendor),
            *more,
            mode="custom",
            match=cpus.match or "exact",
            check=cpus.check,
        )
    usual = ARCHITECTURES[vm.arch]
    mode = usual.emulated_cpu if vm.type == "qemu" else cpus.model or usual.cpu
    given = node("cpu", *more, mode=mode, check=cpus.check, migratable=_switch(on=cpus.migratable))
    return given if len(given) or given.attrib else None


def _switch(*, on: bool | None) -> str | None:
    return None if on is None else ("on" if on else "off")


def _cache(cpus: Cpus) -> Iterator[Element]:
    if cpus.cache is not None:
        yield node("cache", level="3" if cpus.cache == "emulate" else None, mode=cpus.cache)


def _address_bits(cpus: Cpus) -> Iterator[Element]:
    if cpus.address_bits == "host":
        yield node("maxphysaddr", mode="passthrough")
    elif cpus.address_bits is not None:
        yield node("maxphysaddr", mode="emulate", bits=str(cpus.address_bits))


def _topology(cpus: Cpus) -> Iterator[Element]:
    if (given := cpus.topology) is not None:
        yield node(
            "topology",
            sockets=str(given.sockets),
            dies=str(given.dies),
            cores=str(given.cores),
            threads=str(given.threads),
        )


def _features(vm: ResolvedVm) -> Iterator[Element]:
    """What lets guests nest is `vmx` on Intel and `svm` on AMD; the one that a host lacks is left out by it."""
    cpus = vm.spec.cpus
    features: dict[str, str] = dict.fromkeys(LEVELS.get(cpus.model or "", ()), "require")
    features |= cpus.features
    if cpus.nested is True:
        features |= dict.fromkeys(NESTING, "optional")
    elif cpus.nested is False and vm.type == "kvm" and ARCHITECTURES[vm.arch].is_pc:
        features = dict.fromkeys(NESTING, "disable") | features
    for name, policy in sorted(features.items()):
        yield node("feature", policy=policy, name=name)


def cputune(vm: ResolvedVm) -> Element:
    """What the host gives the vCPUs and QEMU's other threads; may be empty."""
    return node("cputune", *_cputune(vm))


def _cputune(vm: ResolvedVm) -> Iterator[Element]:
    cpus = vm.spec.cpus
    for name in LIMITS:
        if (value := getattr(cpus, name)) is not None:
            yield node(name, str(value))
    for vcpu, cpuset in cpus.pinned.items():
        yield node("vcpupin", vcpu=str(vcpu), cpuset=cpuset)
    if cpus.emulator_pin is not None:
        yield node("emulatorpin", cpuset=cpus.emulator_pin)
    for number, cpuset in sorted(cpus.iothread_pins.items(), key=lambda pin: int(pin[0])):
        yield node("iothreadpin", iothread=number, cpuset=cpuset)
    yield from _schedulers(vm)
    if vm.type == "kvm":  # QEMU's emulation has no threads for vCPUs of which each has its share
        yield from _shares(cpus)


def _schedulers(vm: ResolvedVm) -> Iterator[Element]:
    """One element for each thread, as libvirt writes them (virDomainSchedulerFormat)."""
    cpus = vm.spec.cpus
    if (of_vcpus := cpus.scheduler) is not None:
        for number in sorted(numbers_of(of_vcpus.only or f"0-{cpus.most - 1}")):
            yield node("vcpusched", vcpus=str(number), **_policy(of_vcpus))
    if (of_io := cpus.iothread_scheduler) is not None:
        for number in sorted(numbers_of(of_io.only or f"1-{vm.spec.iothreads}")):
            yield node("iothreadsched", iothreads=str(number), **_policy(of_io))
    if cpus.emulator_scheduler is not None:
        yield node("emulatorsched", **_policy(cpus.emulator_scheduler))


def _policy(given: Scheduler) -> dict[str, str | None]:
    return {"scheduler": given.policy, "priority": str(given.priority or 1) if given.is_realtime else None}


def _shares(cpus: Cpus) -> Iterator[Element]:
    """One element for each set of vCPUs and kind of share."""
    groups: dict[tuple[str, frozenset[int]], Element] = {}
    parts = [("cachetune", share.vcpus, _cache_share(share)) for share in cpus.cache_shares]
    parts += [("memorytune", share.vcpus, _bandwidth_share(share)) for share in cpus.bandwidth_shares]
    for tag, vcpus, part in parts:
        groups.setdefault((tag, numbers_of(vcpus)), node(tag, vcpus=vcpus)).append(part)
    yield from groups.values()


def _cache_share(share: CacheShare) -> Element:
    size = str(share.size // KIB)
    return node("cache", id=str(share.bank), level=share.level, type=share.type, size=size, unit="KiB")


def _bandwidth_share(share: BandwidthShare) -> Element:
    return node("node", id=str(share.node), bandwidth=str(share.percent))
