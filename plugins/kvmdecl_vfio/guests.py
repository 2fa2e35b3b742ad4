"""What having a device means for the guest itself: its memory, migration, and what GPUs need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Diagnostic, Severity, about_size, set_aside
from kvmdecl_vfio.words import few, is_display

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmdecl.api import ResolvedVm
    from kvmdecl_vfio.claims import Claim
    from kvmdecl_vfio.view import View

_NVIDIA = "10de"


def check_guests(view: View) -> Iterator[Diagnostic]:
    """Each guest of a host that has a device."""
    by_vm = _by_vm(view)
    for claims in by_vm.values():
        vm = claims[0].vm
        yield from _check_iommu(vm, claims)
    yield from _check_pinned(view, [claims[0] for claims in by_vm.values()])


def remarks(all_views: Iterable[View]) -> Iterator[Diagnostic]:
    """What is to be known of guests that get their first device, or their first GPU: said once, for all of them."""
    new = [
        (vm_claims[0].vm, vm_claims)
        for view in all_views
        if view.is_asked
        for vm_claims in _by_vm(view).values()
        if all(claim.is_new for claim in vm_claims)
    ]
    staying = [(vm, of) for vm, claims in new if (of := [claim for claim in claims if not claim.leaves])]
    if staying:
        yield _no_migration(staying)
    advised: dict[str, list[Claim]] = {}
    for vm, claims in new:
        gpus = [claim for claim in claims if claim.function is not None and is_display(claim.function)]
        if gpus and (advice := "; ".join(_gpu_advice(vm, gpus))):
            advised.setdefault(advice, []).append(gpus[0])
    for advice, firsts in advised.items():
        yield _gpu(advice, firsts)


def _by_vm(view: View) -> dict[str, list[Claim]]:
    by_vm: dict[str, list[Claim]] = {}
    for claim in view.claims:
        if claim.function is not None and not claim.function.is_bridge:
            by_vm.setdefault(claim.vm.name, []).append(claim)
    return by_vm


def _check_iommu(vm: ResolvedVm, claims: Sequence[Claim]) -> Iterator[Diagnostic]:
    iommu = vm.spec.iommu
    if iommu is not None and iommu.model == "intel" and not iommu.caching_mode:
        yield Diagnostic(
            "vfio.caching-mode",
            f"the IOMMU of {vm.name} does not tell QEMU of new mappings",
            vm.origin.find("iommu"),
            "QEMU refuses to start a guest with an Intel IOMMU and a device of the host unless it is told of them.",
            "add `caching_mode: true`, or leave `iommu` out",
            severity=claims[0].severity,
            subject=f"vm/{vm.name}",
        )


def _no_migration(staying: Sequence[tuple[ResolvedVm, list[Claim]]]) -> Diagnostic:
    names = [vm.name for vm, _ in staying]
    return Diagnostic(
        "vfio.no-migration",
        f"{few(names)} cannot be migrated: {'it has' if len(names) == 1 else 'they have'} devices of the host",
        staying[0][1][0].at,
        "What a device knows of its guest stays in the device. The guest has to be off to go to another host.",
        "nothing need be done; a NIC of a `team` is unplugged for a migration",
        severity=Severity.INFO,
        subject=f"vm/{names[0]}",
    )


def _gpu(advice: str, firsts: Sequence[Claim]) -> Diagnostic:
    names = [claim.vm.name for claim in firsts]
    return Diagnostic(
        "vfio.gpu",
        f"{few(names)} {'gets a GPU' if len(names) == 1 else 'get GPUs'}: {advice}",
        firsts[0].at,
        "Some cards and drivers need it, and nobody can tell from here which.",
        "nothing need be done if the guest's screen works",
        severity=Severity.INFO,
        subject=f"vm/{names[0]}",
    )


def _gpu_advice(vm: ResolvedVm, claims: Sequence[Claim]) -> Iterator[str]:
    spec, gpus = vm.spec, [claim.function for claim in claims if claim.function is not None]
    if spec.firmware.type != "uefi":
        yield "`firmware: uefi` needs no old VGA registers (QEMU's x-vga), of which a host has but one set"
    every = (*spec.hostdevs, *(given.device for given in vm.given))
    devices = [device.pci for device in every if device.pci is not None]
    firsts = {gpu.address for gpu in gpus if any(use.kind == "display" for use in gpu.uses)}
    if any(d.address in firsts and d.rom is not False and d.rom_file is None for d in devices):
        yield "`rom_file` gives it its ROM, if the host's own screen is on it and has used it up"
    if any(gpu.vendor == _NVIDIA for gpu in gpus) and not spec.features.kvm_hidden:
        yield "`features: {kvm_hidden: true}` is for NVIDIA's drivers before 465, which leave a guest's GPU alone"


def _check_pinned(view: View, firsts: Sequence[Claim]) -> Iterator[Diagnostic]:
    """Memory of guests with devices is all taken when they start, and is never swapped out."""
    room = view.facts.memory - set_aside(view.host, view.facts)
    pinned = 0
    for claim in firsts:
        vm = claim.vm
        if not claim.runs or vm.spec.memory.pages is not None:
            continue
        before, pinned = pinned, pinned + vm.spec.memory.most
        if before <= room < pinned:
            yield Diagnostic(
                "vfio.memory-over-host",
                f"guests with devices take {about_size(pinned)} of {view.name}, and it has {about_size(room)}",
                vm.origin.find("memory"),
                "A device may write to any of its guest's memory, so all of that is taken when the guest starts and"
                f" never swapped out: {vm.name} would not start.",
                "give them less memory, or move one to another host",
                severity=claim.severity,
                subject=f"vm/{vm.name}",
            )
