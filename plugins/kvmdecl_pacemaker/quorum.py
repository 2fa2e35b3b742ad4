"""Votes: who may go on after hosts were lost (votequorum(5), corosync-qdevice(8))."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kvmdecl_pacemaker.configuration import Configuration, Corosync


class Votes(NamedTuple):
    """What those who are left have, of what they need. A device outside of the cluster votes for them."""

    left: int
    needed: int

    @property
    def enough(self) -> bool:
        """Whether they go on."""
        return self.left >= self.needed


def votes_after(configuration: Configuration, lost: int) -> Votes:
    """The votes when so many hosts are lost at once."""
    return votes(len(configuration.nodes), configuration.corosync, lost)


def votes(hosts: int, corosync: Corosync, lost: int) -> Votes:
    """The votes of so many hosts when some are lost at once."""
    device = corosync.device
    if corosync.two_node:
        return Votes(hosts - lost, 1)
    extra = 0 if device is None else hosts - 1 if device.algorithm == "lms" else 1
    return Votes(hosts - lost + extra, (hosts + extra) // 2 + 1)
