"""Which hosts can have a vm at all, by what the manifest says: those with all of its pools and networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.text import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedNetwork, ResolvedPool, ResolvedVm
    from kvmdecl.facts import HostFacts


class Candidates:
    """An index over pools and networks. Vms with the same needs are answered from memory."""

    def __init__(
        self, hosts: Iterable[str], pools: Iterable[ResolvedPool], networks: Iterable[ResolvedNetwork]
    ) -> None:
        self._hosts = tuple(hosts)
        self._pools = {pool.name: frozenset(pool.hosts) for pool in pools}
        self._networks = {network.name: frozenset(network.hosts) for network in networks}
        self._known: dict[tuple[frozenset[str], frozenset[str]], tuple[str, ...]] = {}

    def of(self, vm: ResolvedVm) -> tuple[str, ...]:
        """Hosts in order of the manifest."""
        needs = pools_of(vm), networks_of(vm)
        if needs not in self._known:
            pools, networks = needs
            holders = [self._pools[name] for name in pools] + [self._networks[name] for name in networks]
            self._known[needs] = tuple(
                host for host in self._hosts if all(host in holder for holder in holders)
            )
        return self._known[needs]

    def missing(self, vm: ResolvedVm, host: str) -> tuple[str, ...]:
        """What a vm needs and a host does not get, as `pool ssd` or `network lan`."""
        pools = (f"pool {name}" for name in sorted(pools_of(vm)) if host not in self._pools[name])
        networks = (f"network {name}" for name in sorted(networks_of(vm)) if host not in self._networks[name])
        return (*pools, *networks)


def pools_of(vm: ResolvedVm) -> frozenset[str]:
    """The pools that hold a vm's disks, what is in its drives, and its seed."""
    drives = [drive.pool for drive in vm.cdroms if drive.pool]
    disks = frozenset([pool for disk in vm.disks for pool in disk.pools] + drives)
    return disks | {vm.seed_pool} if vm.seed_pool else disks


def networks_of(vm: ResolvedVm) -> frozenset[str]:
    """The networks that a vm is plugged into, or listens on."""
    plugged = frozenset([nic.network for nic in vm.nics if nic.network])
    listening = vm.spec.graphics.networks
    return plugged.union(listening) if listening else plugged


class Barred:
    """Why hosts can not have vms, as far as the manifest and the facts tell; room is not looked at."""

    def __init__(self, placed: PlacedCluster, facts: Mapping[str, HostFacts]) -> None:
        cluster = placed.cluster
        self._elsewhere = placed.elsewhere
        self.candidates = Candidates([host.name for host in cluster.hosts], cluster.pools, cluster.networks)
        self._labels = {host.name: host.labels.items() for host in cluster.hosts}
        self._offered = {
            name: {
                (guest.arch, guest.type, machine.name) for guest in fact.guests for machine in guest.machines
            }
            for name, fact in facts.items()
        }

    def why(self, vm: ResolvedVm, host: str) -> str:
        """What keeps a vm from a host, as `gets no pool ssd`; empty if nothing does."""
        if missing := self.candidates.missing(vm, host):
            return f"gets no {listed(missing)}"
        if not self.has_place(vm, host):
            return "has no place for its CPUs, cells or devices"
        if lacking := sorted(vm.spec.host_labels.items() - self._labels[host]):
            return f"has no label {listed([f'{key}={value}' for key, value in lacking])}"
        return "" if self.offers(vm, host) else f"offers no {vm.machine} for {vm.arch} guests of {vm.type}"

    def has_place(self, vm: ResolvedVm, host: str) -> bool:
        """Whether there is a place for one that differs by host; others have one wherever there is room."""
        return vm.name not in self._elsewhere or host == vm.host or host in self._elsewhere[vm.name]

    def is_labelled(self, vm: ResolvedVm, host: str) -> bool:
        """Whether a host has the labels that a vm asks for."""
        return vm.spec.host_labels.items() <= self._labels[host]

    def offers(self, vm: ResolvedVm, host: str) -> bool:
        """Whether a host offers such guests on such a machine, as far as that is known."""
        return host not in self._offered or (vm.arch, vm.type, vm.machine) in self._offered[host]


def homes(placed: PlacedCluster, facts: Mapping[str, HostFacts]) -> dict[str, tuple[str, ...]]:
    """By name of vm, the hosts that could run it if they had room, in order of the manifest.

    They get its pools and networks, have its labels, and offer such guests on such a machine, as far as that is known.
    One that differs by host is at home where there is a place for it. Which of them the manifest names, or the vm
    is on, does not matter.
    """
    barred = Barred(placed, facts)
    return {
        vm.name: tuple(
            host
            for host in barred.candidates.of(vm)
            if barred.has_place(vm, host) and barred.is_labelled(vm, host) and barred.offers(vm, host)
        )
        for vm in placed.vms
        if vm.state != "absent"
    }
