"""What can be passed on at all, and what the host does with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Diagnostic, Note, Severity, did_you_mean, nodes_of, safe_text
from kvmdecl_vfio.making import NOT_LIBVIRT, how_to_make
from kvmdecl_vfio.view import may_be_needed, needed
from kvmdecl_vfio.words import is_display, listed, state, title, uses, ways

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.api import Function
    from kvmdecl_vfio.claims import Claim
    from kvmdecl_vfio.view import View

_FREE = "free it on the host first (`driverctl set-override {} vfio-pci`), or choose another device"
_MOST_OFFSET = 3
"""Buses from its card's on that a virtual function may be on: a card has at most 256, rarely more than one bus away."""


def check_functions(view: View, all_views: Mapping[str, View]) -> Iterator[Diagnostic]:
    """Each function that somebody is given, for itself."""
    for claim in view.claims:
        if claim.function is None:
            yield _absent(view, claim)
        elif claim.function.is_bridge:
            yield _bridge(view, claim, claim.function)
        elif not view.facts.iommu or claim.function.group is None:
            yield _no_iommu(view, claim, claim.function)
        else:
            yield from _check_driver(view, claim, claim.function)
            yield from _check_use(view, claim, claim.function, all_views)
            yield from _check_companion(view, claim, claim.function)
            yield from _check_nearness(view, claim, claim.function)


def _absent(view: View, claim: Claim) -> Diagnostic:
    cards = [card for card in view.tree.functions.values() if _may_have(card, claim.address)]
    if cards:
        return _not_made(view, claim, min(cards, key=lambda card: len(card.virtual)))
    known = [function.address for function in view.tree.functions.values() if not function.is_bridge]
    return Diagnostic(
        "vfio.no-device",
        f"{view.name} has no PCI function {claim.address}",
        claim.at,
        "A guest starts only with the devices of the host that it is given.",
        did_you_mean(claim.address, known)
        or "`kvmdecl devices` lists what it has; a vm that names a device names its `host`, too",
        severity=claim.severity,
        subject=f"vm/{claim.vm.name}",
    )


def _may_have(card: Function, address: str) -> bool:
    """Whether an address may be that of a virtual function that a card does not have yet: it comes soon after it."""
    (domain, bus), (its_domain, its_bus) = address.split(":")[:2], card.address.split(":")[:2]
    near = domain == its_domain and 0 <= int(bus, 16) - int(its_bus, 16) < _MOST_OFFSET
    return near and address > card.address and len(card.virtual) < card.max_virtual


def _not_made(view: View, claim: Claim, card: Function) -> Diagnostic:
    """A virtual function that is not there, of a card that could have more."""
    return Diagnostic(
        "vfio.no-virtual-functions",
        f"{view.name} has no {claim.address}: {card.address} has {len(card.virtual)} of"
        f" {card.max_virtual} virtual functions",
        claim.at,
        NOT_LIBVIRT,
        how_to_make(card, view.declared(card.address)),
        severity=claim.severity,
        subject=f"vm/{claim.vm.name}",
    )


def _bridge(view: View, claim: Claim, function: Function) -> Diagnostic:
    below = [f.address for f in view.tree.functions.values() if f.upstream == function.address]
    return Diagnostic(
        "vfio.bridge",
        f"{claim.address} of {view.name} is a bridge or port, which no guest can have",
        claim.at,
        "Only what is at the end of a bus is passed on. Bridges and ports stay with the host, whatever their group.",
        f"give {listed(below)}, which {'is' if len(below) == 1 else 'are'} below it"
        if below
        else "leave it out",
        severity=claim.severity,
        subject=f"vm/{claim.vm.name}",
    )


def _no_iommu(view: View, claim: Claim, function: Function) -> Diagnostic:
    whole = not view.facts.iommu
    return Diagnostic(
        "vfio.no-iommu",
        f"{view.name} has no IOMMU at work: {claim.address} cannot be given to {claim.vm.name}"
        if whole
        else f"{claim.address} of {view.name} is in no IOMMU group, and cannot be given to {claim.vm.name}",
        claim.at,
        "Without one a device could reach all memory of the host, so the kernel passes none on."
        if whole
        else f"The host's IOMMU does not serve {title(function)}, so the kernel does not pass it on.",
        "switch it on in the firmware (VT-d, AMD-Vi, SMMU) and on the kernel's command line (`intel_iommu=on`)"
        if whole
        else "choose another device",
        severity=claim.severity,
        subject=f"vm/{claim.vm.name}",
    )


def _check_driver(view: View, claim: Claim, function: Function) -> Iterator[Diagnostic]:
    """Without `managed` libvirt takes a device as it finds it, and it has to be with vfio-pci already."""
    if claim.managed or claim.settled or (function.driver and not function.is_held_by_host):
        return
    driver = safe_text(function.driver)
    now = f"it is with {driver}" if driver else "no driver has it"
    yield Diagnostic(
        "vfio.not-detached",
        f"{claim.address} of {view.name} is not kept for guests: {now}",
        claim.at,
        "With `managed: false` libvirt takes it from nobody, and refuses to start the guest.",
        "leave `managed: false` out, or bind it to vfio-pci on the host (`virsh nodedev-detach`, `driverctl`)",
        severity=claim.severity,
        subject=f"vm/{claim.vm.name}",
    )


def _check_use(
    view: View, claim: Claim, function: Function, all_views: Mapping[str, View]
) -> Iterator[Diagnostic]:
    """What the host loses: an error where something is known to need it, a warning where that may be."""
    if claim.settled or not (claim.managed or claim.runs):
        return
    if needs := needed(function):
        yield Diagnostic(
            "vfio.used-by-host",
            f"{view.name} itself uses {claim.address}: {safe_text(listed(needs))}",
            claim.at,
            f"When {claim.vm.name} starts, libvirt takes the {title(function)} from the host at once, with all that"
            " stands on it.",
            ways(all_views.values(), view, function) or _FREE.format(claim.address),
            (Note(f"{claim.address} {title(function)}: {', '.join([state(function), *uses(function)])}"),),
            subject=f"vm/{claim.vm.name}",
        )
    elif maybe := may_be_needed(function):
        way = ways(all_views.values(), view, function)
        yield Diagnostic(
            "vfio.may-be-used",
            f"{view.name} may use {claim.address} itself: it has {safe_text(listed(maybe))}",
            claim.at,
            f"libvirt cannot tell what stands on it. When {claim.vm.name} starts, it is gone from the host.",
            (way and f"see that nothing needs it; or: {way}") or "see on the host that nothing needs it",
            severity=Severity.WARNING,
            subject=f"vm/{claim.vm.name}",
        )


def _check_companion(view: View, claim: Claim, function: Function) -> Iterator[Diagnostic]:
    """A GPU without the other functions of its device: no sound, and no reset while somebody else has them.

    Those that the group demands are told by `vfio.group-split`.
    """
    if not is_display(function) or function.physical:
        return
    mine = {other.address for other in view.claims_of(claim.vm)}
    kin = [
        other
        for other in view.tree.functions.values()
        if other.slot == function.slot and other.address not in mine and not other.is_bridge
        if not other.physical and not (other.group == function.group and other.is_held_by_host)
    ]
    if kin:
        names = [other.address for other in kin]
        yield Diagnostic(
            "vfio.companion",
            f"{claim.vm.name} is given {claim.address} without {listed(names)} of the same card",
            claim.at,
            "A GPU is reset together with all functions of its card, by who has them all; its sound is one of them.",
            f"pass {listed(names)}, too",
            tuple(Note(f"{other.address} {title(other)}: {state(other)}") for other in kin),
            severity=Severity.WARNING,
            subject=f"vm/{claim.vm.name}",
        )


def _check_nearness(view: View, claim: Claim, function: Function) -> Iterator[Diagnostic]:
    """A device at another NUMA cell than the guest's memory, which then goes the long way."""
    nodes = nodes_of(claim.vm.spec)
    if nodes is None or function.cell is None or function.cell in nodes:
        return
    yield Diagnostic(
        "vfio.device-far",
        f"{claim.address} is at cell {function.cell} of {view.name}, and the memory of {claim.vm.name} is taken from"
        f" {listed([str(node) for node in sorted(nodes)])}",
        claim.at,
        "What the device reads and writes crosses the link between the cells, which is slower.",
        f'take memory and CPUs from cell {function.cell} (`numa: "{function.cell}"`, `cpus.pins`), or another device',
        severity=Severity.WARNING,
        subject=f"vm/{claim.vm.name}",
    )
