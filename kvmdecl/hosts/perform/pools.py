"""Storage pools: defined, built and started; never changed in place; undefined with their content kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.hosts.errors import is_gone
from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.hosts.read import read_pool
from kvmdecl.state import Kind, LedgerEntry

if TYPE_CHECKING:
    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.tasks import CreatePool, DeletePool, UpdatePool


def create_pool(job: Job, task: CreatePool) -> TaskResult:
    """Define, build, start and note down a pool (virStoragePoolDefineXML, Build, SetAutostart, Create)."""
    found = find_pool(job, task.name)
    job.require_unmoved(read_pool(found, volumes=False) if found else None)
    pool = job.connection.storagePoolDefineXML(task.xml)
    pool.build()
    pool.setAutostart(task.autostart)
    pool.create()
    job.require_as_declared(Kind.POOL, task.xml, None, read_pool(pool, volumes=False).xml)
    job.ledger.note(LedgerEntry(Kind.POOL, task.name, owner="", applied="", complete=True))
    return TaskResult()


def update_pool(job: Job, task: UpdatePool) -> TaskResult:
    """Start a pool, set its autostart."""
    pool = _unmoved(job, task.name, task.uuid)
    if task.start and not pool.isActive():
        _finish(job, task.name, pool)
        pool.create()
    if bool(pool.autostart()) != task.autostart:
        pool.setAutostart(task.autostart)
    return TaskResult()


def delete_pool(job: Job, task: DeletePool) -> TaskResult:
    """Stop and undefine a pool, and forget it. The directory and all files in it stay."""
    pool = _unmoved(job, task.name, task.uuid)
    if pool.isActive():
        pool.destroy()  # libvirt's word for stopping a pool
    if pool.isPersistent():
        pool.undefine()
    job.ledger.forget(Kind.POOL, task.name)
    return TaskResult()


def find_pool(job: Job, name: str) -> libvirt.virStoragePool | None:
    """A pool by name, None if there is none."""
    import libvirt

    try:
        return job.connection.storagePoolLookupByName(name)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise


def _finish(job: Job, name: str, pool: libvirt.virStoragePool) -> None:
    """Build a pool whose making was interrupted. A finished one is not built: its file system may not be mounted."""
    if job.ledger.read().find(Kind.POOL, name) is None:
        pool.build()
        job.ledger.note(LedgerEntry(Kind.POOL, name, owner="", applied="", complete=True))


def _unmoved(job: Job, name: str, uuid: str) -> libvirt.virStoragePool:
    """The pool that the plan speaks of. Raises Moved if it is another one, or gone."""
    pool = find_pool(job, name)
    job.require_unmoved(read_pool(pool, volumes=False) if pool else None)
    if pool is None:
        raise job.moved("vanished")
    job.require_identity(pool.UUIDString(), uuid)
    return pool
