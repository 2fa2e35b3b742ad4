"""Full copies of volumes, made by the host itself; nothing of them passes through the machine that applies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from kvmdecl.amounts import format_size
from kvmdecl.hosts.errors import is_gone
from kvmdecl.hosts.protocol import Progress
from kvmdecl.hosts.read import read_volume
from kvmdecl.libvirt_xml.chains import writes_to
from kvmdecl.state import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.state import ObservedVolume
    from kvmdecl.tasks import CreateVolume

_A_DAY = 86400.0  # a copy takes as long as it takes; it is told how far it is


def require_copyable(job: Job, task: CreateVolume, original: ObservedVolume) -> None:
    """Make sure that a volume can be copied as it is: nobody writes to it, and its end is not cut off.

    Raises:
        TaskFailed: `step.cannot-copy`, `step.would-shrink`.
    """
    require_unwritten(job, original)
    if original.encrypted:
        job.fail(
            "step.cannot-copy",
            f"{job.request.address} would be a copy of {task.clone}, which is encrypted",
            "libvirt does not remember which secret opens a volume, so it cannot read this one.",
            "copy the data inside of a guest.",
        )
    if task.capacity is not None and task.capacity < original.capacity:
        size = format_size(original.capacity)
        job.fail(
            "step.would-shrink",
            f"{job.request.address} has {format_size(task.capacity)}, less than {task.clone}: {size}",
            "The guest would find the end of its file system cut off.",
            f"make the disk at least {size}.",
        )


def require_unwritten(job: Job, volume: ObservedVolume) -> None:
    """Make sure that no running guest writes to a volume. Called before a copy and once more after it.

    Raises:
        TaskFailed: `step.cannot-copy`.
    """
    if (user := _writer_of(job, volume)) is not None:
        job.fail(
            "step.cannot-copy",
            f"{volume.pool}/{volume.name} is written to by {user}, so there is no {job.request.address}",
            "A copy that is taken meanwhile holds a part of each write, and may be of no use.",
            f"shut {user} down, then apply again.",
        )


def _writer_of(job: Job, volume: ObservedVolume) -> str | None:
    import libvirt

    for domain in job.connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        try:
            xml = domain.XMLDesc(0)
        except libvirt.libvirtError as error:
            if is_gone(error):  # it ended while it was looked at
                continue
            raise
        if writes_to(xml, volume.pool, volume.name, volume.path):
            return str(domain.name())
    return None


def remove_torn(job: Job, task: CreateVolume, torn: libvirt.virStorageVol) -> None:
    """Delete what an interrupted run left. libvirt may still be copying for it, and is waited for."""
    import libvirt

    require_unwritten(job, read_volume(torn))

    def is_deleted() -> bool:
        try:
            torn.delete()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:  # "is still being allocated"
                raise
            return False
        return True

    job.wait(is_deleted, _A_DAY, tell=True)
    job.ledger.forget(Kind.VOLUME, f"{task.pool}/{task.name}")


def copy(
    job: Job,
    task: CreateVolume,
    pool: libvirt.virStoragePool,
    original: libvirt.virStorageVol,
    make: Callable[[], libvirt.virStorageVol],
) -> libvirt.virStorageVol:
    """Have the host copy (virStorageVolCreateXMLFrom), and tell how far it is: the call returns when it is done."""
    total = max(1, read_volume(original).allocation)
    with ThreadPoolExecutor(1) as other:
        made = other.submit(make)
        while True:
            try:
                return made.result(timeout=job.patience.poll)
            except TimeoutError:
                job.progress(Progress(min(_allocated(pool, task.name), total), total, "bytes"))


def _allocated(pool: libvirt.virStoragePool, name: str) -> int:
    """Bytes that a volume has so far; zero while there is nothing to see."""
    import libvirt

    with suppress(libvirt.libvirtError):
        allocation: int = pool.storageVolLookupByName(name).info()[2]
        return allocation
    return 0
