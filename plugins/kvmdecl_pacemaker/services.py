"""What runs on every host so that guests can: daemons of libvirt, and file systems that all hosts see."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl.api import pools_of
from kvmdecl_pacemaker.configuration import Clone, Operation, Primitive

if TYPE_CHECKING:
    from kvmdecl.api import ResolvedVm
    from kvmdecl_pacemaker.configuration import Pairs
    from kvmdecl_pacemaker.model import Mount
    from kvmdecl_pacemaker.site import Site

LOCK_MANAGER = "dlm"
_CLUSTERED = ("gfs2", "ocfs2")
_INTERLEAVE: Pairs = (("interleave", "true"),)
"""Without it, a host that comes back restarts what depends on the clone on all hosts."""


class Services(NamedTuple):
    """`daemons` are the ids of clones that all vms need, `mounts` those of file systems, by pool."""

    clones: tuple[Clone, ...]
    daemons: tuple[str, ...]
    mounts: dict[str, str]


def services(site: Site) -> Services:
    """All clones, by id."""
    daemons = [_daemon(unit) for unit in units(site)]
    mounts = {pool: _mount(site, pool, mount) for pool, mount in sorted(site.ha.mounts.items())}
    managers = [_lock_manager()] if needs_lock_manager(site) else []
    clones = sorted([*daemons, *managers, *mounts.values()], key=lambda clone: clone.id)
    return Services(
        tuple(clones),
        tuple(clone.id for clone in daemons),
        {pool: clone.id for pool, clone in mounts.items()},
    )


def units(site: Site) -> tuple[str, ...]:
    """The units of systemd that a host has to run."""
    if site.ha.services is not None:
        return site.ha.services
    locks = {"lockd": ("virtlockd",), "sanlock": ("sanlock",), "none": ()}[site.ha.locks]
    return ("libvirtd", *locks)


def mounts_of(site: Site, vm: ResolvedVm) -> list[str]:
    """The pools of a vm's disks that Pacemaker mounts, and that of its definition."""
    pools = set(pools_of(vm))
    if site.definitions_pool is not None and (site.ha.definitions is None or site.ha.definitions.pool):
        pools.add(site.definitions_pool.name)
    return sorted(pools & site.ha.mounts.keys())


def needs_lock_manager(site: Site) -> bool:
    """Whether a file system asks for the kernel's distributed lock manager."""
    return any(mount.type in _CLUSTERED for mount in site.ha.mounts.values())


def is_clustered(mount: Mount) -> bool:
    """Whether it needs the lock manager."""
    return mount.type in _CLUSTERED


def _daemon(unit: str) -> Clone:
    id_ = re.sub(r"[^A-Za-z0-9_.-]", "-", unit)
    operations = (Operation("monitor", 30, 60), Operation("start", 0, 100), Operation("stop", 0, 100))
    return Clone(f"{id_}-clone", Primitive(id_, f"systemd:{unit}", (), operations), _INTERLEAVE)


def _lock_manager() -> Clone:
    operations = (Operation("monitor", 30, 60), Operation("start", 0, 90), Operation("stop", 0, 100))
    primitive = Primitive(LOCK_MANAGER, "ocf:pacemaker:controld", (), operations)
    return Clone(f"{LOCK_MANAGER}-clone", primitive, _INTERLEAVE)


def _mount(site: Site, pool: str, mount: Mount) -> Clone:
    path = next((each.spec.path for each in site.cluster.pools if each.name == pool), None)
    parameters = {"device": mount.device, "directory": path or "", "fstype": mount.type}
    if mount.options is not None:
        parameters["options"] = mount.options
    operations = (Operation("monitor", 20, 40), Operation("start", 0, 60), Operation("stop", 0, 60))
    id_ = f"mount-{pool}"
    primitive = Primitive(id_, "ocf:heartbeat:Filesystem", tuple(sorted(parameters.items())), operations)
    return Clone(f"{id_}-clone", primitive, _INTERLEAVE)
