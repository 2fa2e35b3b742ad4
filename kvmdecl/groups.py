"""Which vms belong together: those of one entry of the manifest, and those that are kept apart or together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.solver import Group
from kvmdecl.text import listed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedVm


def group_of(vm: ResolvedVm) -> str:
    """The same for all vms that were expanded from one entry: they were written at one place."""
    return str(vm.origin.at) if vm.origin.at else vm.name


def groups_of(vms: Iterable[ResolvedVm], names: Collection[str]) -> Iterator[Group]:
    """What `apart` and `together` come to among the vms of these names; a vm alone is no group."""
    members: dict[tuple[bool, str, str, int, bool], list[str]] = {}
    for vm in vms:
        if vm.name not in names:
            continue
        if (apart := vm.spec.apart) is not None:
            key = (True, _group(vm, apart.group), apart.scope, apart.most, apart.soft)
            members.setdefault(key, []).append(vm.name)
        if (together := vm.spec.together) is not None:
            key = (False, _group(vm, together.group), together.scope, 1, together.soft)
            members.setdefault(key, []).append(vm.name)
    for (apart_, _, scope, most, soft), found in sorted(members.items()):
        if len(found) > 1:
            yield Group(frozenset(found), scope, apart_, most, soft)


def broken(group: Group, where: Mapping[str, str], labels: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Who of a group is not where it wants them, in words that follow a name of who put them there.

    Args:
        group: whose members are looked at.
        where: the host of each vm.
        labels: of each host. Those without the one that the group is about count as one place.
    """
    under: dict[str, list[str]] = {}
    for name in sorted(group.members & where.keys()):
        host = where[name]
        under.setdefault(_domain(group.scope, host, labels.get(host, {})), []).append(name)
    if group.apart:
        for domain, names in sorted(under.items()):
            if len(names) > group.most:
                yield f"{listed(names)} on {domain}, which are to be apart, at most {group.most} together"
    elif len(under) > 1:
        yield f"{listed([names[0] for _, names in sorted(under.items())])} apart, which are to be together"


def unkept(placed: PlacedCluster) -> Iterator[tuple[Group, str]]:
    """Soft groups whose members are not all where they would have them, with words for it."""
    vms = [vm for vm in placed.vms if vm.state != "absent"]
    where = {vm.name: vm.host for vm in vms if vm.host is not None}
    labels = {host.name: host.labels for host in placed.cluster.hosts}
    for group in groups_of(vms, where):
        if group.soft:
            yield from ((group, text) for text in broken(group, where, labels))


def _domain(scope: str, host: str, labels: Mapping[str, str]) -> str:
    if scope == "host":
        return host
    return f"{scope} {labels[scope]}" if scope in labels else f"no {scope}"


def _group(vm: ResolvedVm, named: str | None) -> str:
    return f"group {named}" if named is not None else f"entry {group_of(vm)}"
