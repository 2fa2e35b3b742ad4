"""What a manifest's paths lead to: image files and texts for cloud-init. Resolving itself reads nothing."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.text import quoted, safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.diagnostics import Span
    from kvmdecl.load import LoadedManifest
    from kvmdecl.manifest import Image

MAX_TEXT = 1024**2

_CHUNK = 1024**2
_QCOW2 = b"QFI\xfb"
_QCOW2_HEADER = 80
_EXTERNAL_DATA = 1 << 2  # incompatible feature bit 2 of a version 3 header
_TEXT_KEYS = ("user_data_file", "network_config_file", "vendor_data_file")
# A file that changes again within one tick of its clock would keep its time stamp.
_SETTLED_NS = 2 * 10**9


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An image file.

    Attributes:
        path: as reached from the working directory.
        sha256: digest of its content.
        size: bytes of the file; None if it is not at hand.
        virtual_size: bytes of the disk that a guest sees; None if the file is not at hand.
    """

    path: str
    sha256: str
    size: int | None
    virtual_size: int | None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was read. `images` by name of the image; `texts` by vm and key (`user_data_file`); `baseline` of `rules`."""

    images: Mapping[str, ImageInput]
    texts: Mapping[tuple[str, str], str]
    baseline: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    """A regular file that was looked into. `stamp` changes whenever the content may have."""

    path: Path
    size: int
    head: bytes
    stamp: str
    mtime_ns: int


class _UnusableError(Exception):
    """Why a file cannot be used, as a clause."""


class Care(StrEnum):
    """How closely image files are looked at.

    IGNORE: not at all, where only names matter. LOOK: they must be there and of the right format; a file whose digest
    the manifest gives is not read to its end. VERIFY: every file is compared with its digest.
    """

    IGNORE = "ignore"
    LOOK = "look"
    VERIFY = "verify"


def read_inputs(loaded: LoadedManifest, care: Care = Care.LOOK) -> Inputs:
    """Read what the manifest's paths lead to.

    Digests are remembered in the user's cache directory, by path, size, inode and time stamps.

    Raises:
        Rejected: with every file that is missing, unreadable or not what the manifest says.
    """
    found: list[Diagnostic] = []
    images: dict[str, ImageInput] = {}
    for name, spec in loaded.manifest.images.items():
        try:
            images[name] = _read_image(loaded, name, spec, care)
        except Rejected as rejected:
            found += rejected.diagnostics
    texts = _read_texts(loaded, found)
    baseline = _read_baseline(loaded, found)
    if found:
        raise Rejected(found)
    return Inputs(images, texts, baseline)


def input_paths(loaded: LoadedManifest) -> frozenset[Path]:
    """The files to which a manifest leads, whether or not they are there."""
    manifest = loaded.manifest
    found = {
        _reached(loaded, spec.source, "images", name, "source") for name, spec in manifest.images.items()
    }
    for vm, spec in manifest.vms.items():
        if spec.ignition is not None and spec.ignition.config_file is not None:
            found.add(_reached(loaded, spec.ignition.config_file, "vms", vm, "ignition", "config_file"))
        for key in _TEXT_KEYS if spec.cloud_init else ():
            if (given := getattr(spec.cloud_init, key)) is not None:
                found.add(_reached(loaded, given, "vms", vm, "cloud_init", key))
    if manifest.rules.baseline is not None:
        found.add(_reached(loaded, manifest.rules.baseline, "rules", "baseline"))
    return frozenset(found)


def _reached(loaded: LoadedManifest, source: str, *path: str) -> Path:
    """A path of the manifest, seen from the working directory; it is relative to the file that names it."""
    return Path(os.path.normpath(loaded.file_of(*path).parent / source))


# -- images -------------------------------------------------------------------------------------------------


def _read_image(loaded: LoadedManifest, name: str, spec: Image, care: Care) -> ImageInput:
    at = loaded.span("images", name, "source")
    path = _reached(loaded, spec.source, "images", name, "source")
    if care is Care.IGNORE:
        return ImageInput(str(path), spec.sha256 or "", None, None)
    try:
        file = _look_into(path)
        if file is None:
            return ImageInput(str(path), _given_digest(name, spec, path, at), None, None)
        _refuse_other_format(file, spec, at)
        digest = _digest(file, always=care is Care.VERIFY or spec.sha256 is None)
    except _UnusableError as reason:
        raise _refused("image.unreadable", f"image {name} cannot be read: {reason}", at) from reason
    if spec.sha256 and digest and digest != spec.sha256:
        raise _refused(
            "image.digest-mismatch",
            f"the file of image {name} has another digest than the manifest gives",
            loaded.span("images", name, "sha256"),
            f"{quoted(str(path))} has sha256 {digest}.",
            "fetch the right file, or put its digest here if the change is wanted",
        )
    return ImageInput(str(path), spec.sha256 or digest or "", file.size, _virtual_size(file, spec))


def _given_digest(name: str, spec: Image, path: Path, at: Span) -> str:
    if spec.sha256 is None:
        raise _refused(
            "image.missing",
            f"there is no file {quoted(str(path))}",
            at,
            "The volume of an image is named by its digest, which is neither here nor can be computed.",
            f"put the file there, or give the digest of image {name} as `sha256:`",
        )
    return spec.sha256


def _refuse_other_format(file: _File, spec: Image, at: Span) -> None:
    is_qcow2 = file.head.startswith(_QCOW2) and len(file.head) == _QCOW2_HEADER
    if is_qcow2 != (spec.format == "qcow2"):
        raise _refused(
            "image.wrong-format",
            f"{quoted(str(file.path))} is {'a' if is_qcow2 else 'no'} qcow2 file; `format` is {spec.format}",
            at,
            "In the wrong format a disk is garbage, or its content chooses which file of the host is opened.",
            f"say `format: {'qcow2' if is_qcow2 else 'raw'}`, or name another file",
        )
    if is_qcow2 and _leads_elsewhere(file.head):
        raise _refused(
            "image.backing-file",
            f"{quoted(str(file.path))} keeps a part of its data in another file",
            at,
            "Uploaded alone it is incomplete, and the host would open whatever file it names.",
            "make it whole: `qemu-img convert -O qcow2 IN OUT`",
        )


def _leads_elsewhere(head: bytes) -> bool:
    """Whether a qcow2 header names a backing file (offset 8) or external data (features, offset 72)."""
    version, backing = struct.unpack_from(">IQ", head, 4)
    features = struct.unpack_from(">Q", head, 72)[0] if version >= 3 else 0
    return bool(backing or features & _EXTERNAL_DATA)


def _virtual_size(file: _File, spec: Image) -> int:
    if spec.format == "raw":
        return file.size
    size: int = struct.unpack_from(">Q", file.head, 24)[0]
    return size


def _look_into(path: Path) -> _File | None:
    """Open a file and read its head; None if there is none."""
    try:
        with _open(path) as stream:
            status = os.fstat(stream.fileno())
            return _File(path, status.st_size, stream.read(_QCOW2_HEADER), _stamp(status), status.st_mtime_ns)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise _UnusableError(_reason(path, error)) from error


def _open(path: Path) -> BinaryIO:
    """Open a regular file for reading; a FIFO would block and a device never end."""
    stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "it is no regular file")
    return stream


def _reason(path: Path, error: Exception) -> str:
    what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{quoted(str(path))}: {safe_text(what)}"


def _refused(code: str, summary: str, at: Span, cause: str = "", hint: str = "") -> Rejected:
    return Rejected([Diagnostic(code, summary, at, cause, hint)])


# -- digests ------------------------------------------------------------------------------------------------


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _digest(file: _File, *, always: bool) -> str | None:
    """The file's sha256: remembered, or computed if `always`, else None."""
    known = _remembered(file)
    if known is not None or not always:
        return known
    digest = hashlib.sha256()
    try:
        with _open(file.path) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
            after = _stamp(os.fstat(stream.fileno()))
    except OSError as error:
        raise _UnusableError(_reason(file.path, error)) from error
    if after != file.stamp:
        raise _UnusableError(f"{quoted(str(file.path))} changed while it was read")
    _remember(file, digest.hexdigest())
    return digest.hexdigest()


def _note_of(path: Path) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "kvmdecl" / "digests" / hashlib.sha256(os.fsencode(path.absolute())).hexdigest()


def _remembered(file: _File) -> str | None:
    try:
        stamp, digest = _note_of(file.path).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError, RuntimeError):
        return None
    return digest if stamp == file.stamp and len(digest) == 64 else None


def _remember(file: _File, digest: str) -> None:
    if time.time_ns() - file.mtime_ns < _SETTLED_NS:
        return
    try:
        note = _note_of(file.path)
        note.parent.mkdir(parents=True, exist_ok=True)
        fresh = note.with_suffix(f".{os.getpid()}")
        fresh.write_text(f"{file.stamp}\n{digest}\n", encoding="ascii")
        fresh.replace(note)
    except (OSError, RuntimeError):
        return  # a cache that cannot be written only costs time


# -- texts for cloud-init -----------------------------------------------------------------------------------


_READERS = {
    "cloud-init.unreadable": "cloud-init",
    "ignition.unreadable": "Ignition",
    "rules.unreadable": "the baseline",
}


_GIVEN = "What the file says is given to the guest, so it has to be there when plans are made."
_WHY_READ = {
    "rules.unreadable": "Findings that it lists are not shown again; without it all of them would be."
}


def _read_texts(loaded: LoadedManifest, found: list[Diagnostic]) -> dict[tuple[str, str], str]:
    """Read each file once, however many vms a profile gives it to."""
    seen: dict[Path, str | None] = {}
    texts: dict[tuple[str, str], str] = {}
    for vm, spec in loaded.manifest.vms.items():
        if spec.ignition is not None and (source := spec.ignition.config_file) is not None:
            at = ("vms", vm, "ignition", "config_file")
            path, home = _reached(loaded, source, *at), loaded.file_of(*at).parent
            if (
                text := _collect_text(found, "ignition.unreadable", path, home, loaded.span(*at))
            ) is not None:
                texts[vm, "ignition"] = text
        for key in _TEXT_KEYS if spec.cloud_init else ():
            given: str | None = getattr(spec.cloud_init, key)
            if given is None:
                continue
            path = _reached(loaded, given, "vms", vm, "cloud_init", key)
            if path not in seen:
                home = loaded.file_of("vms", vm, "cloud_init", key).parent
                seen[path] = _collect_text(
                    found, "cloud-init.unreadable", path, home, loaded.span("vms", vm, "cloud_init", key)
                )
            if (text := seen[path]) is not None:
                texts[vm, key] = text
    return texts


def _read_baseline(loaded: LoadedManifest, found: list[Diagnostic]) -> str:
    given = loaded.manifest.rules.baseline
    if given is None:
        return ""
    at = ("rules", "baseline")
    path, home = _reached(loaded, given, *at), loaded.file_of(*at).parent
    return _collect_text(found, "rules.unreadable", path, home, loaded.span(*at)) or ""


def _collect_text(found: list[Diagnostic], code: str, path: Path, home: Path, at: Span) -> str | None:
    try:
        return _read_text(path, home)
    except _UnusableError as reason:
        summary = f"{_READERS[code]}'s file cannot be read: {reason}"
        cause = _WHY_READ.get(code, _GIVEN)
        found.append(Diagnostic(code, summary, at, cause))
        return None


def _read_text(path: Path, home: Path) -> str:
    try:
        # The text goes into plans and to hosts, so a manifest must not reach for other files of this machine.
        if not path.resolve().is_relative_to(home.resolve()):
            raise _UnusableError(f"{quoted(str(path))} is outside of the manifest's folder")
        with _open(path) as stream:
            data = stream.read(MAX_TEXT + 1)
        if len(data) > MAX_TEXT:
            raise _UnusableError(f"{quoted(str(path))} is larger than {MAX_TEXT // 1024} KiB")
        return data.decode("utf-8")
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        raise _UnusableError(_reason(path, error)) from error
