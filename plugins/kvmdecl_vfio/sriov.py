"""Network cards and other devices with virtual functions (SR-IOV), and the networks that hand these out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Diagnostic, Note, Severity, safe_text
from kvmdecl_vfio.making import NOT_LIBVIRT, how_to_make
from kvmdecl_vfio.view import needed
from kvmdecl_vfio.words import listed, state, title

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Function
    from kvmdecl_vfio.claims import Claim, Handout
    from kvmdecl_vfio.view import View


def check_declared(view: View) -> Iterator[Diagnostic]:
    """Virtual functions that a host shall have (`hosts.NAME.sriov`), and what to do on it where it has fewer."""
    for address, number in view.host.sriov:
        at, card = view.host.origin.find(f"sriov.{address}"), view.tree.functions.get(address)
        if card is None or card.max_virtual < number:
            can = f"that can have {card.max_virtual} at most" if card is not None and card.max_virtual else ""
            why = "there is no such function" if card is None else can or "that can have none"
            yield Diagnostic(
                "vfio.no-sriov",
                f"{view.name} cannot have {number} virtual function{'s' * (number != 1)} of {address}: {why}",
                at,
                "" if card is None else f"It is {title(card)}, {state(card)}.",
                "`kvmdecl devices` lists what it has; the firmware may have switched SR-IOV off",
                subject=f"host/{view.name}",
            )
        elif len(card.virtual) < number:
            yield Diagnostic(
                "vfio.no-virtual-functions",
                f"{address} of {view.name} has {len(card.virtual)} of {number} virtual functions",
                at,
                NOT_LIBVIRT,
                how_to_make(card, number),
                severity=Severity.WARNING,
                subject=f"host/{view.name}",
            )


def check_cards(view: View) -> Iterator[Diagnostic]:
    """A card that is passed on whole takes its virtual functions along: they vanish with its driver."""
    for claim in view.claims:
        card = claim.function
        if card is None or not card.virtual or claim.settled:
            continue
        users = list(_users(view, card))
        count = len(card.virtual)
        yield Diagnostic(
            "vfio.card-and-its-functions",
            f"{claim.address} of {view.name} goes to {claim.vm.name}, and {listed([who for who, _ in users])}"
            " by virtual functions of it"
            if users
            else f"{claim.address} of {view.name} loses its {count} virtual function{'s' * (count != 1)}"
            f" when it goes to {claim.vm.name}",
            claim.at,
            "Its driver makes the virtual functions: they vanish when libvirt takes the card from it.",
            "give away either the card or its virtual functions"
            if users
            else f"is that meant? `echo 0 > /sys/bus/pci/devices/{claim.address}/sriov_numvfs` on the host says so",
            tuple(note for _, note in users),
            severity=Severity.ERROR if users and claim.runs else Severity.WARNING,
            subject=f"vm/{claim.vm.name}",
        )


def _users(view: View, card: Function) -> Iterator[tuple[str, Note]]:
    """Who has virtual functions of a card: who, and the place or fact that says so."""
    for claim in view.claims:
        if claim.address in card.virtual and (claim.runs or claim.may_start):
            yield f"{claim.vm.name} works", Note(f"{claim.given} is given {claim.address} here", claim.at)
    for holder in view.others:
        theirs = sorted(set(card.virtual) & set(holder.addresses))
        if theirs and holder.active:
            who = f"the {holder.kind} {safe_text(holder.name)}"
            yield f"{who} works", Note(f"{who} has {listed(theirs)}")
    for address in card.virtual:
        function = view.tree.functions.get(address)
        if function is not None and (needs := needed(function)):
            yield f"{view.name} itself works", Note(f"{address} has {safe_text(listed(needs))}")


def check_handouts(view: View) -> Iterator[Diagnostic]:
    """Networks of `mode: hostdev`: as many functions as NICs, and none that somebody else has."""
    for handout in view.handouts:
        if handout.lacking:
            yield _too_few(view, handout)
        for claim in view.claims:
            if claim.network != handout.network.name and claim.address in _spare(view, handout):
                yield _next(handout, claim)


def _spare(view: View, handout: Handout) -> set[str]:
    """What a network that is in use has left, and would give to the next NIC. Those given are claims themselves."""
    given = {claim.address for claim in view.claims if claim.network == handout.network.name}
    return set(handout.functions) - given if handout.users else set()


def _too_few(view: View, handout: Handout) -> Diagnostic:
    vm, key = handout.lacking[0]
    name, there, card = handout.network.name, len(handout.functions), handout.card
    have = f"{there} function{'s' * (there != 1)}"
    can_make = card is not None and there < card.max_virtual
    origin = handout.network.origin
    where = Note(f"network {name} has {listed(list(handout.functions)) or 'none'}", origin.at)
    return Diagnostic(
        "vfio.too-few-functions",
        f"network {name} has {have} on {view.name} for {handout.users} NIC{'s' * (handout.users != 1)}",
        vm.origin.find(key),
        "Each NIC of a guest that runs has a function for itself; without one the guest does not start."
        + (f" {NOT_LIBVIRT}" if can_make else ""),
        how_to_make(card, view.declared(card.address) or handout.users)
        if card is not None and can_make
        else "move guests to other hosts, or add functions to the network",
        (where,),
        subject=f"vm/{vm.name}",
    )


def _next(handout: Handout, claim: Claim) -> Diagnostic:
    name = handout.network.name
    return Diagnostic(
        "vfio.handed-out-too",
        f"{claim.address} of {claim.given} is also one that network {name} hands out",
        claim.at,
        f"libvirt gives it to the next NIC on {name} without asking who has it, and that guest does not start.",
        "name a function that no network has, or list the network's others (`pci:`)",
        (Note(f"network {name} has it from here", handout.network.origin.at),),
        severity=Severity.WARNING,
        subject=f"vm/{claim.vm.name}",
    )
