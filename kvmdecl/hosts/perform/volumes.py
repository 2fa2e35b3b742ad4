"""Volumes: made and filled, grown, deleted.

Each is noted down as incomplete before it is made, so that whoever looks next knows a torn upload for
what it is.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from kvmdecl.amounts import format_size
from kvmdecl.cloudinit import filled
from kvmdecl.hosts.errors import is_gone
from kvmdecl.hosts.perform.copies import copy, remove_torn, require_copyable, require_unwritten
from kvmdecl.hosts.perform.job import shown
from kvmdecl.hosts.perform.secrets import UnusableSecret, read_value, refuse_source
from kvmdecl.hosts.perform.upload import Content, ContentChanged, open_content, upload
from kvmdecl.hosts.protocol import Progress, TaskResult
from kvmdecl.hosts.read import read_volume
from kvmdecl.libvirt_xml.fingerprint import ABSENT
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.libvirt_xml.volume import volume_xml
from kvmdecl.state import FileContent, Kind, LedgerEntry, ObservedVolume, SeedContent, begins_as

if TYPE_CHECKING:
    from collections.abc import Callable

    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.tasks import CreateVolume, DeleteVolume, ResizeVolume

_FILES = frozenset({"dir", "fs", "netfs"})
"""Types of pools whose volumes are files, which have formats."""

_ALLOCATING = frozenset({"falloc", "full"})
"""Preallocations that take the whole size at once."""

_TOO_BUSY = "Unable to get accurate CPU usage"
_TRIES = 5


def create_volume(job: Job, task: CreateVolume) -> TaskResult:
    """Make a volume and fill it; or finish one that an interrupted run of this cluster left behind."""
    _require_possible(job, task)
    pool = job.connection.storagePoolLookupByName(task.pool)
    found = find_volume(pool, task.name)
    before = read_volume(found) if found else None
    if before is not None and _is_kept(job, task, before):
        return TaskResult(("it was there already, made by an earlier run, and is kept as it is",))
    job.require_unmoved(before)
    if before is None:
        _make(job, task, pool)
    else:
        _finish(job, task, pool, before)
    job.require_lock()  # filling it may have taken hours
    if not task.moves_from:
        job.ledger.note(replace(_entry(task), complete=True))
    return TaskResult()


def resize_volume(job: Job, task: ResizeVolume) -> TaskResult:
    """Grow a volume: through its running guest (virDomainBlockResize), else virStorageVolResize."""
    volume, before = _seen(job, task) if task.maker else _ours(job, task.pool, task.name)
    if task.capacity < before.capacity:
        job.fail(
            "step.would-shrink",
            f"{job.request.address} has {format_size(before.capacity)} and would shrink to"
            f" {format_size(task.capacity)}; nothing was done to it",
            "Shrinking cuts off the end of the disk, and with it whatever the guest keeps there.",
            "plan again.",
        )
    if not _resize_through_guest(job, task, before.path):
        if task.maker:
            raise job.moved("lost the guest that ran on it here")
        volume.resize(task.capacity)
    after = read_volume(find_volume(volume.storagePoolLookupByVolume(), task.name))
    if after.capacity != task.capacity:
        _not_as_declared(job, "capacity", str(after.capacity), str(task.capacity))
    return TaskResult()


def delete_volume(job: Job, task: DeleteVolume) -> TaskResult:
    """Delete a volume that kvmdecl made, with what is in it."""
    volume, _ = _ours(job, task.pool, task.name)
    volume.delete()
    job.ledger.forget(Kind.VOLUME, f"{task.pool}/{task.name}")
    return TaskResult()


def find_volume(pool: libvirt.virStoragePool, name: str) -> libvirt.virStorageVol | None:
    """A volume of a pool by name, None if there is none."""
    import libvirt

    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise


def _is_kept(job: Job, task: CreateVolume, observed: ObservedVolume) -> bool:
    """Whether a volume that the plan could not see is the very one that it wants.

    So it is when `destroy` undefined its pool, which was just defined again over the same directory.
    """
    entry = job.ledger.read().find(Kind.VOLUME, f"{task.pool}/{task.name}")
    whole = entry == replace(_entry(task), complete=True)
    return whole and job.request.precondition == ABSENT and not _deviations(task, observed)


def _entry(task: CreateVolume) -> LedgerEntry:
    began = begins_as(task.backing, task.clone)
    applied = task.content.sha256 if isinstance(task.content, FileContent) else began
    return LedgerEntry(Kind.VOLUME, f"{task.pool}/{task.name}", task.owner, applied, complete=False)


def _ours(job: Job, pool: str, name: str) -> tuple[libvirt.virStorageVol, ObservedVolume]:
    """The volume that the plan speaks of, and that the ledger says is ours."""
    volume = find_volume(job.connection.storagePoolLookupByName(pool), name)
    observed = read_volume(volume) if volume else None
    job.require_unmoved(observed)
    if observed is None or job.ledger.read().find(Kind.VOLUME, f"{pool}/{name}") is None:
        _refuse_foreign(job)
    return volume, observed


def _seen(job: Job, task: ResizeVolume) -> tuple[libvirt.virStorageVol, ObservedVolume]:
    """A volume that another host made, whose ledger says that it is ours; only its guest is touched here."""
    volume = _find_source(job, job.connection.storagePoolLookupByName(task.pool), task.name)
    observed = read_volume(volume)
    job.require_unmoved(observed)
    return volume, observed


def _refuse_foreign(job: Job) -> NoReturn:
    job.fail(
        "step.not-ours",
        f"{job.request.address} was not made by this cluster; nothing was done to it",
        "kvmdecl changes and deletes only volumes that its ledger on the host names.",
        "plan again.",
    )


# -- making ----------------------------------------------------------------------------------------


def _finish(job: Job, task: CreateVolume, pool: libvirt.virStoragePool, before: ObservedVolume) -> None:
    """Finish what an interrupted run began. Only content that can be made again is ever made again."""
    entry = job.ledger.read().find(Kind.VOLUME, f"{task.pool}/{task.name}")
    if entry is None:
        _refuse_foreign(job)
    if entry.complete:
        job.fail(
            "step.not-ours",
            f"{job.request.address} is complete by now; nothing was done to it",
            "Another run of kvmdecl made it meanwhile.",
            "plan again.",
        )
    if task.moves_from and _deviations(task, before):  # what its guest brings was on its way
        require_unwritten(job, before)
        pool.storageVolLookupByName(task.name).delete()
        _make(job, task, pool)
        return
    if task.content is None and task.clone is None:
        _require_as_declared(job, task, before)  # a disk may be in use already; if it is right, it stays
        return
    _make(job, task, pool, pool.storageVolLookupByName(task.name))


def _make(
    job: Job, task: CreateVolume, pool: libvirt.virStoragePool, torn: libvirt.virStorageVol | None = None
) -> None:
    """Make the volume, in place of a torn one if there is one."""
    content = _with_secrets(job, task.content) if isinstance(task.content, SeedContent) else task.content
    if task.clone is not None:
        _make_copy(job, task, task.clone, pool, torn)
        return
    if content is None:
        capacity = _capacity(job, task, pool)
        if task.preallocation in _ALLOCATING:
            require_room(job, pool, capacity)
        _build(job, task, pool, capacity, lambda _volume: None)
        return
    try:
        with open_content(content) as (source, size):
            if torn is not None:
                torn.delete()
                job.ledger.forget(Kind.VOLUME, f"{task.pool}/{task.name}")
            require_room(job, pool, size)
            _build(
                job,
                task,
                pool,
                max(size, task.capacity or 0),
                lambda volume: upload(
                    job.connection, volume, content, source, size, lambda done: _tell(job, done, size)
                ),
            )
    except OSError as error:
        _refuse_content(job, content, error.strerror or str(error))
    except ContentChanged as changed:
        _refuse_content(job, content, str(changed))


def _with_secrets(job: Job, seed: SeedContent) -> SeedContent:
    """The seed with the values of its secrets, which are read here and now, and go nowhere but into the volume."""
    values = {}
    for secret in seed.secrets:
        try:
            values[secret.place] = read_value(secret.source)
            filled(seed.files, dict.fromkeys((other.place for other in seed.secrets), b"") | values)
        except (UnusableSecret, ValueError) as reason:
            refuse_source(job, secret.source, str(reason))
    return replace(seed, files=filled(seed.files, values)) if values else seed


def _make_copy(
    job: Job,
    task: CreateVolume,
    clone: str,
    pool: libvirt.virStoragePool,
    torn: libvirt.virStorageVol | None,
) -> None:
    """Make the volume as a full copy of another one, which nobody may write to all the while."""
    its_pool, _, name = clone.partition("/")
    original = _find_source(job, job.connection.storagePoolLookupByName(its_pool), name)
    observed = read_volume(original)
    require_copyable(job, task, observed)
    if torn is not None:
        remove_torn(job, task, torn)
    require_room(job, pool, observed.allocation)
    capacity = observed.capacity if task.capacity is None else task.capacity

    def finish(volume: libvirt.virStorageVol) -> None:
        if volume.info()[1] < capacity:  # qemu-img makes it as large as the original
            volume.resize(capacity)
        require_unwritten(job, observed)

    _build(job, task, pool, capacity, finish, original)


def _build(
    job: Job,
    task: CreateVolume,
    pool: libvirt.virStoragePool,
    capacity: int,
    fill: Callable[[libvirt.virStorageVol], None],
    original: libvirt.virStorageVol | None = None,
) -> None:
    """Make a volume, fill it and read it back; what does not get that far is taken away again."""
    job.ledger.note(_entry(task))
    volume = _create(job, task, pool, capacity, original)
    try:
        fill(volume)
        _require_as_declared(job, task, read_volume(volume))
    except BaseException:
        _discard(job, task, volume)
        raise


def _tell(job: Job, done: int, size: int) -> None:
    job.progress(Progress(done, size, "bytes"))


def _discard(job: Job, task: CreateVolume, volume: libvirt.virStorageVol) -> None:
    """Take away a volume that was just made here. If the host is gone, the ledger says it is torn."""
    import libvirt

    with suppress(libvirt.libvirtError):
        volume.delete()
        job.ledger.forget(Kind.VOLUME, f"{task.pool}/{task.name}")


def _refuse_content(job: Job, content: Content, why: str) -> NoReturn:
    what = content.path if isinstance(content, FileContent) else "the seed"
    job.fail(
        "step.content-changed",
        f"{what} cannot be uploaded as {job.request.address}: {why}; the volume was taken away again",
        "A volume holds exactly the content that was planned, or it is not there.",
        "put the file back, or plan again with the file as it is now.",
    )


def require_room(job: Job, pool: libvirt.virStoragePool, size: int) -> None:
    """Make sure that a pool has so many bytes left.

    Raises:
        TaskFailed: `step.pool-full`.
    """
    available: int = pool.info()[3]
    if size <= available:
        return
    job.fail(
        "step.pool-full",
        f"{job.request.address} needs {format_size(size)}, and its pool has {format_size(available)} left",
        "A volume that fills the pool would stop every guest that writes to it.",
        "free some room on the host, or use another pool.",
    )


def _capacity(job: Job, task: CreateVolume, pool: libvirt.virStoragePool) -> int:
    """The declared capacity, or that of the backing volume, which a disk may not be smaller than."""
    if task.backing is None:
        return task.capacity or 0
    backing = read_volume(_find_source(job, pool, task.backing)).capacity
    if task.capacity is not None and task.capacity < backing:
        job.fail(
            "step.would-shrink",
            f"{job.request.address} has {format_size(task.capacity)}, less than its image {task.backing}:"
            f" {format_size(backing)}",
            "The guest would find the end of its file system cut off.",
            f"make the disk at least {format_size(backing)}.",
        )
    return backing if task.capacity is None else task.capacity


def _create(
    job: Job,
    task: CreateVolume,
    pool: libvirt.virStoragePool,
    capacity: int,
    original: libvirt.virStorageVol | None = None,
) -> libvirt.virStorageVol:
    """Make a volume (virStorageVolCreateXML, virStorageVolCreateXMLFrom), allocated as far as asked for.

    libvirt lets qemu-img allocate a qcow2 volume when both the flag and a full allocation are given.
    """
    import libvirt

    kind = _kind_of(pool)
    wanted = task.preallocation if task.content is None else "off"
    backing = None if task.backing is None else read_volume(_find_source(job, pool, task.backing))
    xml = volume_xml(
        task.name,
        task.format if kind in _FILES else None,
        capacity,
        # Less than its capacity makes a logical volume a snapshot of nothing, which breaks as soon as it is full.
        allocation=capacity if wanted in _ALLOCATING or kind == "logical" else 0,
        backing_path=backing.path if backing else None,
        backing_format=backing.format if backing else None,
        secret=task.encryption,
        options=task.options,
    )
    metadata = task.format == "qcow2" and wanted != "off"
    try:
        if original is not None:
            volume = copy(job, task, pool, original, lambda: create_xml(pool, xml, 0, original))
        else:
            flags = libvirt.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA if metadata else 0
            volume = create_xml(pool, xml, flags)
    except libvirt.libvirtError:
        # A volume of that name, if there is one by now, is not ours: it must not be taken for a torn one.
        with suppress(libvirt.libvirtError):
            job.ledger.forget(Kind.VOLUME, f"{task.pool}/{task.name}")
        raise
    if wanted == "full":
        volume.wipe()  # writes every block of the volume once, on the host
    return volume


def create_xml(
    pool: libvirt.virStoragePool, xml: str, flags: int, original: libvirt.virStorageVol | None = None
) -> libvirt.virStorageVol:
    """Make a volume, or a copy of one; again, where qemu-img could not measure how quickly the host derives a LUKS key.

    It counts its CPU time (qcrypto_pbkdf2_count_iters), gives up where that did not advance, and leaves nothing behind.
    """
    import libvirt

    def make() -> libvirt.virStorageVol:
        return pool.createXML(xml, flags) if original is None else pool.createXMLFrom(xml, original, flags)

    for _ in range(_TRIES - 1):
        try:
            return make()
        except libvirt.libvirtError as error:
            if _TOO_BUSY not in str(error):
                raise
    return make()


def _kind_of(pool: libvirt.virStoragePool) -> str | None:
    return parse_xml(pool.XMLDesc()).get("type")


def _find_source(job: Job, pool: libvirt.virStoragePool, name: str) -> libvirt.virStorageVol:
    """What a disk begins as. Another host may have made it: libvirt sees what is new in a pool when it looks again."""
    import libvirt

    def is_seen() -> bool:
        if find_volume(pool, name) is not None:
            return True
        with suppress(libvirt.libvirtError):  # it does not look while it makes another volume
            pool.refresh()
        return find_volume(pool, name) is not None

    job.wait(is_seen, job.patience.refresh)
    return pool.storageVolLookupByName(name)


def _require_possible(job: Job, task: CreateVolume) -> None:
    """Refuse what libvirt cannot do: it would do something else, or say so in words that do not help."""
    wanted, qcow2 = task.preallocation, task.format == "qcow2"
    if (wanted == "full" and qcow2) or (wanted != "off" and task.backing is not None):
        what = (
            "filled with zeros as it is qcow2" if task.backing is None else "preallocated as it has an image"
        )
        job.fail(
            "step.preallocation",
            f"{job.request.address} cannot be {what}",
            "libvirt has no way to do that (virStorageVolCreateXML).",
            "use `preallocation: off`, or `falloc` for a disk without an image.",
        )


def _require_as_declared(job: Job, task: CreateVolume, observed: ObservedVolume) -> None:
    for field, found, declared in _deviations(task, observed):
        _not_as_declared(job, field, found, declared)


def _deviations(task: CreateVolume, observed: ObservedVolume) -> list[tuple[str, str | None, str | None]]:
    """Fields in which a volume is not as declared: what is found, what is declared."""
    compared = [("backingStore/path", _file_name(observed.backing), task.backing)]
    # Of a file that is uploaded as it is, libvirt sees that it is an ISO 9660 image, and calls that its format.
    is_iso = task.content is not None and (task.format, observed.format) == ("raw", "iso")
    if not is_iso:
        compared.append(("format", observed.format, task.format))
    compared.append(("encryption", _luks(observed.encrypted), _luks(task.encryption is not None)))
    if task.capacity is not None:
        compared.append(("capacity", str(observed.capacity), str(task.capacity)))
    return [(field, found, declared) for field, found, declared in compared if found != declared]


def _luks(encrypted: bool) -> str | None:
    return "luks" if encrypted else None


def _file_name(path: str | None) -> str | None:
    """The name of a volume in a directory pool, from its path."""
    return None if path is None else path.rpartition("/")[2]


def _not_as_declared(job: Job, field: str, found: str | None, declared: str | None) -> NoReturn:
    job.fail(
        "step.not-as-declared",
        f"the {field} of {job.request.address} is {shown(found)} and not {shown(declared)}",
        "What libvirt reports after a change must be what the manifest says; here it is not.",
        "if it is an image, see whether the file really has this format.",
    )


# -- growing ---------------------------------------------------------------------------------------


def _resize_through_guest(job: Job, task: ResizeVolume, path: str) -> bool:
    """Grow the disk of the running guest that uses the volume; False if there is no such guest."""
    import libvirt

    if task.domain is None:
        return False
    try:
        domain = job.connection.lookupByUUIDString(task.domain)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return False
        raise
    target = _target_of(domain, path) if domain.isActive() else None
    if target is None:
        return False
    domain.blockResize(target, task.capacity, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
    return True


def _target_of(domain: libvirt.virDomain, path: str) -> str | None:
    """The device name, such as `vda`, of the disk whose active layer is the file, device or object at `path`."""
    for disk in parse_xml(domain.XMLDesc()).iterfind("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        if source is not None and target is not None and path in map(source.get, ("file", "dev", "name")):
            return target.get("dev")
    return None
