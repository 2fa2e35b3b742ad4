"""Storage pools: defined, built and started; never changed in place; undefined with their content kept."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kvmdecl.hosts.errors import is_gone
from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.hosts.read import read_domain, read_pool
from kvmdecl.libvirt_xml.chains import guests_on
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.libvirt_xml.trace import pool_note
from kvmdecl.state import Kind, LedgerEntry
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.tasks import CreatePool, DeletePool, UpdatePool

_FILES = frozenset({"dir", "fs", "netfs"})
"""Types of pools that are directories, which are made where they are missing."""


def create_pool(job: Job, task: CreatePool) -> TaskResult:
    """Define, build, start and note down a pool (virStoragePoolDefineXML, Build, SetAutostart, Create).

    A pool that cannot be built is undefined again: with devices that hold something it would never start.
    """
    import libvirt

    found = find_pool(job, task.name)
    job.require_unmoved(read_pool(found, volumes=False) if found else None)
    pool = job.connection.storagePoolDefineXML(task.xml)
    try:
        _build(pool, task.build)
    except BaseException:
        with suppress(libvirt.libvirtError):
            pool.undefine()
        raise
    pool.setAutostart(task.autostart)
    pool.create()
    job.require_as_declared(Kind.POOL, task.xml, None, read_pool(pool, volumes=False).xml)
    _require_state(job, pool, autostart=task.autostart)
    _note(job, pool)
    return TaskResult()


def update_pool(job: Job, task: UpdatePool) -> TaskResult:
    """Start a pool, set its autostart."""
    pool = _unmoved(job, task.name, task.uuid)
    if task.start and not pool.isActive():
        _finish(job, task, pool)
        pool.create()
    if bool(pool.autostart()) != task.autostart:
        pool.setAutostart(task.autostart)
    if job.ledger.read().find(Kind.POOL, task.name) is not None:
        _note(job, pool)
    if task.start:
        _require_state(job, pool, autostart=task.autostart)
    else:
        job.require_value("autostart", bool(pool.autostart()), task.autostart)
    return TaskResult()


def _require_state(job: Job, pool: libvirt.virStoragePool, *, autostart: bool) -> None:
    job.require_value("state", bool(pool.isActive()), True)
    job.require_value("autostart", bool(pool.autostart()), autostart)


def delete_pool(job: Job, task: DeletePool) -> TaskResult:
    """Stop and undefine a pool, and forget it. What is in it stays."""
    pool = _unmoved(job, task.name, task.uuid)
    if pool.isActive():
        _require_unused(job, pool)
        pool.destroy()  # libvirt's word for stopping a pool
    if pool.isPersistent():
        pool.undefine()
    job.ledger.forget(Kind.POOL, task.name)
    return TaskResult()


def _require_unused(job: Job, pool: libvirt.virStoragePool) -> None:
    """A pool is not stopped under a guest: an iSCSI target, for one, would be gone under it."""
    domains = map(read_domain, job.connection.listAllDomains())
    users = sorted(domain.name for domain in guests_on(read_pool(pool), domains))
    if users:
        job.fail(
            "step.pool-in-use",
            f"{job.request.address} is in use by {', '.join(map(safe_text, users))}; nothing was done to it",
            "To stop such a pool unmounts or disconnects what it brought to the host.",
            "shut these guests down or move their disks first.",
        )


def find_pool(job: Job, name: str) -> libvirt.virStoragePool | None:
    """A pool by name, None if there is none."""
    import libvirt

    try:
        return job.connection.storagePoolLookupByName(name)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise


def _finish(job: Job, task: UpdatePool, pool: libvirt.virStoragePool) -> None:
    """Build a pool whose making was interrupted. A finished one is not built: its file system may not be mounted."""
    if job.ledger.read().find(Kind.POOL, task.name) is None:
        _build(pool, task.build)
        _note(job, pool)


def _note(job: Job, pool: libvirt.virStoragePool) -> None:
    """Note that a pool was made, and what libvirt says that it is."""
    applied = pool_note(read_pool(pool, volumes=False).xml, int(job.connection.getLibVersion()))
    job.ledger.note(LedgerEntry(Kind.POOL, pool.name(), owner="", applied=applied, complete=True))


def _build(pool: libvirt.virStoragePool, formats: bool) -> None:
    """Make the directory of a pool that has one, and format its devices if that is wanted and they are empty.

    Without a flag virStoragePoolBuild makes no more than the directory of a pool of files, and would format the devices
    of another one. Never with VIR_STORAGE_POOL_BUILD_OVERWRITE, with which libvirt does not look for what is there.
    """
    import libvirt

    kind = parse_xml(pool.XMLDesc(libvirt.VIR_STORAGE_XML_INACTIVE)).get("type")
    if kind in _FILES:
        try:
            pool.build()
        except libvirt.libvirtError:
            pool.build()  # the folder of a shared pool, which another host made just when this one was about to
    if formats:
        # zpool, which knows no such flag, refuses devices that are in use by itself.
        pool.build(0 if kind == "zfs" else libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE)


def _unmoved(job: Job, name: str, uuid: str) -> libvirt.virStoragePool:
    """The pool that the plan speaks of. Raises Moved if it is another one, or gone."""
    pool = find_pool(job, name)
    job.require_unmoved(read_pool(pool, volumes=False) if pool else None)
    if pool is None:
        raise job.moved("vanished")
    job.require_identity(pool.UUIDString(), uuid)
    return pool
