"""One host with all that is asked of its PCI functions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kvmdecl.api import HostState, holders, passed_on, pci_tree, with_uses
from kvmdecl_vfio.claims import Guests, handed_out, named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmdecl.api import (
        Function,
        Holder,
        HostFacts,
        PciTree,
        PlacedCluster,
        ResolvedHost,
        ResolvedNetwork,
        ResolvedVm,
    )
    from kvmdecl_vfio.claims import Claim, Handout


@dataclass(frozen=True)
class View:
    """A host.

    Attributes:
        host: as the manifest has it.
        facts: what it is.
        state: what there is on it.
        vms: of the manifest that are there, or go there.
        networks: of `mode: hostdev` that it gets.
        ours: UUIDs of all vms of the manifest, wherever they are.
    """

    host: ResolvedHost
    facts: HostFacts
    state: HostState
    vms: Sequence[ResolvedVm]
    networks: Sequence[ResolvedNetwork]
    ours: frozenset[str]

    @property
    def name(self) -> str:
        """The host's name."""
        return self.host.name

    @cached_property
    def tree(self) -> PciTree:
        """Its PCI functions."""
        return pci_tree(with_uses(self.facts, self.state, self.host.uri.host or ""))

    @cached_property
    def holders(self) -> tuple[Holder, ...]:
        """Who has, or would take, functions by what is defined there now."""
        return holders(self.state)

    @cached_property
    def others(self) -> tuple[Holder, ...]:
        """Those of them that are none of this manifest."""
        mine = {network.uuid for network in self.networks} | self.ours
        return tuple(holder for holder in self.holders if holder.uuid not in mine)

    @cached_property
    def guests(self) -> Guests:
        """The vms, as domains of the host."""
        return Guests.of(self.vms, self.state, self.holders)

    @cached_property
    def _handed(self) -> tuple[tuple[Handout, tuple[Claim, ...]], ...]:
        found = (handed_out(network, self.guests, self.tree) for network in self.networks)
        return tuple(each for each in found if each is not None)

    @property
    def handouts(self) -> tuple[Handout, ...]:
        """Its networks of `mode: hostdev`, as far as it is known what they have."""
        return tuple(handout for handout, _ in self._handed)

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """All that is given to vms, in the manifest's order."""
        handed = (claim for _, claims in self._handed for claim in claims)
        return (*named(self.guests, self.tree), *handed)

    @cached_property
    def by_group(self) -> dict[int, list[Claim]]:
        """The claims of each IOMMU group."""
        found: dict[int, list[Claim]] = {}
        for claim in self.claims:
            if claim.function is not None and claim.function.group is not None:
                found.setdefault(claim.function.group, []).append(claim)
        return found

    @property
    def is_asked(self) -> bool:
        """Whether anything of the manifest is about its devices."""
        if self.host.sriov or self.networks:
            return True
        return any(next(passed_on(vm), None) is not None for vm in self.vms)

    def declared(self, card: str) -> int | None:
        """How many virtual functions the manifest says that a card of the host has (`sriov`)."""
        return dict(self.host.sriov).get(card)

    def claims_of(self, vm: ResolvedVm) -> tuple[Claim, ...]:
        """What a vm is given."""
        return tuple(claim for claim in self.claims if claim.vm.name == vm.name)

    @cached_property
    def _taken(self) -> frozenset[str]:
        """What is given to somebody, or somebody has."""
        held = (address for holder in self.holders for address in holder.addresses)
        return frozenset((*(claim.address for claim in self.claims), *held))

    def is_free(self, function: Function) -> bool:
        """Whether a guest could be given it as things are: it and its group are nobody's, and the host misses none."""
        group = (function, *self.tree.companions(function))
        if function.is_bridge or function.group is None or function.virtual or needed(function):
            return False
        if may_be_needed(function):
            return False
        return all(member.address not in self._taken for member in group) and not any(
            member.is_held_by_host for member in group[1:]
        )


def needed(function: Function) -> tuple[str, ...]:
    """What the host certainly uses it for."""
    return tuple(f"{use.name} ({use.purpose})" for use in function.uses if use.purpose)


def may_be_needed(function: Function) -> tuple[str, ...]:
    """What nobody knows the purpose of: disks and displays, and a network interface with its cable in.

    A virtual function is made for guests.
    """
    return tuple(
        f"the {use.kind} {use.name}" + (", whose link is up" if use.kind == "network" else "")
        for use in function.uses
        if not use.purpose and (use.kind != "network" or (use.link == "up" and not function.physical))
    )


def views(
    cluster: PlacedCluster, facts: Mapping[str, HostFacts], existing: Mapping[str, HostState]
) -> dict[str, View]:
    """All hosts whose devices were read."""
    by_host: dict[str | None, list[ResolvedVm]] = {}
    for vm in cluster.vms:
        if vm.state != "absent":
            by_host.setdefault(vm.host, []).append(vm)
    networks = [n for n in cluster.cluster.networks if n.spec.mode == "hostdev" and n.spec.state == "active"]
    ours = frozenset(vm.uuid for vm in cluster.cluster.vms)
    return {
        host.name: View(
            host,
            facts[host.name],
            existing.get(host.name, HostState()),
            by_host.get(host.name, []),
            [network for network in networks if host.name in network.hosts],
            ours,
        )
        for host in cluster.cluster.hosts
        if host.name in facts and facts[host.name].devices
    }
