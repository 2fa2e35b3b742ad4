"""Which hosts can have a vm at all, by what the manifest says: those with all of its pools and networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def homes(placed: PlacedCluster, facts: Mapping[str, HostFacts]) -> dict[str, tuple[str, ...]]:
    """By name of vm, the hosts that could run it if they had room, in order of the manifest.

    They get its pools and networks, have its labels, and offer such guests on such a machine, as far as that is known.
    Which of them the manifest names, or the vm is on, does not matter.
    """
    cluster = placed.cluster
    candidates = Candidates([host.name for host in cluster.hosts], cluster.pools, cluster.networks)
    labels = {host.name: host.labels.items() for host in cluster.hosts}
    offered = {
        name: {(guest.arch, guest.type, machine.name) for guest in fact.guests for machine in guest.machines}
        for name, fact in facts.items()
    }
    return {
        vm.name: tuple(
            host
            for host in candidates.of(vm)
            if vm.spec.host_labels.items() <= labels[host]
            and (host not in offered or (vm.arch, vm.type, vm.machine) in offered[host])
        )
        for vm in placed.vms
        if vm.state != "absent"
    }
