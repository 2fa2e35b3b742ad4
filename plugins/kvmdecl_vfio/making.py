"""How virtual functions come to be: on the host, by who administers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmdecl.api import Function

NOT_LIBVIRT = (
    "The card's driver makes them, on the host; libvirt has no call for it, so neither has kvmdecl a step."
)


def how_to_make(card: Function, number: int | None) -> str:
    """The command that makes so many virtual functions, `N` if nobody said how many.

    A card that has some has to lose them before it can have another number.
    """
    if card.driver and not card.is_held_by_host:
        return f"give {card.address} back to its driver on the host first: {card.driver} makes none"
    file = f"/sys/bus/pci/devices/{card.address}/sriov_numvfs"
    command = f"{f'echo 0 > {file}; ' if card.virtual else ''}echo {number or 'N'} > {file}"
    said = "" if number else f', and say so: `sriov: {{"{card.address}": N}}`'
    vanish = ", while no guest has one of those that it has" if card.virtual else ""
    return f"run on the host, and at each of its starts: `{command}`{vanish}{said}"
