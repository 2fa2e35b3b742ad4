"""Files from which a cluster manager starts guests: written over what is there, read back, and noted.

libvirt can neither rename a volume nor replace it by another, and an agent that finds no file, or none with the guest's
name, takes the guest for stopped or broken. So a file is never away: it is written from its beginning to its end in one
message, which libvirt writes at once (virFDStream), and what was longer is filled up with empty lines.
"""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING

from kvmdecl.hosts.perform.upload import upload
from kvmdecl.hosts.perform.volumes import find_volume
from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.hosts.read import read_volume
from kvmdecl.libvirt_xml.definition import Written, file_text, note, padded
from kvmdecl.libvirt_xml.fingerprint import ABSENT
from kvmdecl.libvirt_xml.observed import parse_head
from kvmdecl.libvirt_xml.safe import MAX_DOCUMENT, BadXml
from kvmdecl.libvirt_xml.volume import volume_xml
from kvmdecl.state import Kind, LedgerEntry

if TYPE_CHECKING:
    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.tasks import DeleteDefinition, WriteDefinition

_PIECE = 256 * 1024


def write_definition(job: Job, task: WriteDefinition) -> TaskResult:
    """Write a file, or finish what an interrupted run began. One that is right already is only noted."""
    pool = job.connection.storagePoolLookupByName(task.pool)
    volume = _look(job, pool, task.name)
    before = read_volume(volume) if volume else None
    job.require_unmoved(before)
    there = _download(job, volume) if volume else b""
    if task.take_over:
        _require_same_guest(job, task, there)
    data = padded(file_text(task.xml), len(there))
    if there.rstrip() != data.rstrip():
        job.ledger.note(_entry(job, task, complete=False))
        volume = volume or pool.createXML(volume_xml(task.name, "raw", len(data)), 0)
        upload(job.connection, volume, None, io.BytesIO(data), len(data), lambda _done: None)
        job.require_value("content", _download(job, volume), data)
    stamp = read_volume(find_volume(pool, task.name)).stamp
    job.ledger.note(_entry(job, task, complete=True, applied=note(Written(stamp, task.xml))))
    return TaskResult()


def delete_definition(job: Job, task: DeleteDefinition) -> TaskResult:
    """Delete a file that this cluster wrote."""
    volume = find_volume(job.connection.storagePoolLookupByName(task.pool), task.name)
    job.require_unmoved(read_volume(volume) if volume else None)
    name = f"{task.pool}/{task.name}"
    if volume is None or job.ledger.read().find(Kind.VOLUME, name) is None:
        raise job.moved("vanished")
    volume.delete()
    job.ledger.forget(Kind.VOLUME, name)
    return TaskResult()


def _look(job: Job, pool: libvirt.virStoragePool, name: str) -> libvirt.virStorageVol | None:
    """The file; libvirt looks again for one that it does not know yet, unless the plan is about a new one."""
    import libvirt

    found = find_volume(pool, name)
    if found is None and job.request.precondition != ABSENT:
        with suppress(libvirt.libvirtError):  # it does not look while it makes another volume
            pool.refresh()
        found = find_volume(pool, name)
    return found


def _entry(job: Job, task: WriteDefinition, *, complete: bool, applied: str | None = None) -> LedgerEntry:
    """What is noted; while the file is written, what was declared before is kept."""
    name = f"{task.pool}/{task.name}"
    if applied is None:
        before = job.ledger.read().find(Kind.VOLUME, name)
        applied = before.applied if before else ""
    return LedgerEntry(Kind.VOLUME, name, task.owner, applied, complete)


def _download(job: Job, volume: libvirt.virStorageVol) -> bytes:
    """What is in a file (virStorageVolDownload), as much of it as is read of any document."""
    stream = job.connection.newStream()
    volume.download(stream, 0, MAX_DOCUMENT, 0)
    read = bytearray()
    while piece := stream.recv(_PIECE):
        read += piece
    stream.finish()
    return bytes(read)


def _require_same_guest(job: Job, task: WriteDefinition, there: bytes) -> None:
    """Refuse to write over a file that somebody else put there for something else."""
    try:
        head = parse_head(there.decode(), Kind.DOMAIN.tag)
        found = (head.name, head.uuid)
    except (BadXml, UnicodeDecodeError):
        found = ("", "")
    if found != (task.owner, task.uuid):
        job.fail(
            "step.not-ours",
            f"{job.request.address} is not the definition of {task.owner}; nothing was done to it",
            "kvmdecl takes a file over that others wrote only if it defines the very same guest.",
            "move it away if nobody needs it, then plan again.",
        )
