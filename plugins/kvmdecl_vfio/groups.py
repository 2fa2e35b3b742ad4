"""IOMMU groups with one owner each.

The kernel lets a guest have a group only if nothing else in it is at work: its other functions have no driver, one that
keeps them for guests, or are bridges and ports (Linux: vfio_dev_viable; since 5.19 iommu_group_claim_dma_owner, with
`driver_managed_dma`, which portdrv has). libvirt refuses a function if an active domain has another one of its group
(virHostdevPreparePCIDevices).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Diagnostic, Note, Severity, safe_text
from kvmdecl_vfio.view import needed
from kvmdecl_vfio.words import listed, members, them, ways, why_together

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmdecl.api import Function, Holder
    from kvmdecl_vfio.claims import Claim
    from kvmdecl_vfio.view import View

_PORT_DRIVER = "pcieport"


def check_groups(view: View, all_views: Mapping[str, View]) -> Iterator[Diagnostic]:
    """Groups that are split between vms, between a vm and its host, or between a vm and somebody else."""
    for number, claims in sorted(view.by_group.items()):
        by_vm: dict[str, list[Claim]] = {}
        for claim in claims:
            by_vm.setdefault(claim.vm.name, []).append(claim)
        firsts = [of[0] for of in by_vm.values()]
        for of in by_vm.values():
            yield from _twice(of)
            yield from _split(view, number, of, firsts, all_views)
            yield from _driven_bridge(view, number, of[0])
        yield from _owners(view, number, firsts, all_views)
        for first in firsts:
            yield from _held(view, number, first)


def _twice(claims: Sequence[Claim]) -> Iterator[Diagnostic]:
    seen: dict[str, Claim] = {}
    for claim in claims:
        other = seen.setdefault(claim.address, claim)
        if other is not claim and not (
            other.is_disk and claim.is_disk
        ):  # those are two namespaces of a drive
            yield Diagnostic(
                "vfio.twice",
                f"{claim.vm.name} is given {claim.address} twice",
                claim.at,
                "A guest has a function once.",
                "keep one of the two",
                (Note("first given here", other.at),),
                subject=f"vm/{claim.vm.name}",
            )


def _owners(
    view: View, number: int, firsts: Sequence[Claim], all_views: Mapping[str, View]
) -> Iterator[Diagnostic]:
    """More than one vm in a group: an error if two shall run, a warning if one may start while the other runs.

    Vms that take turns, all but one of them `stopped` without `autostart`, are left in peace.
    """
    running = [claim for claim in firsts if claim.runs]
    for claim in running[1:]:
        settled = claim.settled and running[0].settled
        yield _two_owners(
            view, number, running[0], claim, all_views, Severity.WARNING if settled else Severity.ERROR
        )
    for claim in firsts if len(firsts) > 1 else ():
        if claim.may_start:
            other = next((c for c in (*running, *firsts) if c.vm.name != claim.vm.name), None)
            if other is not None and (other.runs or other.may_start):
                yield _turns(view, number, other, claim)


def _two_owners(
    view: View, number: int, first: Claim, claim: Claim, all_views: Mapping[str, View], severity: Severity
) -> Diagnostic:
    same = first.address == claim.address
    summary = (
        f"{claim.address} of {view.name} is given to both {first.given} and {claim.given}"
        if same
        else f"{claim.address} of {claim.given} and {first.address} of {first.given} are in one IOMMU group"
    )
    way = "" if claim.function is None else ways(all_views.values(), view, claim.function)
    wanted = {first.address: f"wanted by {first.given}", claim.address: f"wanted by {claim.given}"}
    return Diagnostic(
        "vfio.two-owners",
        summary,
        claim.at,
        "A function has one owner: the second guest would not start."
        if same
        else f"A group has one owner: the second guest would not start. {why_together(view.tree, number)}",
        way or "give all of the group to one of them, or stop one (`state: stopped`, `autostart: false`)",
        (
            Note(f"{first.vm.name} is given {first.address} here", first.at),
            *members(view, number, {} if same else wanted),
        ),
        severity=severity,
        subject=f"vm/{claim.vm.name}",
    )


def _turns(view: View, number: int, other: Claim, claim: Claim) -> Diagnostic:
    how = "is started by hand" if claim.vm.state == "unmanaged" else "starts with its host (`autostart`)"
    return Diagnostic(
        "vfio.one-at-a-time",
        f"{claim.vm.name} and {other.vm.name} cannot run at the same time: both have IOMMU group {number}"
        f" of {view.name}",
        claim.at,
        f"{claim.vm.name} {how}; whichever of the two is the second then does not start.",
        "make one of them `state: stopped`, with `autostart: false`, or give it another device",
        (Note(f"{other.vm.name} is given {other.address} here", other.at),),
        severity=Severity.WARNING,
        subject=f"vm/{claim.vm.name}",
    )


def _held(view: View, number: int, claim: Claim) -> Iterator[Diagnostic]:
    """Somebody who is none of the manifest has a function of the group, or would take it."""
    group = {function.address for function in view.tree.groups[number]}
    for holder in view.others:
        theirs = sorted(group & set(holder.addresses))
        if not theirs or (holder.kind == "network" and claim.address not in theirs):
            continue
        if holder.kind == "domain" and holder.active and claim.runs:
            yield _in_use(view, number, claim, holder, theirs)
        elif holder.active if holder.kind == "network" else holder.autostart and not holder.active:
            yield _may_take(claim, holder, theirs)


def _in_use(view: View, number: int, claim: Claim, holder: Holder, theirs: list[str]) -> Diagnostic:
    who = safe_text(holder.name)
    what = "it" if claim.address in theirs else f"{listed(theirs)} of its IOMMU group"
    return Diagnostic(
        "vfio.in-use",
        f"{claim.address} cannot be given to {claim.vm.name}: the domain {who} of {view.name} has {what}",
        claim.at,
        "That guest runs and is none of this manifest. A group has one owner.",
        f"take it from {who} first, adopt that guest, or choose another device",
        members(view, number, dict.fromkeys(theirs, f"in use by domain {who}")),
        severity=claim.severity,
        subject=f"vm/{claim.vm.name}",
    )


def _may_take(claim: Claim, holder: Holder, theirs: list[str]) -> Diagnostic:
    who = safe_text(holder.name)
    how = "hands out" if holder.kind == "network" else "starts with the host and takes"
    return Diagnostic(
        "vfio.in-use",
        f"the {holder.kind} {who}, none of this manifest, {how} {listed(theirs)} as well",
        claim.at,
        f"Whoever is the second then does not start: {claim.vm.name}, or the other guest.",
        f"take it from {who}, or choose another device",
        severity=Severity.WARNING,
        subject=f"vm/{claim.vm.name}",
    )


def _split(
    view: View, number: int, claims: Sequence[Claim], firsts: Sequence[Claim], all_views: Mapping[str, View]
) -> Iterator[Diagnostic]:
    """A group that is split between a vm and its host: the rest of it has drivers of the host."""
    mine = {claim.address for claim in claims}
    elsewhere = {c.address for c in view.by_group[number] if c.runs and c.vm.name != claims[0].vm.name}
    elsewhere |= {address for other in view.others if other.active for address in other.addresses}
    first = claims[0]
    if first.settled or first.function is None or first.function.is_bridge:
        return
    left = [
        function
        for function in view.tree.companions(first.function)
        if function.address not in mine | elsewhere and function.is_held_by_host
    ]
    if not left:
        return
    names = [function.address for function in left]
    yield Diagnostic(
        "vfio.group-split",
        f"{first.address} cannot be given to {first.vm.name} alone: {listed(names)} of its IOMMU group"
        f" {'stays' if len(names) == 1 else 'stay'} with {view.name}",
        first.at,
        f"A group has one owner, and the guest would not start. {why_together(view.tree, number)}",
        _way_out(view, first, left, all_views),
        members(view, number, dict.fromkeys(sorted(mine), f"wanted by {first.vm.name}")),
        severity=first.severity,
        subject=f"vm/{first.vm.name}",
    )


def _driven_bridge(view: View, number: int, claim: Claim) -> Iterator[Diagnostic]:
    """A bridge of the group whose driver has the kernel look after its memory, too; portdrv does not (Linux 5.19)."""
    if claim.settled or not claim.runs or claim.function is None or claim.function.is_bridge:
        return
    for bridge in view.tree.groups[number]:
        if bridge.is_bridge and bridge.is_held_by_host and bridge.driver != _PORT_DRIVER:
            driver = safe_text(bridge.driver)
            yield Diagnostic(
                "vfio.bridge-driver",
                f"{bridge.address} in the IOMMU group of {claim.address} is with {driver}, not {_PORT_DRIVER}",
                claim.at,
                f"From Linux 5.19 on it keeps {claim.vm.name} from starting: only {_PORT_DRIVER} leaves it alone.",
                f"on the host: `driverctl set-override {bridge.address} none`; or use another slot",
                members(view, number, {claim.address: f"wanted by {claim.vm.name}"}),
                severity=Severity.WARNING,
                subject=f"vm/{claim.vm.name}",
            )


def _way_out(view: View, claim: Claim, left: Sequence[Function], all_views: Mapping[str, View]) -> str:
    """Pass the rest, too, unless the host needs it; another device; another slot."""
    names = [function.address for function in left]
    other = "" if claim.function is None else ways(all_views.values(), view, claim.function)
    if any(map(needed, left)) or any(use.kind == "disk" for function in left for use in function.uses):
        return other or "put the card into a slot below another port, or use another host"
    if any(function.physical or function.virtual for function in left):
        return other or f"give {claim.vm.name} a card whose functions are in groups of their own"
    return f"pass {listed(names)}, too" + (
        f"; or: {other}" if other else f", or unbind {them(names)} from the host's driver"
    )
