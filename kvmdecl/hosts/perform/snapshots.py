"""Snapshots: a new file on top of each disk, merged into the one beneath when it is dropped."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl.hosts.errors import is_gone
from kvmdecl.hosts.perform.domains import find_domain
from kvmdecl.hosts.protocol import Progress, TaskResult
from kvmdecl.hosts.read import read_domain, read_volume
from kvmdecl.libvirt_xml.chains import Layer, disk_files, layers, with_layers
from kvmdecl.libvirt_xml.observed import snapshot_mark
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.state import Kind, LedgerEntry

if TYPE_CHECKING:
    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.tasks import ChangeSnapshots

_A_DAY = 86400.0  # a merge moves as much as the guest wrote since; it is told how far it is


def change_snapshots(job: Job, task: ChangeSnapshots) -> TaskResult:
    """Take a snapshot, then drop others."""
    domain = find_domain(job.connection, task.name)
    job.require_unmoved(read_domain(domain) if domain else None)
    if domain is None:
        raise job.moved("vanished")
    job.require_identity(domain.UUIDString(), task.uuid)
    if task.take:
        _take(job, task, domain)
    for name in task.drop:
        _drop(job, domain, name)
    return TaskResult()


# -- taking -------------------------------------------------------------------------------------------------


def _take(job: Job, task: ChangeSnapshots, domain: libvirt.virDomain) -> None:
    """All disks at one moment, or none (virDomainSnapshotCreateXML, ATOMIC); the guest, if it runs, goes on."""
    import libvirt

    require_no_saved_state(job, domain)
    beneath = layers(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    if task.quiesce:
        flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE
    targets = [disk.target for disk in disk_files(domain.XMLDesc(0))]
    try:
        domain.snapshotCreateXML(_snapshot_xml(job, task, targets), flags)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _AGENT_ERRORS:
            raise
        job.fail(
            "step.not-quiesced",
            f"{job.request.address} has no guest agent that answers, so its file systems were not frozen; "
            "no snapshot was taken",
            f"libvirt says: {error.get_error_message()}",
            "start qemu-guest-agent in the guest, or take a snapshot as of a sudden power cut, without quiescing.",
        )
    for _, file in task.disks:
        note_layer(job, task.name, file)
    if not domain.isActive():
        _tell_layers(
            job, domain, {target: (Layer(file, "qcow2"), *beneath[target]) for target, file in task.disks}
        )


def _tell_layers(job: Job, domain: libvirt.virDomain, disks: dict[str, tuple[Layer, ...]]) -> None:
    """Write into the definition what the new files stand on: of a guest that is off, libvirt does not look."""
    import libvirt

    xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
    job.connection.defineXMLFlags(with_layers(xml, disks), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


def require_no_saved_state(job: Job, domain: libvirt.virDomain) -> None:
    """Resumed from a saved state, a guest would write to the files that it had then, beneath others by now.

    Raises:
        TaskFailed: `step.managed-save`.
    """
    if domain.hasManagedSaveImage():
        job.fail(
            "step.managed-save",
            f"{job.request.address} has a saved state; nothing was done to it",
            "Resumed from it, the guest would go on writing to the files that it had then.",
            "start it, or drop the state with `virsh managedsave-remove`, then try again.",
        )


# VIR_ERR_ARGUMENT_UNSUPPORTED (no channel for an agent), VIR_ERR_AGENT_UNRESPONSIVE, VIR_ERR_AGENT_UNSYNCED
_AGENT_ERRORS = frozenset({74, 86, 97})


def _snapshot_xml(job: Job, task: ChangeSnapshots, targets: list[str]) -> str:
    files = dict(task.disks)
    root = etree.Element("domainsnapshot")
    etree.SubElement(root, "name").text = task.take
    etree.SubElement(root, "description").text = snapshot_mark(job.request.cluster, task.by)
    disks = etree.SubElement(root, "disks")
    for target in targets:
        disk = etree.SubElement(disks, "disk", name=target, snapshot="external" if target in files else "no")
        if target in files:
            etree.SubElement(disk, "driver", type="qcow2")
            etree.SubElement(disk, "source", file=files[target])
    return etree.tostring(root, encoding="unicode")


def note_layer(job: Job, owner: str, file: str) -> None:
    """Note a new file as a volume of its pool, so that `destroy` knows whose it is."""
    pool = pool_of(job, file)
    if pool is not None:
        path = PurePosixPath(file)
        beneath = path.name.partition("@")[0]
        job.ledger.note(LedgerEntry(Kind.VOLUME, f"{pool.name()}/{path.name}", owner, beneath, complete=True))


def pool_of(job: Job, file: str) -> libvirt.virStoragePool | None:
    """The pool whose directory holds a file, with its list of volumes up to date; None if there is none."""
    import libvirt

    try:
        pool = job.connection.storagePoolLookupByTargetPath(str(PurePosixPath(file).parent))
        pool.refresh(0)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise
    return pool


# -- dropping -----------------------------------------------------------------------------------------------


def _drop(job: Job, domain: libvirt.virDomain, name: str) -> None:
    """Merge what was written since a snapshot into the file beneath, and forget the snapshot.

    What an interrupted run merged already is not in the disks' chains any more, and is only taken away.
    """
    import libvirt

    snapshot = domain.snapshotLookupByName(name)
    described = parse_xml(snapshot.getXMLDesc())
    for disk in described.iterfind("disks/disk[@snapshot='external']"):
        source = disk.find("source")
        file = source.get("file") if source is not None else None
        if file is not None:
            _merge(job, domain, disk.get("name") or "", file)
            delete_layer(job, file)
    snapshot.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)


def _merge(job: Job, domain: libvirt.virDomain, target: str, file: str) -> None:
    """Write a layer into the one beneath it (virDomainBlockCommit); from the top one, move the guest down."""
    import libvirt

    chain = next((d.files for d in disk_files(domain.XMLDesc(0)) if file in d.files), ())
    if not chain:
        return
    place = chain.index(file)
    if place + 1 == len(chain):
        job.fail(
            "step.snapshot-lost",
            f"{file} of {job.request.address} stands on no other file; nothing was done to it",
            "The layer that the snapshot left has been merged or replaced by somebody else.",
            "look at it with `virsh domblklist` and `virsh snapshot-dumpxml`.",
        )
    _require_alone(job, file, chain[place + 1])
    active = place == 0
    if not domain.blockJobInfo(target, 0):
        flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE if active else 0
        domain.blockCommit(target, chain[place + 1], file, 0, flags)
    if not job.wait(lambda: _is_merged(job, domain, target, active=active), _A_DAY):
        job.fail(
            "step.merge-slow", f"{job.request.address}: merging {file} takes more than a day; it goes on"
        )


def _require_alone(job: Job, file: str, beneath: str) -> None:
    """A file that others stand on, too, is not written to: to them it would be another disk."""
    pool = pool_of(job, beneath)
    if pool is None:
        return
    seen = [read_volume(volume) for volume in pool.listAllVolumes()]
    others = [volume.name for volume in seen if volume.backing == beneath and volume.path != file]
    if others:
        job.fail(
            "step.layer-shared",
            f"{file} of {job.request.address} is not merged: {', '.join(others)} stands on {beneath}, too",
            "Merging would change the file that it stands on, and so destroy it.",
            f"delete it first if nobody needs it: `virsh vol-delete --pool {pool.name()} NAME`.",
        )


def _is_merged(job: Job, domain: libvirt.virDomain, target: str, *, active: bool) -> bool:
    """Look how far a merge is. One of the top layer is ready when both are the same, and ends by a pivot."""
    import libvirt

    info = domain.blockJobInfo(target, 0)
    if not info:
        return True
    job.progress(Progress(info["cur"], max(info["end"], 1), "bytes"))
    if not active or info["end"] == 0 or info["cur"] < info["end"]:
        return False
    with suppress(libvirt.libvirtError):  # not ready yet: it is asked again
        domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
        return not domain.blockJobInfo(target, 0)
    return False


def delete_layer(job: Job, file: str) -> None:
    """Delete a layer that nothing stands on any more."""
    pool = pool_of(job, file)
    if pool is None:
        return
    name = PurePosixPath(file).name
    if name in pool.listVolumes():
        pool.storageVolLookupByName(name).delete()
    job.ledger.forget(Kind.VOLUME, f"{pool.name()}/{name}")
