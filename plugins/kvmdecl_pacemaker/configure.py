"""PlacedCluster, facts -> Configuration. Pure: the same cluster gives the same values, whoever asks and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Diagnostic, Footprint, Rejected, footprint, homes, room_of
from kvmdecl_pacemaker.configuration import (
    Configuration,
    Corosync,
    Node,
    QuorumDevice,
    Release,
    Tag,
)
from kvmdecl_pacemaker.fencing import HEAD_START, fencing, watchdog_timeout
from kvmdecl_pacemaker.guests import guest, preferences, resource, room_for
from kvmdecl_pacemaker.hosts import attribute, links, node_ids
from kvmdecl_pacemaker.model import Ha
from kvmdecl_pacemaker.ours import protection_tag
from kvmdecl_pacemaker.priorities import priorities
from kvmdecl_pacemaker.rules import rules
from kvmdecl_pacemaker.services import services
from kvmdecl_pacemaker.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.api import HostFacts, PlacedCluster, ResolvedHost
    from kvmdecl_pacemaker.configuration import Pairs

SECTION = "ha"
_RELEASES = {
    # First release -> what it understands. A newer one takes what is written for an older one.
    (2, 0, 5): Release("pacemaker-3.4", "3.4.1", "stonith"),
    (2, 1, 0): Release("pacemaker-3.7", "3.10.0", "stonith"),
    (2, 1, 5): Release("pacemaker-3.9", "3.16.1", "stonith"),
    (3, 0, 2): Release("pacemaker-3.9", "3.19.0", "fencing"),
}
_MANY_HOSTS = 32
_SEND_JOIN = 80
_NO_LABEL = "-"
"""What hosts without a label have in common: they count as one place."""


def configure(placed: PlacedCluster, facts: Mapping[str, HostFacts]) -> Configuration:
    """The cluster as Pacemaker and corosync see it.

    Args:
        placed: every vm, whatever its host: which of its homes a vm runs on is Pacemaker's to say.
        facts: what each host is; those of all are needed.

    Raises:
        Rejected: `ha.no-section`, `ha.host-unknown`, `ha.vm-unknown`, `ha.no-definitions`.
    """
    site = site_of(placed, facts)
    names = [host.name for host in site.hosts]
    switch = fencing(site.ha, names, per_host_delays=version(site.ha) >= (2, 1, 2))
    hosts = nodes(site, placed, facts)
    ranked = priorities(site, hosts)
    running = services(site)
    vms = tuple(resource(site, vm, ranked[vm.name]) for vm in site.vms)
    made = rules(site, running)
    return Configuration(
        release=release(site.ha),
        corosync=corosync(site),
        options=_options(site, switch.seconds),
        defaults=_sorted(
            {
                "failure-timeout": f"{site.ha.forget_failures}s",
                "migration-threshold": str(site.ha.failures),
                "resource-stickiness": str(site.ha.stickiness),
            }
        ),
        nodes=hosts,
        devices=switch.devices,
        levels=switch.levels,
        services=running.clones,
        resources=vms,
        locations=tuple(sorted((*switch.bans, *preferences(site)), key=lambda rule: rule.id)),
        orders=made.orders,
        colocations=made.colocations,
        tags=tuple(_tags(site)),
        guests=tuple(guest(site, vm) for vm in site.vms),
        secrets=switch.secrets,
        remote_port=site.ha.remote.port if site.ha.remote is not None else 0,
    )


def _tags(site: Site) -> Iterator[Tag]:
    """What its owner tells of resources: who is a vm, and who is not taken away."""
    name, protected = site.cluster.name, tuple(vm.name for vm in site.vms if vm.spec.protect)
    if site.vms:
        yield Tag(f"{name}-vms", tuple(vm.name for vm in site.vms))
    if protected:
        yield Tag(protection_tag(name), protected)


def site_of(placed: PlacedCluster, facts: Mapping[str, HostFacts]) -> Site:
    """What the rest is made of.

    Raises:
        Rejected: as `configure`.
    """
    cluster = placed.cluster
    ha = cluster.sections.get(SECTION)
    if not isinstance(ha, Ha):
        raise Rejected(
            [Diagnostic("ha.no-section", "the manifest has no section `ha`", cluster.origin.at,
                        hint="add `ha:` with `fencing`")]
        )  # fmt: skip
    found = [_host_unknown(host) for host in cluster.hosts if host.name not in facts]
    wanted = [vm for vm in cluster.vms if vm.spec.is_ha and vm.state != "absent"]
    there = {vm.name: vm for vm in placed.vms}
    if not found:
        found += [
            Diagnostic("ha.vm-unknown", f"what {vm.name} shall be is not known before all hosts answer",
                       vm.origin.at, subject=f"vm/{vm.name}")
            for vm in wanted if vm.name not in there
        ]  # fmt: skip
    if found:
        raise Rejected(found)
    return Site(
        ha,
        cluster,
        cluster.hosts,
        tuple(there[vm.name] for vm in sorted(wanted, key=lambda vm: vm.name)),
        homes(placed, facts),
        placed.elsewhere,
    )


def _host_unknown(host: ResolvedHost) -> Diagnostic:
    return Diagnostic(
        "ha.host-unknown",
        f"{host.name} did not answer",
        host.origin.at,
        "How much room it has for guests is a part of Pacemaker's configuration.",
        "bring it back, or use `--facts` with what `kvmdecl facts` saved",
        subject=f"host/{host.name}",
    )


def version(ha: Ha) -> tuple[int, ...]:
    """Version of the oldest Pacemaker."""
    return tuple(int(part) for part in ha.pacemaker.split("."))


def release(ha: Ha) -> Release:
    """What the oldest Pacemaker understands."""
    return max((first, known) for first, known in _RELEASES.items() if first <= max(version(ha), (2, 0, 5)))[
        1
    ]


def _sorted(values: Mapping[str, str]) -> Pairs:
    return tuple(sorted(values.items()))


def _options(site: Site, fencing_seconds: int) -> Pairs:
    ha, prefix = site.ha, release(site.ha).fencing
    options = {
        "concurrent-fencing": "true",
        "migration-limit": str(ha.migration.limit),
        "no-quorum-policy": ha.quorum.lost,
        "placement-strategy": "balanced",
        f"{prefix}-enabled": "true",
        f"{prefix}-timeout": f"{max(60, fencing_seconds + 10)}s",
    }
    if prefix == "fencing":
        del options["concurrent-fencing"]  # always so by then
    if ha.sbd is not None and not ha.sbd.devices:
        options[f"{prefix}-watchdog-timeout"] = f"{watchdog_timeout(ha)}s"
    if len(site.hosts) == 2:
        options["priority-fencing-delay"] = f"{2 * HEAD_START}s"
    return _sorted(options)


def nodes(site: Site, placed: PlacedCluster, facts: Mapping[str, HostFacts]) -> tuple[Node, ...]:
    """The hosts, of all of which facts are needed."""
    names = [host.name for host in site.hosts]
    ids = node_ids(names, site.ha.node_ids)
    ways = links(site.ha, site.hosts)
    labels = sorted({label for host in site.hosts for label in host.labels})
    beside: dict[str | None, list[Footprint]] = {}
    for vm in placed.vms:
        if not vm.spec.is_ha and vm.state != "absent":
            beside.setdefault(vm.host, []).append(footprint(vm))
    found = []
    for host in site.hosts:
        attributes = {attribute(label): host.labels.get(label, _NO_LABEL) for label in labels}
        if host.maintenance:
            attributes["standby"] = "on"
        addresses = tuple(way.get(host.name, host.name) for way in ways)
        room = room_for(site, _left(room_of(host, facts[host.name]), beside.get(host.name, ())))
        found.append(Node(ids[host.name], host.name, addresses, _sorted(attributes), room))
    return tuple(sorted(found, key=lambda node: node.id))


def _left(room: Footprint, beside: Iterable[Footprint]) -> Footprint:
    """What is left for Pacemaker's vms beside those that it does not run."""
    cpus, memory, pages = room.cpus, room.memory, dict(room.pages)
    for other in beside:
        cpus, memory = cpus - other.cpus, memory - other.memory
        pages |= {size: pages.get(size, 0) - count for size, count in other.pages.items()}
    return Footprint(max(0, cpus), max(0, memory), {size: max(0, count) for size, count in pages.items()})


def corosync(site: Site) -> Corosync:
    """What corosync is told beside the nodes."""
    ha, device = site.ha, site.ha.quorum.device
    links_ = [link.priority for link in ha.links]
    wanted = any(priority is not None for priority in links_)
    return Corosync(
        cluster_name=site.cluster.name,
        config_version=ha.config_version,
        two_node=len(site.hosts) == 2 and device is None,
        device=QuorumDevice(device.host, device.algorithm, device.port, device.tls) if device else None,
        priorities=tuple(priority or 0 for priority in links_) if wanted else (),
        token=(ha.token or 0) * 1000,
        send_join=_SEND_JOIN if len(site.hosts) > _MANY_HOSTS else 0,
    )
