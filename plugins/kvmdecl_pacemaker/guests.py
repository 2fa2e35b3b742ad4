"""A vm -> the resource that runs it (ocf:heartbeat:VirtualDomain), and the file with its definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Diagnostic, Footprint, Rejected, footprint, format_size, groups_of, whole_domain
from kvmdecl_pacemaker.configuration import NEVER, Guest, Location, Operation, Primitive
from kvmdecl_pacemaker.hosts import remote_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmdecl.api import Group, ResolvedHost, ResolvedVm
    from kvmdecl_pacemaker.configuration import Pairs
    from kvmdecl_pacemaker.site import Site

AGENT = "ocf:heartbeat:VirtualDomain"
MIB, GIB = 1024**2, 1024**3
PREFERENCE = 100
"""How much a vm likes the host that the manifest names. Less than stickiness, or it would move back by itself."""
_DESTROYS_BEFORE = 5
"""Seconds before the end of its time to stop a guest at which the agent pulls the plug (VirtualDomain's stop)."""
_TRANSPORTS = {"tls": "tls", "tcp": "tcp", "ssh": "ssh", "libssh2": "ssh"}


def resource(site: Site, vm: ResolvedVm, priority: int) -> Primitive:
    """The resource of a vm. Its name is the domain's: the agent takes it from the definition."""
    return Primitive(
        vm.name,
        AGENT,
        _parameters(site, vm),
        _operations(site, vm),
        _meta(site, vm, priority),
        needs(site, vm),
    )


def guest(site: Site, vm: ResolvedVm) -> Guest:
    """The definition of a vm and where it is.

    Raises:
        Rejected: `ha.no-definitions`.
    """
    pools = {pool.name: pool.spec for pool in site.cluster.pools}
    others = tuple(
        (host, whole_domain(each, pools)) for host, each in sorted(site.elsewhere.get(vm.name, {}).items())
    )
    return Guest(vm.name, path_of(site, vm), whole_domain(vm, pools), site.homes[vm.name], others)


def path_of(site: Site, vm: ResolvedVm) -> str:
    """The file with a vm's definition.

    Raises:
        Rejected: `ha.no-definitions`.
    """
    if site.definitions is None:
        raise Rejected([no_definitions(site)])
    return f"{site.definitions}/{vm.name}.xml"


def no_definitions(site: Site) -> Diagnostic:
    """The diagnostic for a place of definitions that is not clear, or is none."""
    able = ", ".join(pool.name for pool in site.file_pools)
    return Diagnostic(
        "ha.no-definitions",
        "it is not said where the hosts have the definitions of the guests",
        site.cluster.origin.find("ha.definitions"),
        "Pacemaker starts a guest from a file, which has to be there on every host.",
        f"add `definitions:` to `ha`, with a pool of files ({able})" if able
        else "add `definitions: {path: /srv/ha}` to `ha`",
    )  # fmt: skip


def migrates(site: Site, vm: ResolvedVm) -> bool:
    """Whether it is moved while it runs: what is passed on of its host, or shared with it, stays behind.

    Nor does one with CPUs or cells of its host: libvirt would have it on those of the same numbers elsewhere.
    """
    tied = vm.spec.hostdevs or vm.spec.shares or any(m.role == "peer" for m in vm.spec.shared_memory.values())
    differs = vm.spec.is_placed and len(site.homes.get(vm.name, ())) > 1
    return (
        bool(vm.spec.ha and vm.spec.ha.migrate) and not tied and not differs and not _has_function(site, vm)
    )


def _has_function(site: Site, vm: ResolvedVm) -> bool:
    """Whether a NIC is a virtual function of a card, and no part of a team that does without it for a while."""
    passed = {network.name for network in site.cluster.networks if network.spec.mode == "hostdev"}
    return any(
        (nic.network in passed or nic.spec.pci is not None) and nic.failover != "transient" for nic in vm.nics
    )


def crowds(vms: Iterable[ResolvedVm]) -> bool:
    """Whether vms that are kept apart would all rather share a place than stay down."""
    return all(vm.spec.ha is not None and vm.spec.ha.crowd for vm in vms)


def _parameters(site: Site, vm: ResolvedVm) -> Pairs:
    found = {
        "autoset_utilization_cpu": "false",
        "autoset_utilization_host_memory": "false",
        "autoset_utilization_hv_memory": "false",
        "config": path_of(site, vm),
        "hypervisor": "qemu:///system",
    }
    if any(nic.network and not nic.is_bridge for nic in vm.nics):
        found["start_resources"] = "true"
    if migrates(site, vm):
        found |= _way(site)
    return tuple(sorted(found.items()))


def _way(site: Site) -> dict[str, str]:
    """How a guest gets to another host."""
    found: dict[str, str] = {}
    uri = remote_uri(site.hosts)
    if uri is not None:
        found["remoteuri"] = uri
    else:
        found["migration_transport"] = next(
            (_TRANSPORTS[way] for way in map(_transport, site.hosts) if way in _TRANSPORTS), "tls"
        )
    if site.ha.migration.suffix is not None:
        found["migration_network_suffix"] = site.ha.migration.suffix
    if site.ha.migration.options is not None:
        found["migrate_options"] = site.ha.migration.options
    return found


def _transport(host: ResolvedHost) -> str:
    return (host.peer_uri or host.uri).transport


def _operations(site: Site, vm: ResolvedVm) -> tuple[Operation, ...]:
    """What is not written here gets 20 seconds, whatever the agent advises."""
    spec = vm.spec.ha
    gib = -(-vm.memory // GIB)
    every = spec.monitor if spec is not None else 10
    start = (spec.start_timeout if spec is not None else None) or max(90, 60 + 2 * gib)
    found = [
        Operation("monitor", every, max(30, every)),
        Operation("start", 0, start),
        Operation("stop", 0, stop_timeout(vm)),
    ]
    if migrates(site, vm):
        move = max(120, -(-2 * vm.memory // site.ha.migration.bandwidth))
        found += [Operation("migrate_from", 0, max(60, gib)), Operation("migrate_to", 0, move)]
    return tuple(sorted(found, key=lambda operation: operation.name))


def stop_timeout(vm: ResolvedVm) -> int:
    """Seconds: the agent pulls the plug some before, so that the guest has the time that the manifest gives it."""
    return vm.spec.shutdown.timeout + _DESTROYS_BEFORE


def start_timeout(site: Site, vm: ResolvedVm) -> int:
    """Seconds that libvirt may take to start it."""
    return next(operation.timeout for operation in _operations(site, vm) if operation.name == "start")


def _meta(site: Site, vm: ResolvedVm, priority: int) -> Pairs:
    found = {"allow-migrate": str(migrates(site, vm)).lower(), "priority": str(priority)}
    if vm.state == "stopped":
        found["target-role"] = "Stopped"
    if vm.state == "unmanaged":
        found["is-managed"] = "false"
    return tuple(sorted(found.items()))


# -- room --------------------------------------------------------------------------------------------------


def needs(site: Site, vm: ResolvedVm) -> Pairs:
    """What a vm takes of its host, in the names and units of `room_for`: a name that a host lacks counts as none."""
    taken = _utilization(footprint(vm), up=True)
    taken |= {_place(number): 1 for number, group in counted(site) if vm.name in group.members}
    return tuple((name, str(value)) for name, value in sorted(taken.items()))


def room_for(site: Site, room: Footprint) -> Pairs:
    """What a host has for vms. Every name that a vm may ask for is there, be it with nothing."""
    sizes = sorted({size for vm in site.vms for size in footprint(vm).pages})
    there = _utilization(
        Footprint(room.cpus, room.memory, {size: room.pages.get(size, 0) for size in sizes}), up=False
    )
    there |= {_place(number): group.most for number, group in counted(site)}
    return tuple((name, str(value)) for name, value in sorted(there.items()))


def _utilization(of: Footprint, *, up: bool) -> dict[str, int]:
    memory = -(-of.memory // MIB) if up else of.memory // MIB
    pages = {f"pages-{format_size(size)}": count for size, count in of.pages.items()}
    return {"cpu": of.cpus, "hv_memory": memory} | pages


def counted(site: Site) -> Iterator[tuple[int, Group]]:
    """Groups of which a host may have several: so many places there are on each."""
    groups = groups_of(site.vms, {vm.name for vm in site.vms})
    several = [group for group in groups if group.apart and group.most > 1 and group.scope == "host"]
    yield from enumerate(several, 1)


def _place(number: int) -> str:
    return f"place-{number}"


# -- where -------------------------------------------------------------------------------------------------


def preferences(site: Site) -> Iterator[Location]:
    """The host that the manifest names is liked, and a host that cannot have a vm is out of the question."""
    named = {vm.name: vm.host for vm in site.cluster.vms}
    for vm in site.vms:
        for host in site.hosts:
            if host.name not in site.homes[vm.name]:
                yield Location(f"{vm.name}-not-on-{host.name}", vm.name, host.name, NEVER)
        host_ = named.get(vm.name)
        if host_ in site.homes[vm.name]:
            liked = min(PREFERENCE, max(0, site.ha.stickiness - 1))
            if host_ is not None and liked:
                yield Location(f"{vm.name}-likes-{host_}", vm.name, host_, str(liked))
