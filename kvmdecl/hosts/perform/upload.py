"""Fill a volume with content from the machine that plans: in pieces, with holes, checked on the way."""

from __future__ import annotations

import hashlib
import io
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from kvmdecl.seed import seed_iso
from kvmdecl.state import FileContent, SeedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import libvirt

_PIECE = 256 * 1024  # what one message of libvirt's protocol carries to any version of it
_ZEROS = bytes(_PIECE)
_TELL_EVERY = 0.25  # seconds

Content = FileContent | SeedContent


class ContentChanged(Exception):  # noqa: N818 - reads as a sentence
    """The file is not the one that the plan was made with. The text says how it differs."""


@contextmanager
def open_content(content: Content) -> Iterator[tuple[IO[bytes], int]]:
    """Open content for reading, and say how many bytes it has.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(content, SeedContent):
        image = content.files[0][1].encode() if content.plain else seed_iso(content.files)
        yield io.BytesIO(image), len(image)
        return
    path = Path(content.path)
    with path.open("rb") as source:
        yield source, source.seek(0, io.SEEK_END)


def upload(
    connection: libvirt.virConnect,
    volume: libvirt.virStorageVol,
    content: Content | None,
    source: IO[bytes],
    size: int,
    tell: Callable[[int], None],
) -> None:
    """Write all of `source` to a volume (virStorageVolUpload), zeros as holes.

    Args:
        connection: the volume's.
        volume: at least `size` bytes large, and zero so far.
        content: what `source` should hold, if more is known of it; a file's sha256 is compared while it is read.
        source: read from its beginning.
        size: bytes.
        tell: called now and then with the number of bytes that are done.

    Raises:
        ContentChanged: after all of it was sent; what the volume holds now is not to be used.
        libvirt.libvirtError: the host refused, or its disk is full.
    """
    import libvirt

    stream = connection.newStream()
    volume.upload(stream, 0, size, libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
    digest = hashlib.sha256()
    try:
        _send(stream, source, digest.update, tell)
        stream.finish()
    except BaseException:
        _abort(stream)
        raise
    if isinstance(content, FileContent) and digest.hexdigest() != content.sha256:
        raise ContentChanged(f"its sha256 is {digest.hexdigest()} and should be {content.sha256}")


def _send(
    stream: libvirt.virStream, source: IO[bytes], update: Callable[[bytes], None], tell: Callable[[int], None]
) -> None:
    source.seek(0)
    done, told = 0, 0.0
    while piece := source.read(_PIECE):
        update(piece)
        if piece == _ZEROS:
            stream.sendHole(len(piece))
        else:
            send_all(stream, piece)
        done += len(piece)
        if (now := time.monotonic()) - told >= _TELL_EVERY:
            told = now
            tell(done)
    tell(done)


def send_all(stream: libvirt.virStream, piece: bytes) -> None:
    """Send all of a piece; libvirt may take less at once. Raises libvirt.libvirtError."""
    while piece:
        piece = piece[stream.send(piece) :]


def _abort(stream: libvirt.virStream) -> None:
    """Give the stream up; that it cannot be told so (a lost connection) changes nothing."""
    import libvirt

    with suppress(libvirt.libvirtError):
        stream.abort()
