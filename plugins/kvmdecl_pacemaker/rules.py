"""Who starts before whom, and who runs where others run, or do not."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl.api import groups_of
from kvmdecl_pacemaker.configuration import INFINITY, NEVER, Colocation, Order
from kvmdecl_pacemaker.guests import crowds
from kvmdecl_pacemaker.hosts import attribute
from kvmdecl_pacemaker.services import LOCK_MANAGER, is_clustered, mounts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl_pacemaker.services import Services
    from kvmdecl_pacemaker.site import Site


class Rules(NamedTuple):
    """All constraints between resources, by id."""

    orders: tuple[Order, ...]
    colocations: tuple[Colocation, ...]


def rules(site: Site, running: Services) -> Rules:
    """What follows from services, storage, `after`, `apart` and `together`."""
    orders = [*_after_services(site, running), *_after_mounts(site, running), *_after_guests(site)]
    colocations = [*_with_services(site, running), *_with_mounts(site, running), *_groups(site)]
    return Rules(
        tuple(sorted(orders, key=lambda rule: rule.id)), tuple(sorted(colocations, key=lambda rule: rule.id))
    )


def _after_services(site: Site, running: Services) -> Iterator[Order]:
    """Only where both start at once: a daemon of libvirt is started again without any harm to guests."""
    if running.daemons and site.vms:
        yield Order("order-services", running.daemons, _names(site), "Optional")


def _with_services(site: Site, running: Services) -> Iterator[Colocation]:
    if running.daemons and site.vms:
        yield Colocation("with-services", _names(site), running.daemons, INFINITY)


def _after_mounts(site: Site, running: Services) -> Iterator[Order]:
    for pool, users in _users(site).items():
        yield Order(f"order-mount-{pool}", (running.mounts[pool],), users, "Mandatory")
    clustered = _clustered(site, running)
    if clustered:
        yield Order("order-dlm", (f"{LOCK_MANAGER}-clone",), clustered, "Mandatory")


def _with_mounts(site: Site, running: Services) -> Iterator[Colocation]:
    for pool, users in _users(site).items():
        yield Colocation(f"with-mount-{pool}", users, (running.mounts[pool],), INFINITY)
    clustered = _clustered(site, running)
    if clustered:
        yield Colocation("with-dlm", clustered, (f"{LOCK_MANAGER}-clone",), INFINITY)


def _clustered(site: Site, running: Services) -> tuple[str, ...]:
    return tuple(
        running.mounts[pool] for pool, mount in sorted(site.ha.mounts.items()) if is_clustered(mount)
    )


def _users(site: Site) -> dict[str, tuple[str, ...]]:
    """The vms that need each file system, by its pool."""
    users: defaultdict[str, list[str]] = defaultdict(list)
    for vm in site.vms:
        for pool in mounts_of(site, vm):
            users[pool].append(vm.name)
    return {pool: tuple(names) for pool, names in sorted(users.items())}


def _after_guests(site: Site) -> Iterator[Order]:
    """Vms that wait for the same ones are in one rule. Nobody is restarted because another one is."""
    names = set(_names(site))
    waiting: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for vm in site.vms:
        before = tuple(sorted(other.vm for other in vm.spec.after if other.vm in names))
        if before:
            waiting[before].append(vm.name)
    for before, then in sorted(waiting.items()):
        yield Order(f"after-{'-'.join(before)}", before, tuple(then), "Optional")


def _groups(site: Site) -> Iterator[Colocation]:
    for group in groups_of(site.vms, set(_names(site))):
        members = tuple(sorted(group.members))
        if group.apart and group.most > 1:
            continue  # counted, or told by a check
        what, score = ("apart", NEVER) if group.apart else ("together", INFINITY)
        may_crowd = group.apart and crowds(vm for vm in site.vms if vm.name in group.members)
        if group.soft or may_crowd:
            wish = max(1, site.ha.stickiness // 2)  # less than stickiness: nobody moves back by itself
            score = str(-wish if group.apart else wish)
        scope = "" if group.scope == "host" else attribute(group.scope)
        yield Colocation(f"{what}-{group.scope}-{members[0]}", members, (), score, scope)


def _names(site: Site) -> tuple[str, ...]:
    return tuple(vm.name for vm in site.vms)
