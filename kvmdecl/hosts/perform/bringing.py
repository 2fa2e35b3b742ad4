"""Disks that only their host sees, brought along while their guest is off: read there, written here, and compared.

What passes is the file itself, as it is. It goes through the machine that applies; holes do not.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from kvmdecl.hosts.perform.upload import send_all
from kvmdecl.hosts.perform.volumes import create_xml, find_volume, require_room
from kvmdecl.hosts.protocol import Progress
from kvmdecl.hosts.read import read_volume
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.libvirt_xml.volume import volume_xml
from kvmdecl.state import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.state import ObservedVolume
    from kvmdecl.tasks import MoveDomain

_PIECE = 256 * 1024  # what one message of libvirt's protocol carries to any version of it
_ZEROS = bytes(_PIECE)
_TELL_EVERY = 0.25  # seconds


def require_bringable(job: Job, task: MoveDomain) -> None:
    """Make sure that the disks can be copied, before their guest is shut down for it.

    Raises:
        TaskFailed: `step.cannot-copy`, `step.pool-full`.
    """
    wanted: defaultdict[str, int] = defaultdict(int)
    for _, volume in task.copied:
        original = read_volume(_there(job, volume))
        pool = job.connection.storagePoolLookupByName(original.pool)
        _require_bottom(job, task, pool, original)
        _see(pool)
        torn = find_volume(pool, original.name)
        wanted[original.pool] += original.allocation - (read_volume(torn).allocation if torn else 0)
        require_room(job, pool, wanted[original.pool])  # with those before it


def bring_disks(job: Job, task: MoveDomain) -> None:
    """Copy each disk into the volume that the plan made for it here. Those that are there stay as they are.

    Raises:
        TaskFailed: `step.cannot-copy`, `step.not-as-declared`.
        Moved: a disk was written to meanwhile.
    """
    originals = [_there(job, volume) for _, volume in task.copied]
    told = _Told(job, 2 * sum(map(length_of, originals)))
    for original in originals:
        _bring(job, task, original, told)


def _there(job: Job, volume: str) -> libvirt.virStorageVol:
    if job.peer is None:
        raise TypeError("a move is about two hosts")
    pool, _, name = volume.partition("/")
    return job.peer.storagePoolLookupByName(pool).storageVolLookupByName(name)


def _require_bottom(
    job: Job, task: MoveDomain, pool: libvirt.virStoragePool, original: ObservedVolume
) -> None:
    """Make sure that the image which a disk stands on is here, too, at the same place."""
    if original.backing is None:
        return
    here = find_volume(pool, original.backing.rpartition("/")[2])
    if here is None or here.path() != original.backing:
        job.fail(
            "step.cannot-copy",
            f"{original.pool}/{original.name} stands on {original.backing}, which {job.request.address.host} lacks",
            "What a disk holds is told apart from its image: without that it is of no use.",
            f"copy that file from {task.source} to {job.request.address.host}, and have its pool refreshed.",
        )


def _bring(job: Job, task: MoveDomain, original: libvirt.virStorageVol, told: _Told) -> None:
    before, stamp = read_volume(original), stamp_of(original)
    name = f"{before.pool}/{before.name}"
    pool = job.connection.storagePoolLookupByName(before.pool)
    entry = job.ledger.read().find(Kind.VOLUME, name)
    if entry is None or entry.complete:
        raise job.moved("is in the way: its disk here is another's")
    if (made := find_volume(pool, before.name)) is not None:
        made.delete()  # it was made for this, and is empty or torn
    # What is written has to find nothing but zeros where it has holes.
    volume = create_xml(pool, volume_xml(before.name, "raw", length_of(original)), 0)
    with _deleted_if_torn(volume):
        sent = copy_volume(job, original, volume, told.more)
    job.require_lock()
    if digest_of(pieces_of(job.connection, volume, told.more)) != sent:
        job.fail(
            "step.not-as-declared",
            f"{name} of {job.request.address} is not here what it is on {task.source}; it stays there",
            "It was read back after it was copied.",
            f"look at the logs of libvirt on {job.request.address.host}, then apply again.",
        )
    if stamp_of(original) != stamp:
        raise job.moved(f"wrote to {name} while that was copied")
    job.wait(lambda: _is_seen_as(pool, before), job.patience.refresh)
    after = read_volume(pool.storageVolLookupByName(before.name))
    for field in ("format", "capacity", "backing"):
        job.require_value(f"disk {name}, its {field},", getattr(after, field), getattr(before, field))


@contextmanager
def _deleted_if_torn(volume: libvirt.virStorageVol) -> Iterator[None]:
    """Delete a copy that breaks off, as far as its host still answers: it may be what fills the pool."""
    import libvirt

    try:
        yield
    except BaseException:
        with suppress(libvirt.libvirtError):
            volume.delete()
        raise


def _see(pool: libvirt.virStoragePool) -> None:
    """Have libvirt look at what is in a pool. It does not while it is busy with one of its volumes."""
    import libvirt

    with suppress(libvirt.libvirtError):
        pool.refresh()


def _is_seen_as(pool: libvirt.virStoragePool, wanted: ObservedVolume) -> bool:
    """Whether libvirt has looked at what was written: it took it for a raw file before."""
    _see(pool)
    volume = find_volume(pool, wanted.name)
    if volume is None:
        return False
    seen = read_volume(volume)
    return (seen.format, seen.capacity, seen.backing) == (wanted.format, wanted.capacity, wanted.backing)


def stamp_of(volume: libvirt.virStorageVol) -> str:
    """When it was last written to."""
    return parse_xml(volume.XMLDesc(0)).findtext("target/timestamps/mtime") or ""


def length_of(volume: libvirt.virStorageVol) -> int:
    """Bytes from its beginning to its end, holes and all (virStorageVolGetInfoFlags)."""
    import libvirt

    length: int = volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2]
    return length


def copy_volume(
    job: Job,
    original: libvirt.virStorageVol,
    volume: libvirt.virStorageVol,
    tell: Callable[[int], None] = lambda _: None,
) -> str:
    """Send what a volume of the other host holds to one here, of zeros; returns its digest (`digest_of`)."""
    import libvirt

    if job.peer is None:
        raise TypeError("a move is about two hosts")
    stream = job.connection.newStream()
    volume.upload(stream, 0, 0, libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
    try:
        digest = digest_of(_passed_on(pieces_of(job.peer, original, tell), stream))
        stream.finish()
    except BaseException:
        with suppress(libvirt.libvirtError):
            stream.abort()
        raise
    return digest


def _passed_on(pieces: Iterator[bytes], stream: libvirt.virStream) -> Iterator[bytes]:
    hole = 0
    for piece in pieces:
        if _is_zero(piece):
            hole += len(piece)
        else:
            if hole:
                stream.sendHole(hole)
                hole = 0
            send_all(stream, piece)
        yield piece
    if hole:
        stream.sendHole(hole)


def digest_of(pieces: Iterator[bytes]) -> str:
    """Of what is not zero, and where that is: the same wherever a file has its holes."""
    digest, at = hashlib.sha256(), 0
    for piece in pieces:
        if not _is_zero(piece):
            digest.update(at.to_bytes(8, "big"))
            digest.update(piece)
        at += len(piece)
    digest.update(at.to_bytes(8, "big"))
    return digest.hexdigest()


def _is_zero(piece: bytes) -> bool:
    return piece == _ZEROS or piece.count(0) == len(piece)


def pieces_of(
    connection: libvirt.virConnect,
    volume: libvirt.virStorageVol,
    tell: Callable[[int], None] = lambda _: None,
) -> Iterator[bytes]:
    """What a volume holds (virStorageVolDownload), in pieces of one size, the last one shorter."""
    import libvirt

    stream = connection.newStream()
    volume.download(stream, 0, 0, libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM)
    try:
        for piece in in_pieces(_received(stream)):
            tell(len(piece))
            yield piece
        stream.finish()
    except BaseException:
        with suppress(libvirt.libvirtError):
            stream.abort()
        raise


def _received(stream: libvirt.virStream) -> Iterator[bytes | int]:
    """Data, and the lengths of holes."""
    import libvirt

    while True:
        found = stream.recvFlags(_PIECE, libvirt.VIR_STREAM_RECV_STOP_AT_HOLE)
        if isinstance(found, int):  # -3: there is a hole
            yield int(stream.recvHole())
        elif found:
            yield found
        else:
            return


def in_pieces(received: Iterator[bytes | int]) -> Iterator[bytes]:
    """Data and holes, put together to pieces of one size; the last one may be shorter."""
    rest = bytearray()
    for part in received:
        left = part if isinstance(part, int) else len(part)
        while left:
            take = min(left, _PIECE - len(rest))
            if isinstance(part, int):
                rest += _ZEROS[:take]
            else:
                rest += part[len(part) - left : len(part) - left + take]
            left -= take
            if len(rest) == _PIECE:
                yield bytes(rest)
                rest.clear()
    if rest:
        yield bytes(rest)


class _Told:
    """How much is done, told now and then: each byte is read once there, and once here."""

    def __init__(self, job: Job, total: int) -> None:
        self._job, self._total, self._done, self._when = job, total, 0, 0.0

    def more(self, count: int) -> None:
        self._done += count
        if (now := time.monotonic()) - self._when >= _TELL_EVERY:
            self._when = now
            self._job.progress(Progress(min(self._done, self._total), self._total, "bytes"))
