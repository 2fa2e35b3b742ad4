"""Files that a guest has on its host and in no pool: the variables of its firmware, the state of its TPM.

libvirt migrates them with a guest that runs. Of one that is off they are read and written through a pool over their
folder, which exists for that moment alone.
"""

from __future__ import annotations

from contextlib import contextmanager
from errno import ENOENT
from typing import TYPE_CHECKING

from kvmdecl.hosts.errors import is_gone
from kvmdecl.hosts.ledger import LedgerWriter
from kvmdecl.hosts.perform.bringing import copy_volume, digest_of, pieces_of, stamp_of
from kvmdecl.hosts.perform.volumes import find_volume
from kvmdecl.libvirt_xml.moving import HELD, host_files
from kvmdecl.libvirt_xml.pool import folder_pool
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.libvirt_xml.volume import Permissions, volume_xml
from kvmdecl.state import Kind, LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.libvirt_xml.moving import HostFiles
    from kvmdecl.tasks import LeaveDomain, MoveDomain

_PREFIX = "kvmdecl-files-"
_LONGEST_TURN = 10.0  # seconds after which a pool over a folder is taken for what a run that was killed left
_TRIES = 5


def require_free_place(job: Job, task: MoveDomain, files: Iterable[HostFiles]) -> None:
    """Make sure that here is nothing in the place of the files, before their guest is shut down.

    But for what an earlier move left or began, which is noted, and what is the same as theirs.

    Raises:
        TaskFailed: `step.state-there`.
    """
    if job.ledger.read().find(Kind.DOMAIN, task.name) is not None:
        return
    for each in files:
        with _folder(job, _peer(job), each) as there, _folder(job, job.connection, each) as here:
            had = {volume.name(): volume for volume in _volumes(there, each)}
            for volume in _volumes(here, each):
                original = had.get(volume.name())
                if original is None or _digest(job.connection, volume) != _digest(_peer(job), original):
                    job.fail(
                        "step.state-there",
                        f"{job.request.address} is not moved: there is {volume.path()} already,"
                        f" and {HELD[each.what]} would have to be written over it",
                        "It is of a guest of that name that was there before, and not known to be of no use.",
                        "if nobody needs it any more, delete that file on the host; then apply again.",
                    )


def bring_files(job: Job, task: MoveDomain, files: Iterable[HostFiles]) -> frozenset[str]:
    """Copy files of a guest that is off, and read them back. Those that are there stay, and that is noted there.

    Returns:
        What there were files of: a guest that never ran has none.

    Raises:
        TaskFailed: `step.not-as-declared`.
    """
    found, copied = set[str](), True
    _note(job.connection, job, task)
    for each in files:
        with _folder(job, _peer(job), each) as there, _folder(job, job.connection, each, make=True) as here:
            for original in _volumes(there, each):
                found.add(each.what)
                copied &= _bring(job, task, each, original, here)
    if found and copied:
        _note(_peer(job), job, task)
    return frozenset(found)


def delete_files(job: Job, task: LeaveDomain) -> None:
    """Delete what a guest left here of such files, if the host where it is has them.

    Raises:
        TaskFailed: `step.only-copy`.
        Moved: the guest is not there.
    """
    import libvirt

    if job.ledger.read().find(Kind.DOMAIN, task.name) is None:
        return  # both hosts see the same ones
    try:
        domain = _peer(job).lookupByUUIDString(task.uuid)
    except libvirt.libvirtError as error:
        if is_gone(error):
            raise job.moved(f"left {task.home}") from error
        raise
    for files in host_files(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)):
        if files.what in task.files:
            _delete(job, task, files)
    job.ledger.forget(Kind.DOMAIN, task.name)


def _peer(job: Job) -> libvirt.virConnect:
    if job.peer is None:
        raise TypeError("this is about two hosts")
    return job.peer


def _note(connection: libvirt.virConnect, job: Job, task: MoveDomain) -> None:
    """Note that there may be files of the guest on a host, where nobody would look for them once it is elsewhere."""
    entry = LedgerEntry(Kind.DOMAIN, task.name, task.name, " ".join(task.files), complete=True)
    LedgerWriter(connection, job.request.cluster).note(entry)


def _bring(
    job: Job,
    task: MoveDomain,
    files: HostFiles,
    original: libvirt.virStorageVol,
    here: libvirt.virStoragePool | None,
) -> bool:
    """Copy one file here; False if it is here already, for both hosts see the same file."""
    if here is None:
        raise TypeError("a folder that is made is there")
    name, held = original.name(), _digest(_peer(job), original)
    if (made := find_volume(here, name)) is not None:
        if stamp_of(made) == stamp_of(original):
            return False
        if _digest(job.connection, made) == held:
            return True
        made.delete()
    xml = volume_xml(name, "raw", int(original.info()[1]), permissions=_permissions(files, original))
    volume = here.createXML(xml, 0)
    copy_volume(job, original, volume)
    job.require_lock()
    if _digest(job.connection, volume) != held:
        job.fail(
            "step.not-as-declared",
            f"{volume.path()} of {job.request.address} is not here what it is on {task.source}; it stays there",
            "It was read back after it was copied.",
            f"look at the logs of libvirt on {job.request.address.host}, then apply again.",
        )
    return True


def _permissions(files: HostFiles, original: libvirt.virStorageVol) -> Permissions:
    """Who may read it. libvirt gives the variables to QEMU's user, but of a TPM only the folder to that of swtpm.

    Which user that is differs from host to host. So until swtpm writes the file anew, everybody may who gets into the
    folder, which is nobody but that user.
    """
    if files.what == "tpm":
        return Permissions(mode="0666")
    said = parse_xml(original.XMLDesc(0)).find("target/permissions")
    mode, owner, group = (
        "" if said is None else said.findtext(tag) or "" for tag in ("mode", "owner", "group")
    )
    return Permissions(mode or "0600", owner or None, group or None)


def _delete(job: Job, task: LeaveDomain, files: HostFiles) -> None:
    with _folder(job, _peer(job), files) as there, _folder(job, job.connection, files) as here:
        kept = {volume.name(): volume for volume in _volumes(there, files)}
        for volume in _volumes(here, files):
            other = kept.get(volume.name())
            if other is None:
                job.fail(
                    "step.only-copy",
                    f"{volume.path()} of {job.request.address} is kept: {task.home}, where the guest is, has none",
                    "It may be the only one.",
                    "look for it on both hosts; a guest that starts there gets a new one.",
                )
            if stamp_of(other) == stamp_of(volume):
                return  # both hosts see the same file
            volume.delete()
        if here is None or files.name:
            return
        for rest in here.listAllVolumes():
            rest.delete()
    _remove_folder(job, files)


def _remove_folder(job: Job, files: HostFiles) -> None:
    """Where it is, libvirt takes a TPM for one that was set up (qemuTPMEmulatorPrepareHost)."""
    pool = job.connection.storagePoolDefineXML(folder_pool(_name(job), files.folder, "0700"), 0)
    try:
        pool.delete(0)
    finally:
        pool.undefine()


def _volumes(pool: libvirt.virStoragePool | None, files: HostFiles) -> list[libvirt.virStorageVol]:
    if pool is None:
        return []
    found = [volume for volume in pool.listAllVolumes() if not volume.name().startswith(".")]
    return [volume for volume in found if files.name in {"", volume.name()}]


def _digest(connection: libvirt.virConnect, volume: libvirt.virStorageVol) -> str:
    return digest_of(pieces_of(connection, volume))


# -- pools for a moment -----------------------------------------------------------------------------


@contextmanager
def _folder(
    job: Job, connection: libvirt.virConnect, files: HostFiles, *, make: bool = False
) -> Iterator[libvirt.virStoragePool | None]:
    """A pool over a folder of a host: one that there is, or one that exists until the block ends.

    None where there is no such folder, unless it is to be made.
    """
    pool = _open(job, connection, files, make=make)
    try:
        yield pool
    finally:
        if pool is not None and _is_ours(pool):
            pool.destroy()


def _open(
    job: Job, connection: libvirt.virConnect, files: HostFiles, *, make: bool
) -> libvirt.virStoragePool | None:
    """Who wants one while another move has it waits; what a run that was killed left is taken away."""
    import libvirt

    flags = libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD if make else 0
    for last in range(_TRIES, 0, -1):
        pool = _over(connection, files.folder)
        if pool is not None and not _is_ours(pool):
            pool.refresh(0)
            return pool
        if pool is not None and not job.wait(lambda: _over(connection, files.folder) is None, _LONGEST_TURN):
            pool.destroy()
        try:
            mode = "0700" if make and files.what == "tpm" else None
            return connection.storagePoolCreateXML(folder_pool(_name(job), files.folder, mode), flags)
        except libvirt.libvirtError as error:
            if error.get_int1() == ENOENT and not make:
                return None
            if last == 1 or not (_over(connection, files.folder) or _undefined(connection, _name(job))):
                raise
    raise AssertionError("the last try returns or raises")


def _name(job: Job) -> str:
    return f"{_PREFIX}{job.request.address.name}"


def _is_ours(pool: libvirt.virStoragePool) -> bool:
    return bool(pool.name().startswith(_PREFIX) and not pool.isPersistent())


def _over(connection: libvirt.virConnect, folder: str) -> libvirt.virStoragePool | None:
    import libvirt

    try:
        return connection.storagePoolLookupByTargetPath(folder)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise


def _undefined(connection: libvirt.virConnect, name: str) -> bool:
    """Take away a definition that `_remove_folder` left when it was killed; returns whether there was one."""
    import libvirt

    try:
        connection.storagePoolLookupByName(name).undefine()
    except libvirt.libvirtError as error:
        if is_gone(error):
            return False
        raise
    return True
